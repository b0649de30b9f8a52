/**
 * Calls whose credential is being checked. Not a wait for budget: it takes a millisecond as a rule,
 * and some seconds where keys have to be fetched first, so it is there with `TOLLGATE_HOLD=off` too.
 */
import type { Arrival } from './arrival.ts'
import type { Refusal } from './outcome.ts'
import type { Clock, Token, TokenProblem } from './ports.ts'
import type { Unverified } from './unverified.ts'

/** Longest wait, where the client does not go away earlier. Fetching keys has shorter limits. */
const MAX_WAIT_MS = 15_000
/** A client that says when it will stop waiting is answered this long before. */
const MARGIN_MS = 250
/** No one address may have more than this share of the places. */
const PEER_SHARE = 0.1

/** What the check said, or why the call does not wait for it (any longer). */
export type Checked = Token | TokenProblem | { readonly refusal: Refusal } | 'gone'

export class Verifying {
  readonly #maxCalls: number
  readonly #clock: Clock
  readonly #waiting = new Set<(checked: Checked) => void>()
  readonly #byPeer = new Map<string, number>()

  /** `maxCalls`: calls waiting at once, over all. An address may have a tenth of them (at least one). */
  constructor(maxCalls: number, clock: Clock) {
    this.#maxCalls = maxCalls
    this.#clock = clock
  }

  /** Calls waiting now. */
  get size(): number {
    return this.#waiting.size
  }

  /** Has the credential checked and waits for it. `onGone` is given what to call when the client leaves. */
  async wait(
    unverified: Unverified,
    { peer, deadlineMs }: Arrival,
    onGone: (leave: () => void) => void,
  ): Promise<Checked> {
    const ofPeer = this.#byPeer.get(peer.key) ?? 0
    const places = Math.max(1, Math.floor(this.#maxCalls * PEER_SHARE))
    const hasRoom = this.#waiting.size < this.#maxCalls && ofPeer < places
    const checking = hasRoom ? unverified.check() : undefined
    if (checking === undefined) return { refusal: { reason: 'overloaded' } }

    const { promise, resolve, reject } = Promise.withResolvers<Checked>()
    const leftMs = Math.min(MAX_WAIT_MS, deadlineMs - MARGIN_MS - this.#clock.nowMs())
    const timer = setTimeout(
      () => resolve({ refusal: { reason: 'tokens_unavailable' } }),
      Math.max(0, leftMs),
    )
    this.#waiting.add(resolve)
    this.#byPeer.set(peer.key, ofPeer + 1)
    checking.then(resolve, reject)
    onGone(() => resolve('gone'))
    try {
      return await promise
    } finally {
      clearTimeout(timer)
      this.#waiting.delete(resolve)
      const left = (this.#byPeer.get(peer.key) ?? 1) - 1
      if (left > 0) this.#byPeer.set(peer.key, left)
      else this.#byPeer.delete(peer.key)
    }
  }

  /** Ends every wait with this refusal: the drain time is over. */
  refuseAll(refusal: Refusal): void {
    for (const resolve of [...this.#waiting]) resolve({ refusal })
  }
}
