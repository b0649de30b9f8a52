/**
 * Every way a request can end. These words are metric labels, log fields and test titles,
 * so the sets are closed: a new reason does not compile until both protocols answer it
 * (`edge/wire.ts`).
 */

/** We decided against a request. A value, never thrown. */
export const REFUSAL_REASONS = [
  'banned',
  'rate_limited',
  'token_missing',
  'token_unknown',
  'token_expired',
  'token_not_yet_valid',
  'tokens_unavailable',
  'scope_denied',
  'certificate_unknown',
  'too_large',
  'malformed',
  'unknown_path',
  'bad_method',
  'bad_content_type',
  'unsupported_encoding',
  'overloaded',
  'draining',
] as const

/** The world failed a request that we had admitted. */
export const FAULT_REASONS = [
  'collector_unavailable',
  'collector_timeout',
  'internal',
  'client_gone',
] as const

/**
 * How an answered request ended: the collector took it, or the collector itself said no and its
 * answer was passed on unchanged.
 */
export const ANSWERED = ['accepted', 'collector_refused'] as const

export type Answered = (typeof ANSWERED)[number]
export type RefusalReason = (typeof REFUSAL_REASONS)[number]
export type FaultReason = (typeof FAULT_REASONS)[number]
export type Reason = RefusalReason | FaultReason
export type Outcome = Answered | Reason

/** Every outcome, in the order of the metrics page. */
export const OUTCOMES: readonly Outcome[] = [...ANSWERED, ...REFUSAL_REASONS, ...FAULT_REASONS]

/** A decision against a request. */
export interface Refusal {
  readonly reason: Reason
  /** When the same request may be admitted, in milliseconds from now. The wire clamps it to 1–5 s. */
  readonly retryAfterMs?: number
  /** What the client's developer should know, in words. Never a secret, never an address of ours. */
  readonly detail?: string
}

/** Reasons that count towards a ban: what someone guessing tokens would meet, and nothing else. */
export const STRIKES: ReadonlySet<Reason> = new Set<Reason>(['token_missing', 'token_unknown'])
