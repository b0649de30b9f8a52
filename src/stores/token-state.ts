/** What a token is at a moment: derived from its record and from what is known of its holder's others. */
import type { TokenRecord } from './token-record.ts'

export type TokenState =
  /** Withdrawn. Wins over the others. */
  | 'revoked'
  | 'expired'
  | 'not_yet_valid'
  /** Accepted; a newer token of the holder has been delivered. */
  | 'retiring'
  /** Accepted, not used by anybody yet, beside an older token of the holder that is not retired. */
  | 'pending'
  /** Accepted: the one its holder is meant to use. */
  | 'current'

const ACCEPTED: ReadonlySet<TokenState> = new Set<TokenState>(['retiring', 'pending', 'current'])

/** Whether a token in this state lets in, grace for the late aside. */
export function isAccepted(state: TokenState): boolean {
  return ACCEPTED.has(state)
}

/**
 * The state at `wallMs`: valid from notBefore on, and before expiresAt and revokedAt. `isWaiting` says
 * that nobody has used it yet while its holder has an older token that is not retired.
 */
export function stateOf(record: TokenRecord, wallMs: number, isWaiting = false): TokenState {
  if (record.revokedAtMs !== undefined && wallMs >= record.revokedAtMs) return 'revoked'
  if (record.expiresAtMs !== undefined && wallMs >= record.expiresAtMs) return 'expired'
  if (record.notBeforeMs !== undefined && wallMs < record.notBeforeMs) return 'not_yet_valid'
  if (record.retiringAtMs !== undefined && wallMs >= record.retiringAtMs) return 'retiring'
  return isWaiting ? 'pending' : 'current'
}

/**
 * Tokens of one holder, oldest first: by createdAt where all of them have one, else in the order of
 * the set.
 */
export function oldestFirst<Item extends { readonly record: TokenRecord }>(
  items: readonly Item[],
): Item[] {
  if (items.some(({ record }) => record.createdAtMs === undefined)) return [...items]
  return items.toSorted((a, b) => (a.record.createdAtMs ?? 0) - (b.record.createdAtMs ?? 0))
}
