import { ExpiringTable } from './expiring-table.ts'

/** A pair in use is refreshed no more often than this. */
const REFRESH_MS = 60_000
/** Tokens remembered for one peer: as many agents as may sit behind one NAT. */
const MAX_TOKENS_A_PEER = 1000

interface Entry {
  /** When each token was last used, oldest use first. */
  readonly lastMs: Map<string, number>
  latestMs: number
}

/**
 * Which tokens have been used from which peers: the pairs that a ban does not lock out. Only valid
 * tokens get here, so strangers cannot fill it.
 */
export class Vouched {
  readonly #keepMs: number
  readonly #peers: ExpiringTable<Entry>

  /** `maxKeys`: most peers; `keepMs`: how long a pair is remembered after its last use. */
  constructor({ maxKeys, keepMs }: { maxKeys: number; keepMs: number }) {
    this.#keepMs = keepMs
    this.#peers = new ExpiringTable({ maxKeys, expiresMs: ({ latestMs }) => latestMs + keepMs })
  }

  /** Peers remembered now. */
  get size(): number {
    return this.#peers.size
  }

  /** Peers forgotten for want of room, since the start. */
  get evictions(): number {
    return this.#peers.evictions
  }

  /** Remembers a use; true where the pair is new. */
  note(peerKey: string, tokenId: string, nowMs: number): boolean {
    let entry = this.#peers.get(peerKey)
    if (entry === undefined) {
      entry = { lastMs: new Map(), latestMs: nowMs }
      this.#peers.set(peerKey, entry, nowMs)
    }
    const lastMs = entry.lastMs.get(tokenId)
    if (lastMs !== undefined && nowMs - lastMs < REFRESH_MS) return false
    entry.lastMs.delete(tokenId)
    entry.lastMs.set(tokenId, nowMs)
    entry.latestMs = Math.max(entry.latestMs, nowMs)
    if (entry.lastMs.size > MAX_TOKENS_A_PEER) {
      const [oldest] = entry.lastMs.keys()
      if (oldest !== undefined) entry.lastMs.delete(oldest)
    }
    return lastMs === undefined
  }

  /** Whether this token has been used from this peer. */
  has(peerKey: string, tokenId: string, nowMs: number): boolean {
    const lastMs = this.#peers.get(peerKey)?.lastMs.get(tokenId)
    return lastMs !== undefined && nowMs < lastMs + this.#keepMs
  }

  /** Whether any token has been used from this peer. */
  hasAny(peerKey: string, nowMs: number): boolean {
    const entry = this.#peers.get(peerKey)
    return entry !== undefined && nowMs < entry.latestMs + this.#keepMs
  }

  /** The pairs that still count, those of the newest `maxPairs` peers, and so many at most. */
  *pairs(
    nowMs: number,
    maxPairs = Number.POSITIVE_INFINITY,
  ): Generator<{ peer: string; token: string; lastMs: number }> {
    let older = this.#peers.size - maxPairs
    let left = maxPairs
    for (const [peer, entry] of this.#peers.entries()) {
      older -= 1
      if (older >= 0) continue
      for (const [token, lastMs] of entry.lastMs) {
        if (nowMs >= lastMs + this.#keepMs) continue
        if (left <= 0) return
        left -= 1
        yield { peer, token, lastMs }
      }
    }
  }
}
