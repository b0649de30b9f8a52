/** Bytes of bodies that are in memory, over all requests, and the bound on them. */
export class InFlightBytes {
  readonly #maxBytes: number
  #bytes = 0

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  /** Bytes held now. */
  get bytes(): number {
    return this.#bytes
  }

  /** Takes room for so many bytes; false where there is none. */
  reserve(bytes: number): boolean {
    if (this.#bytes + bytes > this.#maxBytes) return false
    this.#bytes += bytes
    return true
  }

  /** Counts bytes that are there already; false where they are too many. */
  add(bytes: number): boolean {
    this.#bytes += bytes
    return this.#bytes <= this.#maxBytes
  }

  release(bytes: number): void {
    this.#bytes -= bytes
  }
}
