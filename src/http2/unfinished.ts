/** Tells how long one and the same frame or header block has been under way. */
export class Unfinished {
  #last: number | undefined
  #sinceMs = 0

  /**
   * Whether it has been for longer than `timeoutMs`. `current` is a number that no other frame has,
   * undefined where none is under way. While we do not read, the rest is ours to wait for.
   */
  isFor(timeoutMs: number, current: number | undefined, isPaused: boolean, nowMs: number): boolean {
    if (current === undefined || current !== this.#last || isPaused) {
      this.#last = current
      this.#sinceMs = nowMs
    }
    return nowMs - this.#sinceMs > timeoutMs
  }
}
