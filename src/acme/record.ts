/** What is remembered of attempts over a restart, so that a gateway that restarts often asks no more often. */
import type { AcmeFaultKind } from './acme-fault.ts'
import type { Window } from './schedule.ts'

/** The last failure, until an attempt succeeds. */
export interface Failure {
  readonly atMs: number
  readonly kind: AcmeFaultKind
  readonly words: string
}

export interface AcmeRecord {
  /** What was asked for: a change of it is a reason to ask again at once. */
  readonly asked: string
  /** An attempt that began and has not ended: the gateway was killed, or it is under way. */
  readonly begunMs: number | undefined
  /** Failures in a row. */
  readonly failures: number
  readonly lastFailure: Failure | undefined
  readonly lastSuccessMs: number | undefined
  /** We wait until then after a failure. */
  readonly waitUntilMs: number
  /** The directory wants no request before that. */
  readonly toldToWaitUntilMs: number
  readonly failuresMs: readonly number[]
  readonly issuesMs: readonly number[]
  /** Fingerprint of the certificate that the next three are about. */
  readonly fingerprint: string | undefined
  readonly renewAtMs: number | undefined
  readonly window: Window | undefined
}

/** Nothing has happened yet. */
export const NO_RECORD: AcmeRecord = Object.freeze({
  asked: '',
  begunMs: undefined,
  failures: 0,
  lastFailure: undefined,
  lastSuccessMs: undefined,
  waitUntilMs: 0,
  toldToWaitUntilMs: 0,
  failuresMs: [],
  issuesMs: [],
  fingerprint: undefined,
  renewAtMs: undefined,
  window: undefined,
})

const KINDS: readonly string[] = ['away', 'validation', 'rate_limited', 'refused', 'local']
const MAX_ROWS = 200

/** The text of the file. */
export function recordText(record: AcmeRecord): string {
  return `${JSON.stringify({ version: 1, ...record }, undefined, 1)}\n`
}

/** Reads what `recordText` wrote. @throws {Error} for anything else. */
export function recordFrom(text: string): AcmeRecord {
  const value: unknown = JSON.parse(text)
  const fields = (value ?? {}) as Record<string, unknown>
  if (fields.version !== 1) throw new Error('expected an object with version 1')
  const failure = fields.lastFailure as Record<string, unknown> | undefined
  const window = fields.window as Record<string, unknown> | undefined
  return {
    asked: textFrom(fields.asked) ?? '',
    begunMs: time(fields.begunMs),
    failures: Math.floor(time(fields.failures) ?? 0),
    lastFailure: failure && {
      atMs: time(failure.atMs) ?? 0,
      kind: kindFrom(failure.kind),
      words: textFrom(failure.words) ?? '',
    },
    lastSuccessMs: time(fields.lastSuccessMs),
    waitUntilMs: time(fields.waitUntilMs) ?? 0,
    toldToWaitUntilMs: time(fields.toldToWaitUntilMs) ?? 0,
    failuresMs: times(fields.failuresMs),
    issuesMs: times(fields.issuesMs),
    fingerprint: textFrom(fields.fingerprint),
    renewAtMs: time(fields.renewAtMs),
    window: window && { startMs: time(window.startMs) ?? 0, endMs: time(window.endMs) ?? 0 },
  }
}

function kindFrom(value: unknown): AcmeFaultKind {
  if (typeof value !== 'string' || !KINDS.includes(value))
    throw new Error('no such kind of failure')
  return value as AcmeFaultKind
}

function time(value: unknown): number | undefined {
  if (value === undefined || value === null) return undefined
  if (typeof value !== 'number' || !Number.isFinite(value) || value < 0)
    throw new Error('expected a time')
  return value
}

function times(value: unknown): readonly number[] {
  if (!Array.isArray(value)) throw new Error('expected a list of times')
  return value.slice(-MAX_ROWS).map((one) => time(one) ?? 0)
}

function textFrom(value: unknown): string | undefined {
  if (value === undefined || value === null) return undefined
  if (typeof value !== 'string') throw new Error('expected a text')
  return value.slice(0, 4000)
}
