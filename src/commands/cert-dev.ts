/** `tollgate cert dev`: a development CA in a directory, with server and client certificates. */
import { resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { ConfigError } from '../config/config-error.ts'
import { inShell } from '../tls/certificate-error.ts'
import { clientNameFlaw, serverNameFlaw } from '../tls/development-names.ts'
import {
  type DevelopmentPair,
  type DevelopmentSet,
  makeDevelopmentSet,
} from '../tls/development-set.ts'
import type { CommandIo } from './io.ts'

const DAY_MS = 86_400_000
const MAX_DAYS = 396
const DEFAULT_DIRECTORY = 'certs'

const DEV_USAGE = `tollgate cert dev: make a development CA with server and client certificates

  tollgate cert dev [--out DIR] [--name NAME …] [--client NAME …] [--days N] [--renew] [--json]

  --out DIR            where the files are (default: ${DEFAULT_DIRECTORY})
  --name NAME          a host name or address of the gateway; may be given several times
                       (default: what the certificate there has, else localhost, 127.0.0.1, ::1
                       and the name of this machine)
  --client NAME        an agent that gets a client certificate, or a URI for it; several times
  --days N             how long new certificates live, 1 to ${MAX_DAYS} (default: ${MAX_DAYS}); a CA lives ten years
  --renew              make certificates anew that are still good; the CAs stay as they are
  --json               JSON instead of text

Run again, it uses the same CA, and leaves certificates alone that have more than a third of their
life left. It overwrites nothing that it did not make. The CA may sign for the names of its first
use and what is below them, and for localhost.
`

/**
 * `argv` is what follows `cert dev`. Resolves with 0; throws a `ConfigError` for a wrong command line,
 * a `CertificateError` where a file is in the way or a name cannot be signed, and a `StateDirError`
 * where the directory cannot be used.
 */
export async function runCertDev(argv: readonly string[], { stdout }: CommandIo): Promise<number> {
  if (argv.includes('--help') || argv.includes('-h')) {
    stdout.write(DEV_USAGE)
    return 0
  }
  const values = parse(argv)
  const directory = values.out ?? DEFAULT_DIRECTORY
  if (directory === '') throw mistake('--out', 'is empty; expected a directory')
  const serverNames = checked('--name', values.name, serverNameFlaw)
  const clientNames = checked('--client', values.client, clientNameFlaw) ?? []
  const made = await makeDevelopmentSet({
    directory: resolve(directory),
    ...(serverNames && { serverNames }),
    clientNames,
    lifeMs: daysFrom(values.days) * DAY_MS,
    renews: values.renew ?? false,
    wallMs: Date.now(),
  })
  stdout.write(values.json ? `${JSON.stringify(asJson(made))}\n` : asText(made))
  return 0
}

function parse(argv: readonly string[]) {
  const strings = { type: 'string', multiple: true } as const
  try {
    return parseArgs({
      args: [...argv],
      options: {
        out: { type: 'string' },
        name: strings,
        client: strings,
        days: { type: 'string' },
        renew: { type: 'boolean' },
        json: { type: 'boolean' },
      },
    }).values
  } catch (error) {
    const [problem = ''] = (error instanceof Error ? error.message : String(error)).split('. ')
    throw mistake('', `${problem}; see tollgate cert dev --help`)
  }
}

function checked(
  option: string,
  names: readonly string[] | undefined,
  flawOf: (name: string) => string | undefined,
): readonly string[] | undefined {
  for (const name of names ?? []) {
    const expected = flawOf(name)
    if (expected !== undefined) {
      throw mistake(option, `${JSON.stringify(name)}: expected ${expected}`)
    }
  }
  return names
}

function daysFrom(text: string | undefined): number {
  const days = Number(text ?? MAX_DAYS)
  if (/^\d+$/.test(text ?? '1') && days >= 1 && days <= MAX_DAYS) return days
  throw mistake(
    '--days',
    `${JSON.stringify(text)}: expected a whole number from 1 to ${MAX_DAYS}; browsers refuse certificates of more than 397 days`,
  )
}

function mistake(option: string, problem: string): ConfigError {
  const message = `cert dev: ${option === '' ? '' : `${option}: `}${problem}`
  return new ConfigError([{ option, message }])
}

function asJson({ ca, server, clientCa, clients }: DevelopmentSet) {
  const shown = ({ certPath, keyPath, names, notAfterMs, isNew }: DevelopmentPair) => ({
    cert: certPath,
    key: keyPath,
    ...(names.length > 0 && { names }),
    notAfter: new Date(notAfterMs).toISOString(),
    new: isNew,
  })
  return {
    ca: shown(ca),
    server: shown(server),
    ...(clientCa && { clientCa: shown(clientCa) }),
    clients: clients.map(shown),
  }
}

function asText({ ca, server, clientCa, clients }: DevelopmentSet): string {
  const line = (what: string, { certPath, names, notAfterMs, isNew }: DevelopmentPair) => {
    const until = new Date(notAfterMs).toISOString().slice(0, 10)
    const whom = names.length > 0 ? `  for ${names.join(', ')}` : ''
    return `  ${isNew ? 'new ' : 'kept'}  ${what.padEnd(10)} ${certPath}  until ${until}${whom}`
  }
  const set = (name: string, path: string) => `  ${name}=${inShell(path)}`
  const client = clients[0]
  return `${[
    line('CA', ca),
    line('server', server),
    ...(clientCa ? [line('client CA', clientCa)] : []),
    ...clients.map((each) => line('client', each)),
    'Each has its key beside it (.key). No key of a CA leaves this machine.',
    '',
    'For the gateway:',
    set('TOLLGATE_TLS_CERT', server.certPath),
    set('TOLLGATE_TLS_KEY', server.keyPath),
    ...(clientCa
      ? [set('TOLLGATE_TLS_CLIENT_CA', clientCa.certPath), '  TOLLGATE_TLS_CLIENT_AUTH=required']
      : []),
    'For agents:',
    set('OTEL_EXPORTER_OTLP_CERTIFICATE', ca.certPath),
    ...(client
      ? [
          set('OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE', client.certPath),
          set('OTEL_EXPORTER_OTLP_CLIENT_KEY', client.keyPath),
        ]
      : []),
  ].join('\n')}\n`
}
