/**
 * What is remembered under a key, bounded: the oldest goes when there is no room. A new key looks at
 * the oldest few and takes out those that are over, so the table sheds faster than it grows.
 */
const SWEEP_STEPS = 2

export class Remembered<V extends { readonly untilMs: number }> {
  readonly #max: number
  readonly #values = new Map<string, V>()
  #evictions = 0

  /** `max`: most keys, at least 1. */
  constructor(max: number) {
    this.#max = max
  }

  /** Keys held now, some of them perhaps over. */
  get size(): number {
    return this.#values.size
  }

  /** Keys forgotten before they were over, since the start. */
  get evictions(): number {
    return this.#evictions
  }

  /** The value under a key, over or not. */
  get(key: string): V | undefined {
    return this.#values.get(key)
  }

  /** Sets a value. `nowMs` is on the clock of `untilMs`. */
  set(key: string, value: V, nowMs: number): void {
    this.#values.delete(key)
    for (let step = 0; step < SWEEP_STEPS; step += 1) {
      const [oldest] = this.#values
      if (oldest === undefined) break
      const isOver = oldest[1].untilMs <= nowMs
      if (!isOver && this.#values.size < this.#max) break
      if (!isOver) this.#evictions += 1
      this.#values.delete(oldest[0])
    }
    this.#values.set(key, value)
  }

  clear(): void {
    this.#values.clear()
  }
}
