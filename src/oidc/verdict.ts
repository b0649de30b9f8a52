/** What can become of a JWT that is seen for the first time. These words are metric labels. */
import type { TokenProblem } from '../pipeline/ports.ts'

/** What each verdict means for the request; undefined where the JWT is good. */
export const VERDICTS = {
  /** Its signature and its claims are good. */
  verified: undefined,
  /** Its signature is not by the key it names. */
  signature: 'token_unknown',
  /** Not a JWT that can be read: not JSON, another type of token, bound to a key we cannot ask for. */
  malformed: 'token_unknown',
  /** Longer than 8 KiB. */
  too_large: 'token_unknown',
  /** By an issuer that is not configured. */
  unknown_issuer: 'token_unknown',
  /** Signed by an algorithm that is not allowed. */
  algorithm: 'token_unknown',
  /** Signed by a key that its issuer does not publish. */
  unknown_key: 'token_unknown',
  /** Made for somebody else. */
  audience: 'token_unknown',
  /** A claim is missing, or is not what it has to be. */
  claims: 'token_unknown',
  expired: 'token_expired',
  not_yet_valid: 'token_not_yet_valid',
  /** The keys of its issuer have never been read. */
  unavailable: 'tokens_unavailable',
  /** Too many were being checked. The request is refused as `overloaded`. */
  overloaded: 'tokens_unavailable',
} as const satisfies Record<string, TokenProblem | undefined>

export type Verdict = keyof typeof VERDICTS
/** A verdict against a JWT. */
export type Flaw = Exclude<Verdict, 'verified'>
