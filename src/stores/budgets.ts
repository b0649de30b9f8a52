import type { Peer } from '../pipeline/arrival.ts'
import type { Budgets as BudgetsPort, Rate, Token } from '../pipeline/ports.ts'
import { Gcra } from './gcra.ts'

/** What one address may use; a part left out has no limit. */
export interface PeerLimits {
  readonly requests?: Rate | undefined
  readonly bytes?: Rate | undefined
  /** Calls being forwarded at once. */
  readonly inFlight?: number | undefined
}

export interface BudgetsOptions {
  readonly peer: PeerLimits
  /** Most keys in each table; default 100 000. */
  readonly maxKeys?: number
}

/** State of a budget, as standard rate-limit headers show it. */
export interface BudgetState {
  /** Requests that may come at once after a pause; Infinity where there is no limit. */
  readonly limit: number
  /** Whole requests that may come now; Infinity where there is no limit. */
  readonly remaining: number
  /** Milliseconds until all of `limit` may come at once again. */
  readonly resetMs: number
}

/** How full one table of the limiter is. */
export interface TableSize {
  readonly table: 'peer_requests' | 'peer_bytes' | 'token_requests' | 'token_bytes'
  readonly size: number
  readonly evictions: number
}

/**
 * The budgets of addresses and tokens. One address has one budget over all ports and protocols; a
 * token's own limits come with it and may change from one call to the next.
 */
export class Budgets implements BudgetsPort {
  readonly #limits: PeerLimits
  readonly #peerRequests: Gcra
  readonly #peerBytes: Gcra
  readonly #tokenRequests: Gcra
  readonly #tokenBytes: Gcra
  readonly #inFlightByPeer = new Map<string, number>()
  readonly #inFlightByToken = new Map<string, number>()

  constructor({ peer, maxKeys }: BudgetsOptions) {
    this.#limits = peer
    this.#peerRequests = new Gcra(maxKeys)
    this.#peerBytes = new Gcra(maxKeys)
    this.#tokenRequests = new Gcra(maxKeys)
    this.#tokenBytes = new Gcra(maxKeys)
  }

  waitMs(peer: Peer, token: Token | undefined, nowMs: number): number {
    const { requests, bytes, inFlight } = this.#limits
    if (isFull(this.#inFlightByPeer, peer.key, inFlight)) return Number.POSITIVE_INFINITY
    let waitMs = 0
    if (requests !== undefined) waitMs = this.#peerRequests.waitMs(peer.key, requests, nowMs)
    if (bytes !== undefined) {
      waitMs = Math.max(waitMs, this.#peerBytes.waitMs(peer.key, bytes, nowMs))
    }
    if (token === undefined) return waitMs
    const own = token.limits
    if (isFull(this.#inFlightByToken, token.id, own.inFlight)) return Number.POSITIVE_INFINITY
    if (own.requests !== undefined) {
      waitMs = Math.max(waitMs, this.#tokenRequests.waitMs(token.id, own.requests, nowMs))
    }
    if (own.bytes !== undefined) {
      waitMs = Math.max(waitMs, this.#tokenBytes.waitMs(token.id, own.bytes, nowMs))
    }
    return waitMs
  }

  take(peer: Peer, token: Token | undefined, nowMs: number): void {
    const { requests } = this.#limits
    if (requests !== undefined) this.#peerRequests.take(peer.key, requests, nowMs)
    add(this.#inFlightByPeer, peer.key, 1)
    if (token === undefined) return
    if (token.limits.requests !== undefined) {
      this.#tokenRequests.take(token.id, token.limits.requests, nowMs)
    }
    add(this.#inFlightByToken, token.id, 1)
  }

  release(peer: Peer, token: Token | undefined): void {
    add(this.#inFlightByPeer, peer.key, -1)
    if (token !== undefined) add(this.#inFlightByToken, token.id, -1)
  }

  chargeBytes(peer: Peer, token: Token | undefined, bytes: number, nowMs: number): void {
    if (bytes <= 0) return
    const own = token?.limits.bytes
    if (this.#limits.bytes !== undefined) {
      this.#peerBytes.take(peer.key, this.#limits.bytes, nowMs, bytes)
    }
    if (token !== undefined && own !== undefined) {
      this.#tokenBytes.take(token.id, own, nowMs, bytes)
    }
  }

  /** An address's budget of requests, for the headers that tell a client of it. Takes nothing. */
  peek(peerKey: string, nowMs: number): BudgetState {
    const { requests } = this.#limits
    if (requests === undefined) {
      return { limit: Number.POSITIVE_INFINITY, remaining: Number.POSITIVE_INFINITY, resetMs: 0 }
    }
    return { limit: requests.burst, ...this.#peerRequests.peek(peerKey, requests, nowMs) }
  }

  /** Calls in flight of all peers' budgets: peers and tokens that have any. */
  get inFlight(): { readonly peers: number; readonly tokens: number } {
    return { peers: this.#inFlightByPeer.size, tokens: this.#inFlightByToken.size }
  }

  /** How full each table is and how many keys it has had to forget, for the metrics. */
  tables(): readonly TableSize[] {
    const row = (table: TableSize['table'], { size, evictions }: Gcra): TableSize => {
      return { table, size, evictions }
    }
    return [
      row('peer_requests', this.#peerRequests),
      row('peer_bytes', this.#peerBytes),
      row('token_requests', this.#tokenRequests),
      row('token_bytes', this.#tokenBytes),
    ]
  }
}

function isFull(counts: Map<string, number>, key: string, limit: number | undefined): boolean {
  return limit !== undefined && (counts.get(key) ?? 0) >= limit
}

function add(counts: Map<string, number>, key: string, by: number): void {
  const count = (counts.get(key) ?? 0) + by
  if (count > 0) counts.set(key, count)
  else counts.delete(key)
}
