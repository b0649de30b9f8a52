/** A question of a command to the running gateway, over the control socket of its state directory. */
import { type RequestOptions, request } from 'node:http'
import { resolve } from 'node:path'
import { controlSocketPath } from '../admin/control.ts'
import { inWords } from './table.ts'

/** Exit codes of sysexits.h. */
const EXIT_USAGE = 64
const EXIT_UNAVAILABLE = 69
const EXIT_SOFTWARE = 70
const EXIT_NO_PERMISSION = 77

/** A gateway that does not answer a command in this time is stuck. */
const ANSWER_MS = 5000

/** What the gateway answered, as JSON. */
export type Answer = Readonly<Record<string, unknown>>

export interface AskOptions {
  /** Sent as JSON. */
  readonly body?: unknown
  /** How long to wait for the answer. Default 5 s. */
  readonly patienceMs?: number
}

/** No good answer came; the message says why, for stderr. */
export class NoAnswerError extends Error {
  /** 64 where the question was wrong, 69 where no gateway runs, 70 where it failed, 77 where its socket may not be opened. */
  readonly exitCode: number
  /** No gateway runs with this state directory. */
  readonly isNobodyThere: boolean

  constructor(message: string, exitCode: number, isNobodyThere = false) {
    super(message)
    this.exitCode = exitCode
    this.isNobodyThere = isNobodyThere
  }
}

/** The state directory that a command means: its option, else TOLLGATE_STATE_DIR, else `.tollgate`. */
export function stateDirFrom(
  option: string | undefined,
  env: Readonly<Record<string, string | undefined>>,
): string {
  return resolve(option || env.TOLLGATE_STATE_DIR || '.tollgate')
}

/**
 * One question to the gateway that uses this state directory.
 *
 * @throws {NoAnswerError} where none came, and with the gateway's own words where it was not 2xx.
 */
export async function askGateway(
  stateDir: string,
  method: string,
  path: string,
  { body, patienceMs = ANSWER_MS }: AskOptions = {},
): Promise<Answer> {
  const socket = controlSocketPath(stateDir)
  const asked = { socketPath: socket, method, path, timeout: patienceMs }
  const { status, answer } = await exchange(asked, body).catch((error: unknown) => {
    throw unreachable(socket, error)
  })
  if (status >= 200 && status < 300) return answer
  const said = String(answer.error ?? `the gateway answered ${status}`)
  throw new NoAnswerError(said, status === 400 ? EXIT_USAGE : EXIT_SOFTWARE)
}

function unreachable(socket: string, error: unknown): NoAnswerError {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  if (code === 'EACCES' || code === 'EPERM') {
    return new NoAnswerError(
      `not allowed to open ${socket}; run this as the user the gateway runs as`,
      EXIT_NO_PERMISSION,
    )
  }
  if (code === 'ENOENT' || code === 'ECONNREFUSED' || code === 'ENOTDIR') {
    return new NoAnswerError(
      `no gateway is running with this state directory (nobody listens on ${socket}); start it, or name its directory with --state-dir or TOLLGATE_STATE_DIR`,
      EXIT_UNAVAILABLE,
      true,
    )
  }
  const why = error instanceof Error ? error.message : String(error)
  const message = `the gateway behind ${socket} did not answer: ${why}`
  return new NoAnswerError(message, EXIT_UNAVAILABLE)
}

function exchange(asked: RequestOptions & { readonly timeout: number }, body: unknown) {
  return new Promise<{ status: number; answer: Answer }>((settle, fail) => {
    const payload = body === undefined ? undefined : JSON.stringify(body)
    const headers: Record<string, string> =
      payload === undefined ? {} : { 'content-type': 'application/json' }
    const call = request({ ...asked, headers }, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.once('error', fail)
      response.once('end', () => {
        try {
          const answer: unknown = JSON.parse(Buffer.concat(chunks).toString())
          if (typeof answer !== 'object' || answer === null) throw new Error('not an object')
          settle({ status: response.statusCode ?? 0, answer: answer as Answer })
        } catch (error) {
          fail(new Error('the answer is not one of a gateway', { cause: error }))
        }
      })
    })
    call.once('timeout', () =>
      call.destroy(new Error(`no answer within ${inWords(asked.timeout)}`)),
    )
    call.once('error', fail)
    call.end(payload)
  })
}
