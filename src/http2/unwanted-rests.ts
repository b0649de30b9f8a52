/**
 * Streams that were answered before the end of their requests. What is left of those is refused
 * behind the answer, in a write of its own: curl 7 loses an answer that it reads together with the
 * reset.
 */
export class UnwantedRests {
  readonly #streams: number[] = []
  readonly #refuse: (streamId: number) => void

  /** `refuse` is called for each stream in the next turn of the event loop. */
  constructor(refuse: (streamId: number) => void) {
    this.#refuse = refuse
  }

  add(streamId: number): void {
    if (this.#streams.push(streamId) === 1) setImmediate(refuseAll, this)
  }

  /** Refuses them now. */
  refuseAll(): void {
    for (const streamId of this.#streams) this.#refuse(streamId)
    this.#streams.length = 0
  }
}

const refuseAll = (rests: UnwantedRests): void => rests.refuseAll()
