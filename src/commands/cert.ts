/** `tollgate cert …`: the commands about certificates, one file each. */
import type { CommandIo } from './io.ts'

const EXIT_USAGE = 64

/** One of the commands: gets what follows its name, resolves with the exit code. */
type Verb = (argv: readonly string[], io: CommandIo) => Promise<number>

const VERBS: Readonly<Record<string, () => Promise<Verb>>> = {
  status: async () => (await import('./cert-status.ts')).runCertStatus,
  renew: async () => (await import('./cert-renew.ts')).runCertRenew,
  dev: async () => (await import('./cert-dev.ts')).runCertDev,
  extract: async () => (await import('./cert-extract.ts')).runCertExtract,
}

const USAGE = `tollgate cert: certificates

  tollgate cert status [--json]
                           what the running gateway serves, and when that ends and is renewed
  tollgate cert renew [--force] [--json]
                           has it get a new one by ACME, though it is not due with --force
  tollgate cert dev [--out DIR] [--name NAME] [--client NAME] [--days N] [--renew] [--json]
                           make a development CA with server and client certificates
  tollgate cert extract --from FILE --domain NAME --to DIR [--owner UID:GID] [--watch]
                           take one certificate out of Traefik's acme.json

tollgate cert COMMAND --help says more.
`

/** `argv` is what follows `cert`. Resolves with 64 for a command that there is not, else with the command's code. */
export async function runCertCommand(argv: readonly string[], io: CommandIo): Promise<number> {
  const [verb = '', ...rest] = argv
  if (verb === '--help' || verb === '-h') {
    io.stdout.write(USAGE)
    return 0
  }
  const load = Object.hasOwn(VERBS, verb) ? VERBS[verb] : undefined
  if (load === undefined) {
    const expected = Object.keys(VERBS).join(', ')
    const found = verb === '' ? 'no command' : JSON.stringify(verb)
    io.stderr.write(`tollgate cert: ${found}; expected one of ${expected}\n\n${USAGE}`)
    return EXIT_USAGE
  }
  return await (await load())(rest, io)
}
