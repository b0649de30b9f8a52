/** `tollgate cert status`: asks the running gateway what it serves. */
import { parseArgs } from 'node:util'
import type { AcmeReport } from '../acme-certificate.ts'
import { type Answer, askGateway, NoAnswerError, stateDirFrom } from './ask-gateway.ts'
import type { CommandIo } from './io.ts'
import { inWords } from './table.ts'

/** What the gateway says of one certificate. Times as ISO 8601. */
interface CertificateStatus {
  readonly names: readonly string[]
  readonly issuer: string
  readonly notAfter: string
  readonly file: string
}

/** The whole answer. */
export interface Status {
  readonly certificates: readonly CertificateStatus[]
  /** How it gets its own. */
  readonly acme: AcmeReport | null
}

const EXIT_USAGE = 64

const USAGE = `tollgate cert status: what the running gateway serves

  tollgate cert status [--json]

  --json               JSON instead of text
  --state-dir DIR      the gateway's state directory (default: TOLLGATE_STATE_DIR, or .tollgate)
`

/** What a command line about the running gateway's certificate may hold. */
const OPTIONS = {
  json: { type: 'boolean' },
  force: { type: 'boolean' },
  'state-dir': { type: 'string' },
  help: { type: 'boolean', short: 'h' },
} as const

/** One question to the gateway, and what is written of its answer. */
export interface CertQuestion {
  readonly name: string
  readonly usage: string
  readonly takesForce: boolean
  ask(stateDir: string, isForced: boolean): Promise<Answer>
  /** The answer for people. */
  text(answer: Answer): string
}

/**
 * Reads the command line, asks, and writes the answer. Resolves with 0; with 64 for a wrong command
 * line, 69 where no gateway runs, 70 where it has no good answer (the reason is on stderr), and 77 where
 * its socket may not be opened.
 */
export async function askAndWrite(
  { name, usage, takesForce, ask, text }: CertQuestion,
  argv: readonly string[],
  { stdout, stderr, env }: CommandIo,
): Promise<number> {
  try {
    const { json, force, help, 'state-dir': stateDir } = read(argv)
    if (help === true) {
      stdout.write(usage)
      return 0
    }
    if (force === true && !takesForce)
      throw new NoAnswerError('--force goes with renew', EXIT_USAGE)
    const answer = await ask(stateDirFrom(stateDir, env), force === true)
    stdout.write(json === true ? `${JSON.stringify(answer, undefined, 2)}\n` : text(answer))
    return 0
  } catch (error) {
    if (!(error instanceof NoAnswerError)) throw error
    const more = error.exitCode === EXIT_USAGE ? `\n\n${usage.trimEnd()}` : ''
    stderr.write(`tollgate cert ${name}: ${error.message}${more}\n`)
    return error.exitCode
  }
}

function read(argv: readonly string[]) {
  try {
    return parseArgs({ args: [...argv], options: OPTIONS }).values
  } catch (error) {
    throw new NoAnswerError(error instanceof Error ? error.message : String(error), EXIT_USAGE)
  }
}

/** `argv` is what follows `cert status`. */
export function runCertStatus(argv: readonly string[], io: CommandIo): Promise<number> {
  const question: CertQuestion = {
    name: 'status',
    usage: USAGE,
    takesForce: false,
    ask: (stateDir) => askGateway(stateDir, 'GET', '/certificates'),
    text: (answer) => statusText(answer as unknown as Status, Date.now()),
  }
  return askAndWrite(question, argv, io)
}

/** The status for people. */
export function statusText({ certificates, acme }: Status, wallMs: number): string {
  if (certificates.length === 0) return 'TLS is off: there is no certificate.\n'
  const lines = certificates.flatMap(({ names, issuer, notAfter, file }) => [
    `Names      ${names.map((name) => name.replace(/^DNS:/, '')).join(', ')}`,
    `Issuer     ${issuer}`,
    `Not after  ${moment(notAfter, wallMs)}`,
    `File       ${file}`,
    '',
  ])
  return `${[...lines, ...acmeLines(acme, wallMs)].join('\n')}\n`
}

function acmeLines(acme: AcmeReport | null, wallMs: number): readonly string[] {
  if (acme === null) return ['ACME       off: the certificate is renewed by who writes its file']
  const { directory, names, challenge, isStandIn, nextAttempt, lastSuccess, lastFailure } = acme
  const standIn = 'The certificate above stands in: agents do not trust it.'
  return [
    ...(isStandIn ? [standIn] : []),
    `ACME       ${directory} for ${names.join(', ')}, by ${challenge}`,
    `Renewed    ${lastSuccess === null ? 'never yet' : moment(lastSuccess, wallMs)}`,
    `Next       ${nextAttempt === null ? 'under way now' : moment(nextAttempt, wallMs)}`,
    ...(lastFailure === null
      ? []
      : [`Failed     ${moment(lastFailure.at, wallMs)}: ${lastFailure.words}`]),
  ]
}

/** A time, and how far away it is. */
function moment(iso: string, wallMs: number): string {
  const awayMs = Date.parse(iso) - wallMs
  const words = inWords(Math.abs(awayMs))
  return `${iso} (${awayMs < 0 ? `${words} ago` : `in ${words}`})`
}
