/** `tollgate cert …`: the commands about certificates, one file each. */
import { parseArgs } from 'node:util'
import { NoAnswerError } from './ask-gateway.ts'
import type { CommandIo } from './io.ts'

/** Exit codes of sysexits.h. */
const EXIT_OK = 0
const EXIT_USAGE = 64

/** What a verb is given of the command line. */
export interface CertArguments {
  readonly isJson: boolean
  readonly isForced: boolean
  readonly stateDir: string | undefined
}

/** One verb: resolves with the exit code, rejects with a `NoAnswerError` where the gateway has no good answer. */
export type CertVerb = (given: CertArguments, io: CommandIo) => Promise<number>

const VERBS: Readonly<Record<string, () => Promise<CertVerb>>> = {
  status: async () => (await import('./cert-status.ts')).runCertStatus,
  renew: async () => (await import('./cert-renew.ts')).runCertRenew,
}

const USAGE = `tollgate cert: the certificate of the running gateway

  tollgate cert status [--json]    what it serves, and when that ends and is renewed
  tollgate cert renew [--force]    get a new one by ACME now, if it is due or forced

  --force              renew though it is not due, or after failures before their wait is over
  --json               JSON instead of text
  --state-dir DIR      the gateway's state directory (default: TOLLGATE_STATE_DIR, or .tollgate)
`

/**
 * Resolves with 0; with 64 for a wrong command line, 69 where no gateway runs, 70 where there is no
 * new certificate (the reason is on stderr), and 77 where its socket may not be opened.
 */
export async function runCertCommand(argv: readonly string[], io: CommandIo): Promise<number> {
  const usage = (problem: string) => {
    io.stderr.write(`tollgate cert: ${problem}\n\n${USAGE}`)
    return EXIT_USAGE
  }
  let given: ReturnType<typeof parse>
  try {
    given = parse(argv)
  } catch (error) {
    return usage(error instanceof Error ? error.message : String(error))
  }
  const { values, positionals } = given
  if (values.help === true) {
    io.stdout.write(USAGE)
    return EXIT_OK
  }
  const [verb = 'status', ...more] = positionals
  const load = Object.hasOwn(VERBS, verb) ? VERBS[verb] : undefined
  const expected = Object.keys(VERBS).join(' or ')
  if (load === undefined) return usage(`${JSON.stringify(verb)}: expected ${expected}`)
  if (more.length > 0) return usage(`${JSON.stringify(more[0])}: ${verb} takes nothing more`)
  if (values.force === true && verb !== 'renew') return usage('--force goes with renew')
  const stateDir = values['state-dir']
  const asked = { isJson: values.json === true, isForced: values.force === true, stateDir }
  try {
    return await (await load())(asked, io)
  } catch (error) {
    if (!(error instanceof NoAnswerError)) throw error
    io.stderr.write(`tollgate cert ${verb}: ${error.message}\n`)
    return error.exitCode
  }
}

function parse(argv: readonly string[]) {
  return parseArgs({
    args: [...argv],
    allowPositionals: true,
    options: {
      json: { type: 'boolean' },
      force: { type: 'boolean' },
      'state-dir': { type: 'string' },
      help: { type: 'boolean', short: 'h' },
    },
  })
}
