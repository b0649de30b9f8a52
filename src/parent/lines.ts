/**
 * The parent's log lines, in the form of the gateway's log. Written by hand: the log's own libraries
 * would take more memory than all the rest of the parent.
 */
import { writeSync } from 'node:fs'

/** What a line of the parent is about. */
export type ParentEvent = 'parent' | 'gateway_ended' | 'restart'
export type Severity = 'info' | 'warn' | 'error'

export interface LinesOptions {
  /** The least important lines that are written; undefined for none. */
  readonly least: Severity | undefined
  readonly format: 'json' | 'text'
  /** Only `text` has colours. */
  readonly hasColour: boolean
  readonly wallMs: () => number
  /** Default: stderr. */
  readonly write?: (line: string) => void
}

/** Writes a line. Fields are of the parent's own making, and never a secret. */
export type Say = (
  severity: Severity,
  event: ParentEvent,
  message: string,
  fields?: Readonly<Record<string, string | number>>,
) => void

const RANK: Readonly<Record<Severity, number>> = { info: 0, warn: 1, error: 2 }
const COLOUR: Readonly<Record<Severity, string>> = { info: '32', warn: '33', error: '31' }

/** Makes the writer. A line that cannot be written is dropped. */
export function createSay(options: LinesOptions): Say {
  const { least, format, hasColour, wallMs, write = toStderr } = options
  return (severity, event, message, fields = {}) => {
    if (least === undefined || RANK[severity] < RANK[least]) return
    if (format === 'json') {
      const time = new Date(wallMs()).toISOString()
      write(`${JSON.stringify({ level: severity, time, event, ...fields, msg: message })}\n`)
      return
    }
    const paint = (code: string, text: string) =>
      hasColour ? `\x1b[${code}m${text}\x1b[39m` : text
    const more = Object.keys(fields).length === 0 ? '' : ` ${paint('90', JSON.stringify(fields))}`
    const head = `[${localTime(wallMs())}] ${paint(COLOUR[severity], severity.toUpperCase())}`
    write(`${head}: ${paint('36', message)}${more}\n`)
  }
}

/** `2026-11-22 20:54:02.117` in the time zone of the machine. */
function localTime(wallMs: number): string {
  const offsetMs = new Date(wallMs).getTimezoneOffset() * 60_000
  return new Date(wallMs - offsetMs).toISOString().slice(0, -1).replace('T', ' ')
}

function toStderr(line: string): void {
  try {
    writeSync(2, line)
  } catch {
    // There is no better place to complain.
  }
}
