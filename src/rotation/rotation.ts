/**
 * One rotation of one holder's token: what it set out to do and how far it has come. All of it is in
 * its journal, so that any later run can go on from there.
 */

/** The steps, in their order. A rotation stands at the step that is to be done next. */
export const STEPS = ['publish', 'accept', 'deliver', 'retire', 'watch', 'revoke'] as const
export type Step = (typeof STEPS)[number]

/** What a rotation set out to do. It keeps to that, whatever later runs are told. */
export interface Plan {
  /** The source of truth, as a place. */
  readonly truth: string
  /** Where the new token goes, as places; at least one. */
  readonly deliver: readonly string[]
  /** Who has to accept it, and whose ledgers count: `local`, or the URL of an admin port. */
  readonly gateways: readonly string[]
  /** An old token is unused when nobody has shown it for so long. */
  readonly quietMs: number
  /** How long an old token lives on at most once the new one is delivered; undefined: until it is unused. */
  readonly deadlineMs?: number
  /** Between refusing an old token and revoking it. */
  readonly revokeAfterMs: number
  /** How long one run waits for the gateways to accept the new token. */
  readonly acceptWithinMs: number
  /** Lifetime of the new token, as the one before had it; undefined where it has no end. */
  readonly lifetimeMs?: number
}

/** A moment by two clocks, so that a step of the system's time shows. */
export interface Moment {
  readonly wallMs: number
  /** Since the machine started; comparable where `boot` is the same. */
  readonly uptimeMs: number
  readonly boot: string
}

/** An old token of the holder. */
export interface OldToken {
  readonly id: string
  /** Its end as it was before the rotation set another, ISO 8601. */
  readonly expiresAt?: string
  /** Requests that each gateway had counted when the token was retired. */
  readonly requestsBefore?: Readonly<Record<string, number>>
  /** The latest use that any gateway has ever told of, Unix milliseconds: a lost ledger takes none back. */
  readonly lastUsedMs?: number
  /** When the rotation found it ended. */
  readonly refusedAtMs?: number
}

/** A delivery that is done. */
export interface Delivered {
  readonly place: string
  readonly atMs: number
  /** What was done and what is left to do, in the words of the place. */
  readonly words: string
}

/** A rotation under way. Times are Unix milliseconds. */
export interface Rotation {
  readonly v: 1
  readonly holder: string
  /** The new token's public name. */
  readonly id: string
  readonly sha256: string
  /** The new token in plain; gone with the last delivery. */
  readonly token?: string
  readonly plan: Plan
  readonly startedAtMs: number
  readonly step: Step
  readonly stepSinceMs: number
  readonly old: readonly OldToken[]
  readonly delivered: readonly Delivered[]
  /** A place that is being delivered to, and may have the new token by now. */
  readonly delivering?: string
  readonly retiredAtMs?: number
  /** When the old tokens end though they are still used. */
  readonly deadlineAtMs?: number
  readonly refusedAtMs?: number
  /** When the new token was first seen in use. */
  readonly newUsedAtMs?: number
  /** The end of the last run, and how far the wall clock has jumped ahead before. */
  readonly lastRun?: Moment
  readonly jumps?: readonly { readonly noticedAtMs: number; readonly byMs: number }[]
  /** Going back was asked for; nothing else is done any more. */
  readonly abort?: { readonly keepsNew: boolean }
  /** Why the last run could not go on. */
  readonly problem?: string
}

/** A rotation that is over. */
export interface PastRotation {
  readonly holder: string
  readonly id: string
  readonly old: readonly string[]
  readonly startedAtMs: number
  readonly endedAtMs: number
  readonly outcome: 'finished' | 'aborted'
  readonly truth: string
  readonly deliver: readonly string[]
}

/** What is kept of a rotation that ends now. */
export function pastOf(
  { holder, id, old, startedAtMs, plan }: Rotation,
  outcome: PastRotation['outcome'],
  endedAtMs: number,
): PastRotation {
  const { truth, deliver } = plan
  return {
    holder,
    id,
    old: old.map((token) => token.id),
    startedAtMs,
    endedAtMs,
    outcome,
    truth,
    deliver,
  }
}

/** What happened in a rotation: words of the audit log. */
export type EventName =
  | 'created'
  | 'published'
  | 'accepted'
  | 'delivered'
  | 'retiring'
  | 'refused'
  | 'revoked'
  | 'finished'
  | 'aborted'

/** One thing that was done, with what was verified. */
export interface RotationEvent {
  readonly name: EventName
  readonly holder: string
  /** The token it happened to. */
  readonly id: string
  readonly place?: string
  readonly words: string
}

/** How a run of a rotation ended. */
export type Standing =
  | { readonly kind: 'finished'; readonly outcome: PastRotation['outcome'] }
  /** Nothing can be done now. `untilMs`: when it is worth looking again, at the latest. */
  | { readonly kind: 'waiting'; readonly words: string; readonly untilMs: number }
  /** Something has to be put right, or to come back. */
  | {
      readonly kind: 'stopped'
      readonly words: string
      readonly isTemporary: boolean
      /** Gateways were waited for, in vain. */
      readonly hasWaited?: true
    }
