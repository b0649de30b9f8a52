/**
 * Streams that were answered before the end of their requests. What is left of those is refused
 * behind the answer, in a write of its own: curl 7 loses an answer that it reads together with the
 * reset, or with the GOAWAY of a connection that ends with it.
 */
export class UnwantedRests {
  readonly #streams: number[] = []
  readonly #refuse: (streamIds: readonly number[]) => void

  /** `refuse` is called for all of them in the next turn of the event loop. */
  constructor(refuse: (streamIds: readonly number[]) => void) {
    this.#refuse = refuse
  }

  add(streamId: number): void {
    if (this.#streams.push(streamId) === 1) setImmediate(refuseAll, this)
  }

  /** Whether none is left to refuse. */
  get isEmpty(): boolean {
    return this.#streams.length === 0
  }

  refuseAll(): void {
    this.#refuse(this.#streams.splice(0))
  }
}

const refuseAll = (rests: UnwantedRests): void => rests.refuseAll()
