/** The log: one line an event on stderr, written before the call returns. */
import { writeSync } from 'node:fs'
import { createRequire } from 'node:module'
import { isatty } from 'node:tty'
import { type Level, pino, stdTimeFunctions } from 'pino'
import type PinoPretty from 'pino-pretty'
import { errorFields, printable, redact } from './redact.ts'

/** What a line is about. Closed, so that lines can be searched and counted. */
export const LOG_EVENTS = [
  'start',
  'listening',
  'draining',
  'stop',
  'reload',
  'tokens_loaded',
  'tokens_kept_last_good',
  'token_grace',
  'tokens_unavailable',
  'keys_loaded',
  'keys_kept_last_good',
  'keys_unavailable',
  'jwt_refused',
  'certificate_loaded',
  'certificate_kept_last_good',
  'certificate_stand_in',
  'certificate_ordered',
  'certificate_issued',
  'certificate_refused',
  'certificate_renewal_moved',
  'certificate_warning',
  'certificate_expired',
  'collector_up',
  'collector_down',
  'ban',
  'ban_lifted',
  'refused',
  'collector_refused',
  'fault',
  'internal',
  'handshake_failed',
  'client_addresses_hidden',
  'client_certificate_ignored',
  'client_trust_warning',
  'crl_expiring',
  'crl_expired',
  'request',
  'audit_failed',
  'audit_recovered',
  'notice',
  // Written by the parent (`src/parent/lines.ts`).
  'parent',
  'gateway_ended',
  'restart',
] as const

export type LogEvent = (typeof LOG_EVENTS)[number]

/** What may be left out, from all to none. No line is written at `trace` or `fatal`. */
export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const

export type LogLevel = (typeof LOG_LEVELS)[number]

/** Further fields of a line. `err` is shown with its stack and causes, and nothing else of it. */
export type LogFields = Readonly<Record<string, unknown>>

/** How long a line waits for a pipe that is full, in milliseconds. */
const PATIENCE_MS = 20
const SLEEPER = new Int32Array(new SharedArrayBuffer(4))

type Write = (event: LogEvent, message: string, fields?: LogFields) => void

export interface Log {
  readonly debug: Write
  readonly info: Write
  readonly warn: Write
  readonly error: Write
  /** Whether debug lines are written at all, for callers that would make one a request. */
  readonly isDebug: boolean
  /** Lines that could not be written since the start. */
  readonly lostLines: number
}

export interface LogOptions {
  readonly level: LogLevel
  /** `json` for machines, `text` for people. */
  readonly format: 'json' | 'text'
  /** File descriptor. Default 2, stderr. */
  readonly fd?: number
  /** Default: whether `fd` is a terminal. Only `text` has colours. */
  readonly hasColour?: boolean
}

/**
 * Makes a log. Lines are written synchronously: nothing is lost when the process ends, and a line
 * costs about 6 µs as JSON and 60 as text. One that cannot be written (disk full, reader gone) is
 * dropped and counted.
 */
export function createLog({ level, format, fd = 2, hasColour = isatty(fd) }: LogOptions): Log {
  let lostLines = 0
  const render = format === 'json' ? redact : prettyLines(hasColour)
  const writer = new LineWriter(fd)
  const destination = {
    write(line: string) {
      if (!writer.write(render(line))) lostLines += 1
    },
  }
  const logger = pino(
    {
      level,
      base: null,
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { err: errorFields },
    },
    destination,
  )
  const at =
    (severity: Exclude<Level, 'fatal' | 'trace'>): Write =>
    (event, message, fields) =>
      logger[severity]({ event, ...fields }, printable(message))

  return {
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    isDebug: logger.isLevelEnabled('debug'),
    get lostLines() {
      return lostLines
    },
  }
}

function prettyLines(hasColour: boolean): (line: string) => string {
  // 10 MB of memory that a log in JSON does not need.
  const { prettyFactory }: typeof PinoPretty = createRequire(import.meta.url)('pino-pretty')
  const pretty = prettyFactory({
    colorize: hasColour,
    translateTime: 'SYS:yyyy-mm-dd HH:MM:ss.l',
    ignore: 'event',
    singleLine: true,
  })
  return (line) => redact(pretty(line))
}

/**
 * Writes lines to a descriptor. A reader that is slow is given a moment; one that does not read at
 * all is not waited for again until it does, so that a stuck log cannot stop the gateway.
 */
class LineWriter {
  readonly #fd: number
  #isStuck = false
  #isTorn = false

  constructor(fd: number) {
    this.#fd = fd
  }

  /** Whether all of the line was written. */
  write(line: string): boolean {
    let rest = Buffer.from(this.#isTorn ? `\n${line}` : line)
    const whole = rest.length
    let triesLeft = this.#isStuck ? 0 : PATIENCE_MS
    while (rest.length > 0) {
      try {
        rest = rest.subarray(writeSync(this.#fd, rest))
      } catch (cause) {
        const isFull = cause instanceof Error && 'code' in cause && cause.code === 'EAGAIN'
        if (isFull && triesLeft > 0) {
          triesLeft -= 1
          Atomics.wait(SLEEPER, 0, 0, 1)
          continue
        }
        // There is no better place to complain than the one that does not take it: it is counted.
        this.#isStuck = true
        this.#isTorn ||= rest.length < whole
        return false
      }
    }
    this.#isStuck = false
    this.#isTorn = false
    return true
  }
}
