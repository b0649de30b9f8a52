/** When to renew, and how long to wait after a failure. Pure: times come in, times go out. */
import type { AcmeFaultKind } from './acme-fault.ts'

const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS
const DAY_MS = 24 * HOUR_MS

/** The part of its life after which a certificate is renewed, where the directory does not say. */
const RENEWAL_SHARE = 2 / 3
/** Give or take this part of its life, so that not all who began together come back together. */
const JITTER_SHARE = 0.02
/** Whatever the directory says, this part of its life is left for failures. */
const LATEST_SHARE = 0.9

/** Minutes after the first, second, … failure in a row; the last one from then on. */
const WAITS_MINUTES = {
  away: [1, 5, 15, 30, 60, 120, 240],
  local: [1, 5, 15, 30, 60],
  // Let's Encrypt takes five failed validations an hour for a name: four with these.
  validation: [2, 12, 30, 60, 120, 240, 480, 720],
  refused: [5, 30, 60, 120, 240, 480, 720],
  rate_limited: [60, 120, 240, 480, 720],
} satisfies Record<AcmeFaultKind, readonly number[]>
const WAIT_JITTER_SHARE = 0.2

/** What a directory puts up with. */
export interface DirectoryLimits {
  /** Failed validations within an hour. */
  readonly failuresPerHour: number
  /** Certificates for the same names within a week. */
  readonly issuesPerWeek: number
}

/** The life of a certificate, Unix milliseconds. */
export interface Life {
  readonly notBeforeMs: number
  readonly notAfterMs: number
}

/** When a directory would like it to be renewed (RFC 9773 §4.2). */
export interface Window {
  readonly startMs: number
  readonly endMs: number
}

/** What Let's Encrypt puts up with, one of each kept in reserve; undefined for other directories. Its staging directory takes hundreds. */
export function limitsOf(directory: string): DirectoryLimits | undefined {
  const isLetsEncrypt = new URL(directory).hostname === 'acme-v02.api.letsencrypt.org'
  return isLetsEncrypt ? { failuresPerHour: 4, issuesPerWeek: 4 } : undefined
}

/** When to renew by the clock alone. `random` is from 0 to 1. */
export function renewalAt({ notBeforeMs, notAfterMs }: Life, random: number): number {
  const share = RENEWAL_SHARE + (random * 2 - 1) * JITTER_SHARE
  return notBeforeMs + (notAfterMs - notBeforeMs) * share
}

/** When to renew as the directory says: anywhere in its window, but never with the last tenth of the life begun. */
export function renewalWithin({ startMs, endMs }: Window, life: Life, random: number): number {
  const latestMs = life.notBeforeMs + (life.notAfterMs - life.notBeforeMs) * LATEST_SHARE
  return Math.min(startMs + (endMs - startMs) * random, latestMs)
}

/** How long to wait after so many failures in a row (at least 1) of which the last was of this kind. */
export function waitMsAfter(kind: AcmeFaultKind, failures: number, random: number): number {
  const waits = WAITS_MINUTES[kind]
  const minutes = waits[Math.min(failures, waits.length) - 1] ?? 60
  return minutes * MINUTE_MS * (1 + random * WAIT_JITTER_SHARE)
}

/** The earliest time at which the limits of the directory allow another attempt. */
export function allowedAt(
  limits: DirectoryLimits | undefined,
  past: { readonly failuresMs: readonly number[]; readonly issuesMs: readonly number[] },
): number {
  if (limits === undefined) return 0
  const { failuresPerHour, issuesPerWeek } = limits
  return Math.max(
    0,
    (past.failuresMs.at(-failuresPerHour) ?? Number.NEGATIVE_INFINITY) + HOUR_MS,
    (past.issuesMs.at(-issuesPerWeek) ?? Number.NEGATIVE_INFINITY) + 7 * DAY_MS,
  )
}

/** What of the past still counts: validations for an hour, certificates for a week. */
export function remembered(
  past: { readonly failuresMs: readonly number[]; readonly issuesMs: readonly number[] },
  wallMs: number,
): { readonly failuresMs: readonly number[]; readonly issuesMs: readonly number[] } {
  return {
    failuresMs: past.failuresMs.filter((ms) => ms > wallMs - HOUR_MS).slice(-20),
    issuesMs: past.issuesMs.filter((ms) => ms > wallMs - 7 * DAY_MS).slice(-200),
  }
}
