/** Slower than this on average, and it counts as standing still. */
const MIN_BYTES_PER_SECOND = 256

/** Whether bytes that wait for the peer move. A byte now and then is no progress. */
export class Progress {
  #markBytes = 0
  #sinceMs: number

  constructor(nowMs: number) {
    this.#sinceMs = nowMs
  }

  /**
   * Whether they have stood still for longer than `timeoutMs`. `movedBytes` is how many have moved
   * since the start; `isWaiting` whether any are left that only the peer can move.
   */
  hasStalled(isWaiting: boolean, movedBytes: number, nowMs: number, timeoutMs: number): boolean {
    const floor = (MIN_BYTES_PER_SECOND * timeoutMs) / 1000
    if (!isWaiting || movedBytes - this.#markBytes >= floor) {
      this.#markBytes = movedBytes
      this.#sinceMs = nowMs
    }
    return nowMs - this.#sinceMs > timeoutMs
  }
}
