/**
 * Streams that ended lately, to tell what crossed an end of ours on the way from what comes behind
 * the peer's own, and both from what was never there: RFC 9113 section 5.1, "closed".
 */

/** Streams remembered that both sides know to be over. */
const REMEMBERED_STREAMS = 64

export class EndedStreams {
  readonly #known = new Int32Array(REMEMBERED_STREAMS)
  #knownCount = 0
  /** Streams that we ended and the peer may not know of yet, and what it may still send on each. */
  readonly #crossing = new Map<number, number>()
  readonly #maxCrossing: number

  /** A peer learns of an end within a round trip, in which it can open as many streams again. */
  constructor(maxStreams: number) {
    this.#maxCrossing = maxStreams * 2
  }

  /** A stream is over; `window` is what the peer may still send on it, undefined where it knows. */
  add(streamId: number, window: number | undefined): void {
    if (window === undefined) {
      this.#known[this.#knownCount % REMEMBERED_STREAMS] = streamId
      this.#knownCount += 1
      return
    }
    this.#crossing.set(streamId, window)
    if (this.#crossing.size <= this.#maxCrossing) return
    for (const oldest of this.#crossing.keys()) {
      this.#crossing.delete(oldest)
      return
    }
  }

  /** The peer shows that it knows. False where nothing was crossing. */
  settle(streamId: number): boolean {
    if (!this.#crossing.delete(streamId)) return false
    this.add(streamId, undefined)
    return true
  }

  /** What may still cross our end of this stream; undefined where nothing may. */
  windowOf(streamId: number): number | undefined {
    return this.#crossing.get(streamId)
  }

  /** Whether both sides have ended it lately. */
  isKnown(streamId: number): boolean {
    return this.#known.includes(streamId)
  }
}
