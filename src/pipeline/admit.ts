import type { Arrival, Peer } from './arrival.ts'
import { type Refusal, STRIKES } from './outcome.ts'
import type {
  Bans,
  Budgets,
  Destination,
  HoldReason,
  Token,
  TokenProblem,
  Tokens,
} from './ports.ts'
import { Unverified } from './unverified.ts'

/** What admission asks. */
export interface Admission {
  readonly bans: Bans
  readonly tokens: Tokens
  readonly budgets: Budgets
  readonly destination: Destination
}

let issue: (arrival: Arrival, token: Token, budgets: Budgets) => Permit

/**
 * Evidence that a request was admitted. Only `admit` can make one, and forwarding asks for one, so
 * forgetting to admit does not compile. It holds the request's place in flight until released.
 */
export class Permit {
  readonly token: Token
  readonly #arrival: Arrival
  readonly #budgets: Budgets
  #isReleased = false

  private constructor(arrival: Arrival, token: Token, budgets: Budgets) {
    this.#arrival = arrival
    this.token = token
    this.#budgets = budgets
  }

  static {
    issue = (arrival, token, budgets) => new Permit(arrival, token, budgets)
  }

  /** Charges bytes of the message to the peer and the token. */
  chargeBytes(bytes: number, nowMs: number): void {
    this.#budgets.chargeBytes(this.#arrival.peer, this.token, bytes, nowMs)
  }

  /** Gives back the place in flight. Later calls do nothing. */
  release(): void {
    if (this.#isReleased) return
    this.#isReleased = true
    this.#budgets.release(this.#arrival.peer, this.token)
  }
}

/**
 * Neither yes nor no: a request with a good token that has come too early, or that would find
 * nobody to take it. It may wait (`Hold`), and is refused for this reason where it may not.
 */
export class Delay {
  readonly why: HoldReason
  readonly token: Token
  /** When to ask again; Infinity where only an event can tell. */
  readonly waitMs: number

  constructor(why: HoldReason, token: Token, waitMs: number) {
    this.why = why
    this.token = token
    this.waitMs = waitMs
  }

  /** The refusal this becomes when it may not wait (any longer). */
  refusal(): Refusal {
    return this.why === 'rate_limited'
      ? rateLimited(this.waitMs, `the budget of token ${this.token.id} or of its address`)
      : { reason: this.why }
  }
}

/**
 * Decides on the headers alone, before a byte of the body is read, and again for every request:
 * ban, the address's budget, flaws of the request, token, scope, the token's budget, and whether
 * the collector is there. The address's budget stands before the token check, so that guessing is
 * limited too; a refused request has used up its share of it all the same.
 *
 * Strikes are counted here; what is admitted is vouched for. `isQueued` tells whether others already
 * wait for the same budget: a newcomer then queues behind them.
 *
 * A credential that takes time to check comes back `Unverified`, unless it is refused before. Its
 * address has then paid one request for the check; ask again with what the check said as `checked`.
 */
export function admit(
  arrival: Arrival,
  { bans, tokens, budgets, destination }: Admission,
  nowMs: number,
  wallMs: number,
  isQueued: (peerKey: string, tokenId: string) => boolean = () => false,
  checked?: Token | TokenProblem,
): Permit | Refusal | Delay | Unverified {
  const { peer, flaw, authorization, certificate } = arrival
  const found = checked ?? tokens.verify(authorization, peer, wallMs, certificate)
  const token = found instanceof Unverified ? found.claimed : found

  if (
    bans.isBanned(peer, nowMs) &&
    (typeof token === 'string' || !bans.isVouched(peer, token, nowMs))
  ) {
    return { reason: 'banned', retryAfterMs: bans.remainingMs(peer, nowMs) }
  }

  const refusal =
    flaw ??
    (typeof token === 'string'
      ? tokenRefusal(token, tokens.detailOf(authorization, wallMs, certificate))
      : scopeRefusal(arrival, token))
  if (refusal !== undefined) {
    if (checked === undefined) {
      const peerWaitMs = budgets.waitMs(peer, undefined, nowMs)
      if (peerWaitMs > 0) return rateLimited(peerWaitMs, 'the budget of this address')
      charge(peer, budgets, nowMs)
    }
    if (STRIKES.has(refusal.reason)) bans.strike(peer, nowMs)
    return refusal
  }
  if (typeof token === 'string') throw new TypeError('BUG: a token problem without a refusal')
  if (found instanceof Unverified) {
    const peerWaitMs = budgets.waitMs(peer, undefined, nowMs)
    // Whoever has been here with a good token is not refused because it was renewed meanwhile.
    if (peerWaitMs > 0 && !bans.isVouched(peer, token, nowMs))
      return rateLimited(peerWaitMs, 'the budget of this address')
    charge(peer, budgets, nowMs)
    return found
  }

  const waitMs = budgets.waitMs(peer, token, nowMs)
  if (waitMs > 0) return new Delay('rate_limited', token, waitMs)
  if (!destination.isAvailable())
    return new Delay('collector_unavailable', token, Number.POSITIVE_INFINITY)

  if (isQueued(peer.key, token.id)) return new Delay('rate_limited', token, 0)

  budgets.take(peer, token, nowMs)
  bans.vouch(peer, token, nowMs)
  tokens.used(token, arrival, wallMs)
  return issue(arrival, token, budgets)
}

/** Takes a request from an address, and no place in flight: nothing is forwarded. */
function charge(peer: Peer, budgets: Budgets, nowMs: number): void {
  budgets.take(peer, undefined, nowMs)
  budgets.release(peer, undefined)
}

function rateLimited(waitMs: number, whose: string): Refusal {
  return { reason: 'rate_limited', retryAfterMs: waitMs, detail: `${whose} is used up` }
}

function tokenRefusal(problem: TokenProblem, detail: string | undefined): Refusal {
  if (problem === 'scope_denied')
    return { reason: problem, detail: 'this token may not be used from this address' }
  return detail === undefined ? { reason: problem } : { reason: problem, detail }
}

function scopeRefusal({ signal }: Arrival, { scopes }: Token): Refusal | undefined {
  if (scopes === undefined || signal === 'none' || scopes.has(signal)) return undefined
  return { reason: 'scope_denied', detail: `this token may not export ${signal}` }
}
