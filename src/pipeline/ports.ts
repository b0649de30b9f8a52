/**
 * What the pipeline needs of the rest of the house. Stores are synchronous and take the time as an
 * argument. Two clocks are kept apart: `nowMs` is monotonic (budgets, bans, deadlines – a step of
 * the wall clock must not refuse or free anybody), `wallMs` is Unix time (validity of tokens).
 */
import type { Signal } from '../otlp/signal.ts'
import type { Arrival, ClientCertificate, Peer } from './arrival.ts'
import type { Outcome, Refusal } from './outcome.ts'
import type { Unverified } from './unverified.ts'

export interface Clock {
  /** Milliseconds from a fixed, arbitrary point; never goes back. */
  nowMs(): number
  /** Unix time in milliseconds. */
  wallMs(): number
}

/** A token of the set, as far as admission is concerned. The secret is not in it. */
export interface Token {
  /** Short public name, shown in logs and metrics. */
  readonly id: string
  /** Who it was given to. */
  readonly holder: string
  /** Signals it may export; undefined for all. */
  readonly scopes: ReadonlySet<Signal> | undefined
  readonly limits: TokenLimits
}

/** A token's own budgets; undefined where none is set. */
export interface TokenLimits {
  readonly requests: Rate | undefined
  readonly bytes: Rate | undefined
  readonly inFlight: number | undefined
}

/** A budget: so many a second on average, so many at once after a pause. */
export interface Rate {
  readonly perSecond: number
  readonly burst: number
}

/** Why a credential was not accepted. */
export type TokenProblem =
  | 'token_missing'
  | 'token_unknown'
  | 'token_expired'
  | 'token_not_yet_valid'
  | 'tokens_unavailable'
  | 'scope_denied'
  | 'certificate_unknown'

export interface Tokens {
  /**
   * The token behind an Authorization header, or why there is none. `scope_denied` here means that
   * the token is not allowed from this peer (`allowFrom`). Never waits: what takes time to check
   * comes back `Unverified`. Where the header holds none, a client certificate may stand in for it.
   */
  verify(
    authorization: string | undefined,
    peer: Peer,
    wallMs: number,
    certificate?: ClientCertificate,
  ): Token | TokenProblem | Unverified
  /**
   * What the client may hear of why the token it showed is not accepted: since when. Undefined where
   * there is nothing beyond the reason.
   */
  detailOf(
    authorization: string | undefined,
    wallMs: number,
    certificate?: ClientCertificate,
  ): string | undefined
  /** Remembers that a token was admitted. */
  used(token: Token, arrival: Arrival, wallMs: number): void
}

export interface Bans {
  isBanned(peer: Peer, nowMs: number): boolean
  /** Milliseconds until the ban ends; 0 where there is none. */
  remainingMs(peer: Peer, nowMs: number): number
  /** Counts an offence, and bans when there were too many. Exempt peers never collect any. */
  strike(peer: Peer, nowMs: number): void
  /** A valid token was used from here: such a peer is never locked out at accept. */
  vouch(peer: Peer, token: Token, nowMs: number): void
  /** Whether this very token has been used from this peer before. */
  isVouched(peer: Peer, token: Token, nowMs: number): boolean
}

/** The budgets of peers and tokens: requests, bytes, calls in flight. */
export interface Budgets {
  /** How long until the peer and the token (if any) both have budget; 0 = now. Takes nothing. Infinity: waits for a call in flight to end. */
  waitMs(peer: Peer, token: Token | undefined, nowMs: number): number
  /** Takes one request from both, and a place in flight. Call `release` when it has ended. */
  take(peer: Peer, token: Token | undefined, nowMs: number): void
  /** Gives back the place in flight that `take` took. */
  release(peer: Peer, token: Token | undefined): void
  /** Charges bytes that have arrived. May overdraw: what follows then waits. */
  chargeBytes(peer: Peer, token: Token | undefined, bytes: number, nowMs: number): void
}

/** Whether admitted calls have somewhere to go. */
export interface Destination {
  /** False while a call sent now would find nobody. */
  isAvailable(): boolean
}

/** What is told of each request. Exactly one `arrived` and one `ended` a request. */
export interface Journal {
  arrived(arrival: Arrival): void
  ended(arrival: Arrival, ending: Ending): void
  /** A call began to wait for budget or for the collector. */
  held(arrival: Arrival, why: HoldReason): void
  /** A wait ended: `saved` where the call went on, `refused` where it ran out of time, `gone` where the client left. */
  unheld(
    arrival: Arrival,
    why: HoldReason,
    how: 'saved' | 'refused' | 'gone',
    waitedMs: number,
  ): void
}

export type HoldReason = 'rate_limited' | 'collector_unavailable'

/** How a request ended. */
export interface Ending {
  readonly outcome: Outcome
  readonly token: Token | undefined
  readonly refusal: Refusal | undefined
  readonly durationMs: number
  /** Bytes of the message as it came in, and of the answer. */
  readonly bytesIn: number
  readonly bytesOut: number
  /** For the log alone. */
  readonly cause: unknown
}
