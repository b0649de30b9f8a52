/** `tollgate headers`: prints the agent's token as JSON headers, for tools that ask a program for them. */
import { parseArgs } from 'node:util'
import { readAgentToken } from '../secrets/agent-token.ts'
import type { PlaceSettings } from '../secrets/open-source.ts'
import { parsePlace } from '../secrets/place.ts'
import type { CommandIo } from './io.ts'

const OK = 0
const USAGE = 64

const HELP = `Prints the token of the agent on this machine as {"Authorization":"Bearer ..."}, for tools that ask
a program for their headers, and nothing else.

  tollgate headers --from PLACE           (or TOLLGATE_HEADERS_FROM=PLACE)
  tollgate headers --from PLACE --to FILE

  --from PLACE  where the token is:
                  file:PATH             a file with the token alone
                  file:PATH#NAME        a variable in an environment file
                  env:#NAME             a variable (env: OTEL_EXPORTER_OTLP_HEADERS)
                  keyring:SERVICE/USER  the keyring of this desktop
                  vault:MOUNT/PATH#FIELD
                                        a field (default: token) in Vault or OpenBao
                  aws:SECRET-ID[#FIELD] AWS Secrets Manager
                A variable may hold the token or headers (Authorization=Bearer%20...).
  --to FILE     writes the token alone to FILE and prints nothing: mode 0600, replaced as a whole,
                untouched where it has the token already or the place cannot be read. For cron.

Vault is reached as TOLLGATE_VAULT_ADDR and its siblings say, AWS as its own tools are.
`

/**
 * Runs `tollgate headers`. Resolves with 0, or with 64 for a wrong command line; the faults of a place
 * are thrown (66 for a file, 69 for another place). Standard output has the headers or nothing.
 */
export async function runHeaders(argv: readonly string[], io: CommandIo): Promise<number> {
  if (argv.includes('--help') || argv.includes('-h')) {
    io.stdout.write(HELP)
    return OK
  }
  const options = optionsFrom(argv)
  if (options === undefined)
    return refuse(
      io,
      'expected --from PLACE, --to FILE and nothing else; a place is not shown here',
    )
  const text = options.from || io.env.TOLLGATE_HEADERS_FROM
  if (text === undefined || text === '')
    return refuse(io, 'where is the token? Give --from PLACE or TOLLGATE_HEADERS_FROM')
  const place = parsePlace(text)
  if (place === undefined)
    // It may be the token itself.
    return refuse(
      io,
      `${options.from ? '--from' : 'TOLLGATE_HEADERS_FROM'}: expected a place such as file:/run/agent/token, env, keyring:SERVICE/USER, vault:MOUNT/PATH#FIELD or aws:SECRET-ID`,
    )
  const token = await readAgentToken(place, { env: io.env, settings: () => settingsFrom(io) })
  if (options.to === undefined) {
    io.stdout.write(`${JSON.stringify({ Authorization: `Bearer ${token}` })}\n`)
    return OK
  }
  const { FileDelivery } = await import('../secrets/file-delivery.ts')
  const file = { scheme: 'file', path: options.to, field: undefined, text: options.to } as const
  await new FileDelivery(file).deliver({ id: '', holder: '', token })
  return OK
}

function optionsFrom(argv: readonly string[]): { from?: string; to?: string } | undefined {
  try {
    const { values } = parseArgs({
      args: [...argv],
      options: { from: { type: 'string' }, to: { type: 'string' } },
    })
    return { ...values }
  } catch {
    return undefined
  }
}

function refuse({ stderr }: CommandIo, why: string): number {
  stderr.write(`tollgate headers: ${why}\nTry: tollgate headers --help\n`)
  return USAGE
}

/** Read only where a place asks for it: the table of options is large. */
async function settingsFrom({ env }: CommandIo): Promise<PlaceSettings> {
  const { parseConfig } = await import('../config/config.ts')
  const { placeSettingsOf } = await import('../token-places.ts')
  return await placeSettingsOf(parseConfig(env, [], { cwd: process.cwd() }))
}
