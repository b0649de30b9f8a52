/** Asks the running gateway over its command socket. */
import { request } from 'node:http'

/** Exit codes of sysexits.h. */
const EXIT_USAGE = 64
const EXIT_UNAVAILABLE = 69
const EXIT_SOFTWARE = 70
const EXIT_NO_PERMISSION = 77

/** A gateway that does not answer the command in this time is stuck. */
const ANSWER_MS = 5000

/** What the gateway answered. */
interface Answer {
  readonly status: number
  readonly body: Readonly<Record<string, unknown>>
}

/** Ends the command with a sentence for stderr. */
export class Stop extends Error {
  readonly exitCode: number

  constructor(message: string, exitCode: number) {
    super(message)
    this.exitCode = exitCode
  }
}

export interface AskOptions {
  /** Sent as JSON. */
  readonly body?: unknown
  /** How long to wait for the answer. Default 5 s. */
  readonly patienceMs?: number
}

/** One question to the gateway. Answers other than 2xx become a Stop with the gateway's own words. */
export async function ask(
  socket: string,
  method: string,
  path: string,
  { body, patienceMs = ANSWER_MS }: AskOptions = {},
): Promise<Answer['body']> {
  const answer = await exchange(socket, method, path, body, patienceMs).catch((error: unknown) => {
    throw unreachable(socket, error)
  })
  if (answer.status >= 200 && answer.status < 300) return answer.body
  const said = String(answer.body.error ?? `the gateway answered ${answer.status}`)
  throw new Stop(said, answer.status === 400 ? EXIT_USAGE : EXIT_SOFTWARE)
}

function unreachable(socket: string, error: unknown): Stop {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  if (code === 'EACCES' || code === 'EPERM') {
    return new Stop(
      `not allowed to open ${socket}; run this as the user the gateway runs as`,
      EXIT_NO_PERMISSION,
    )
  }
  if (code === 'ENOENT' || code === 'ECONNREFUSED' || code === 'ENOTDIR') {
    return new Stop(
      `no gateway is running with this state directory (nobody listens on ${socket}); start it, or name its directory with --state-dir or TOLLGATE_STATE_DIR`,
      EXIT_UNAVAILABLE,
    )
  }
  const why = error instanceof Error ? error.message : String(error)
  return new Stop(`the gateway behind ${socket} did not answer: ${why}`, EXIT_UNAVAILABLE)
}

function exchange(
  socketPath: string,
  method: string,
  path: string,
  body: unknown,
  patienceMs: number,
) {
  return new Promise<Answer>((settle, fail) => {
    const payload = body === undefined ? undefined : JSON.stringify(body)
    const headers: Record<string, string> =
      payload === undefined ? {} : { 'content-type': 'application/json' }
    const call = request({ socketPath, method, path, headers, timeout: patienceMs }, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.once('error', fail)
      response.once('end', () => {
        try {
          const answer: unknown = JSON.parse(Buffer.concat(chunks).toString())
          if (typeof answer !== 'object' || answer === null) throw new Error('not an object')
          settle({ status: response.statusCode ?? 0, body: answer as Answer['body'] })
        } catch (error) {
          fail(new Error('the answer is not one of a gateway', { cause: error }))
        }
      })
    })
    call.once('timeout', () => call.destroy(new Error(`no answer within ${inWords(patienceMs)}`)))
    call.once('error', fail)
    call.end(payload)
  })
}

/** The two largest units of a duration, rounded up to a second: `1h 5m`. */
export function inWords(ms: number): string {
  let seconds = Math.ceil(ms / 1000)
  const parts: string[] = []
  for (const [unit, length] of [
    ['d', 86_400],
    ['h', 3600],
    ['m', 60],
    ['s', 1],
  ] as const) {
    const count = Math.floor(seconds / length)
    seconds -= count * length
    if (count > 0) parts.push(`${count}${unit}`)
  }
  return parts.slice(0, 2).join(' ') || '0s'
}
