/**
 * `tollgate cert extract`: takes one certificate with its key out of Traefik's acme.json, which is for
 * root alone and holds the keys of every site, and writes it where the gateway may read it.
 */
import { resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { hostName } from '../config/addresses.ts'
import { ConfigError } from '../config/config-error.ts'
import { Expected } from '../config/kind.ts'
import { FileWatch } from '../secrets/file-watch.ts'
import { loadServerCredentials } from '../tls/credentials.ts'
import { type PairOwner, pathsIn, writePair } from '../tls/pair-directory.ts'
import type { CommandIo } from './io.ts'

const DEBOUNCE_MS = 200
const POLL_MS = 5000
const MAX_ID = 2 ** 32 - 2

export const EXTRACT_USAGE = `tollgate cert extract: take one certificate out of Traefik's acme.json

  tollgate cert extract --from FILE --domain NAME --to DIR [--owner UID:GID] [--watch]

  --from FILE          Traefik's acme.json; Dokploy: /etc/dokploy/traefik/dynamic/acme.json
  --domain NAME        a name that the certificate is for
  --to DIR             a directory of its own; tls.crt and tls.key in it change as one
  --owner UID:GID      who owns the files (numbers; UID, or :GID for a group that may read);
                       default: who runs this
  --watch              stay, and write again whenever the certificate is renewed
`

interface Wanted {
  readonly from: string
  readonly domain: string
  readonly to: string
  readonly owner: PairOwner
  readonly watches: boolean
}

/**
 * `argv` is what follows `cert extract`. Resolves with 0; throws a `ConfigError` for a wrong command
 * line, a `CertificateError` where the certificate cannot be had, and a `StateDirError` where it cannot
 * be written. With `--watch` it resolves at SIGTERM or SIGINT, and trouble is told and waited out.
 */
export async function runCertExtract(argv: readonly string[], io: CommandIo): Promise<number> {
  if (argv.includes('--help') || argv.includes('-h')) {
    io.stdout.write(EXTRACT_USAGE)
    return 0
  }
  const wanted = readWanted(argv)
  if (wanted.watches) await follow(wanted, io)
  else await extract(wanted, io)
  return 0
}

async function extract({ from, domain, to, owner }: Wanted, io: CommandIo): Promise<void> {
  const nowMs = Date.now()
  const place = { kind: 'acme-json', path: from, domain } as const
  const { secrets, facts } = await loadServerCredentials({ place }, nowMs)
  const isNew = await writePair(to, { cert: secrets.cert, key: secrets.key }, owner, nowMs)
  const { certPath, keyPath } = pathsIn(to)
  const until = new Date(facts.notAfterMs).toISOString().slice(0, 10)
  const verb = isNew ? 'Wrote' : 'Already there:'
  io.stdout.write(
    `${verb} the certificate for ${facts.names.join(', ')}, valid until ${until}: ${certPath}, ${keyPath}\n`,
  )
  for (const warning of facts.warnings) io.stderr.write(`tollgate: ${warning}\n`)
}

async function follow(wanted: Wanted, io: CommandIo): Promise<void> {
  let told = ''
  const look = async () => {
    try {
      await extract(wanted, io)
      told = ''
    } catch (error) {
      const isKnown = error instanceof Error && KNOWN.has(error.name)
      if (!isKnown) throw error
      if (error.message !== told) io.stderr.write(`tollgate: ${error.message}\n`)
      told = error.message
    }
  }
  const stop = Promise.withResolvers<void>()
  let work = Promise.resolve()
  const onChange = () => {
    work = work.then(look)
    work.catch(stop.reject)
  }
  const watch = new FileWatch({
    path: wanted.from,
    debounceMs: DEBOUNCE_MS,
    pollMs: POLL_MS,
    onChange,
  })
  // The watch does not keep the process alive.
  const awake = setInterval(() => {}, MAX_TIMER_MS)
  for (const signal of SIGNALS) process.once(signal, stop.resolve)
  try {
    await watch.start()
    onChange()
    await stop.promise
    await work
  } finally {
    for (const signal of SIGNALS) process.off(signal, stop.resolve)
    clearInterval(awake)
    watch.close()
  }
}

/** What somebody else has to mend, and may have mended at the next look. */
const KNOWN: ReadonlySet<string> = new Set(['CertificateError', 'StateDirError'])
const SIGNALS = ['SIGTERM', 'SIGINT'] as const
const MAX_TIMER_MS = 2 ** 31 - 1

function readWanted(argv: readonly string[]): Wanted {
  const { from, domain, to, owner, watch = false } = parse(argv)
  if (from === undefined) throw mistake('--from', "expected Traefik's acme.json")
  if (domain === undefined) throw mistake('--domain', 'expected a name of the certificate')
  if (to === undefined) throw mistake('--to', 'expected a directory for the certificate')
  const name = hostName().parse(domain, { cwd: '.' })
  if (name instanceof Expected) {
    throw mistake('--domain', `${JSON.stringify(domain)}: expected ${name.what}`)
  }
  return {
    from: resolve(from),
    domain: name,
    to: resolve(to),
    owner: ownerFrom(owner),
    watches: watch,
  }
}

function parse(argv: readonly string[]) {
  const string = { type: 'string' } as const
  try {
    return parseArgs({
      args: [...argv],
      options: {
        from: string,
        domain: string,
        to: string,
        owner: string,
        watch: { type: 'boolean' },
      },
    }).values
  } catch (error) {
    throw mistake('cert extract', error instanceof Error ? error.message : String(error))
  }
}

function ownerFrom(text: string | undefined): PairOwner {
  if (text === undefined) return { uid: undefined, gid: undefined }
  const [, uid, gid] = /^(\d{1,10})?(?::(\d{1,10}))?$/.exec(text) ?? []
  const ids = [uid, gid].map((digits) => (digits === undefined ? undefined : Number(digits)))
  const [uidNumber, gidNumber] = ids
  if (ids.every((id) => id === undefined) || ids.some((id) => id !== undefined && id > MAX_ID)) {
    throw mistake(
      '--owner',
      `${JSON.stringify(text)}: expected numbers such as 10001:10001, 10001, or :10001`,
    )
  }
  return { uid: uidNumber, gid: gidNumber }
}

function mistake(option: string, problem: string): ConfigError {
  return new ConfigError([{ option, message: `${option}: ${problem}` }])
}
