/** Something that has to make progress. */
export interface Watched {
  /** Called about every interval. */
  checkProgress(): void
}

/**
 * Looks after all bodies that are being read with one timer: most arrive at once, and a timer for
 * each would cost more than they do.
 */
export class ProgressWatch {
  readonly #watched = new Set<Watched>()
  readonly #intervalMs: number
  #timer: NodeJS.Timeout | undefined

  constructor(intervalMs: number) {
    this.#intervalMs = intervalMs
  }

  /** Begins to look after something. It is looked at after one interval at least, and two at most. */
  add(watched: Watched): void {
    this.#watched.add(watched)
    this.#timer ??= setInterval(this.#look, this.#intervalMs).unref()
  }

  delete(watched: Watched): void {
    this.#watched.delete(watched)
  }

  readonly #look = (): void => {
    for (const watched of this.#watched) watched.checkProgress()
    if (this.#watched.size > 0) return
    clearInterval(this.#timer)
    this.#timer = undefined
  }
}
