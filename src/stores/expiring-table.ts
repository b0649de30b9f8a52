/** Entries looked at when a new key comes: the table sheds faster than it grows. */
const SWEEP_STEPS = 4
/** Entries looked at when the table is full, of which the one that expires first goes. */
const EVICT_STEPS = 8

/** What a table needs to know of its entries. */
export interface ExpiringTableOptions<V> {
  /** Most keys remembered at once, at least 1. */
  readonly maxKeys: number
  /** Monotonic time from which an entry means the same as none. */
  readonly expiresMs: (value: V) => number
  /** Told of each entry that the table itself takes out, expired or not. */
  readonly onDrop?: ((key: string, value: V) => void) | undefined
}

/**
 * A map of bounded size without timers. A hand goes round it, a few steps for each new key, and takes
 * out what has expired; an entry that nobody asks for may stay until the hand comes by, so callers
 * compare the time themselves. When the table is full all the same, the entry that would expire first
 * among the next few is forgotten: what weighs most stays longest, and nobody gets rid of it by coming
 * from many addresses.
 */
export class ExpiringTable<V> {
  readonly #options: ExpiringTableOptions<V>
  readonly #entries = new Map<string, V>()
  // One iterator kept over calls: a new one a call would step over every hole at the front.
  #hand = this.#entries.entries()
  #evictions = 0

  constructor(options: ExpiringTableOptions<V>) {
    this.#options = options
  }

  /** Entries held now, some of them perhaps expired. Never above `maxKeys`. */
  get size(): number {
    return this.#entries.size
  }

  /** Entries forgotten before they expired, since the start. */
  get evictions(): number {
    return this.#evictions
  }

  /** The value under a key, expired or not. */
  get(key: string): V | undefined {
    return this.#entries.get(key)
  }

  /** Sets a value; a new key makes room first. */
  set(key: string, value: V, nowMs: number): void {
    if (!this.#entries.has(key)) this.#makeRoom(nowMs)
    this.#entries.set(key, value)
  }

  /** Takes an entry out without telling `onDrop`; false where there was none. */
  delete(key: string): boolean {
    return this.#entries.delete(key)
  }

  /** Every entry, expired or not, oldest key first. */
  entries(): IterableIterator<[string, V]> {
    return this.#entries.entries()
  }

  #makeRoom(nowMs: number): void {
    this.#step(SWEEP_STEPS, nowMs)
    if (this.#entries.size < this.#options.maxKeys) return
    const first = this.#step(EVICT_STEPS, nowMs)
    if (this.#entries.size < this.#options.maxKeys || first === undefined) return
    this.#evictions += 1
    this.#drop(first[0], first[1])
  }

  /** Takes out what has expired among the next entries; of those that stay, the first to expire. */
  #step(steps: number, nowMs: number): [string, V] | undefined {
    let first: [string, V] | undefined
    let firstMs = Number.POSITIVE_INFINITY
    for (let step = 0; step < steps && this.#entries.size > 0; step += 1) {
      let next = this.#hand.next()
      if (next.done) {
        this.#hand = this.#entries.entries()
        next = this.#hand.next()
      }
      if (next.done) break
      const [key, value] = next.value
      const expiresMs = this.#options.expiresMs(value)
      if (expiresMs <= nowMs) this.#drop(key, value)
      else if (first === undefined || expiresMs < firstMs) {
        first = next.value
        firstMs = expiresMs
      }
    }
    return first
  }

  #drop(key: string, value: V): void {
    this.#entries.delete(key)
    this.#options.onDrop?.(key, value)
  }
}
