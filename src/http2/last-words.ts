/**
 * What is said behind answers, in a write of its own, as curl 7 loses an answer that it reads together
 * with it: that the rest of a request is not wanted any more, and that the connection ends.
 */
export class LastWords {
  readonly #say: (unwanted: readonly number[], lastStream: number | undefined) => void
  #unwanted: number[] = []
  #lastStream: number | undefined
  #isWaiting = false

  /**
   * `say` is called in the next turn of the event loop: with the streams whose rest is not wanted,
   * and with the last stream served where the connection ends.
   */
  constructor(say: (unwanted: readonly number[], lastStream: number | undefined) => void) {
    this.#say = say
  }

  /** A stream was answered before the end of its request. */
  refuseRest(streamId: number): void {
    this.#unwanted.push(streamId)
    this.#wait()
  }

  /** The connection serves no stream behind this one. */
  leave(lastStream: number): void {
    this.#lastStream = lastStream
    this.#wait()
  }

  /** Whether something is still to be said. */
  get areWaiting(): boolean {
    return this.#isWaiting
  }

  #wait(): void {
    if (this.#isWaiting) return
    this.#isWaiting = true
    setImmediate(speak, this)
  }

  speak(): void {
    const unwanted = this.#unwanted
    const lastStream = this.#lastStream
    this.#unwanted = []
    this.#lastStream = undefined
    this.#isWaiting = false
    this.#say(unwanted, lastStream)
  }
}

const speak = (words: LastWords): void => words.speak()
