/** Lets one of many like events through, and tells how many it kept back. */
export class Sampler {
  readonly #intervalMs: number
  readonly #kinds = new Map<string, { nextMs: number; suppressed: number }>()

  /** At most one event of a kind in `intervalMs`. Kinds are remembered: they must be a closed set. */
  constructor(intervalMs: number) {
    this.#intervalMs = intervalMs
  }

  /** How many of this kind were kept back before this one; undefined where this one is, too. */
  take(kind: string, nowMs: number): number | undefined {
    const known = this.#kinds.get(kind)
    if (known === undefined) {
      this.#kinds.set(kind, { nextMs: nowMs + this.#intervalMs, suppressed: 0 })
      return 0
    }
    if (nowMs < known.nextMs) {
      known.suppressed += 1
      return undefined
    }
    const { suppressed } = known
    known.nextMs = nowMs + this.#intervalMs
    known.suppressed = 0
    return suppressed
  }

  /** What was kept back and not told yet. Forgets it. */
  drain(): { readonly kind: string; readonly suppressed: number }[] {
    const left = [...this.#kinds]
      .filter(([, { suppressed }]) => suppressed > 0)
      .map(([kind, { suppressed }]) => ({ kind, suppressed }))
    this.#kinds.clear()
    return left
  }
}
