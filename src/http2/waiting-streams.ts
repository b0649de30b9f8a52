import type { FlowStream } from './flow-stream.ts'

/** Streams of a connection with something to send that waits for window or socket. */
export class WaitingStreams<Stream extends FlowStream> {
  readonly #streams = new Set<Stream>()
  #isDue = false

  get size(): number {
    return this.#streams.size
  }

  add(stream: Stream): void {
    this.#streams.add(stream)
  }

  delete(stream: Stream): void {
    this.#streams.delete(stream)
  }

  clear(): void {
    this.#streams.clear()
  }

  /**
   * Windows have been opened. They are used once all that came with it has been read: many small
   * updates would make as many small frames, and those as many updates again.
   */
  opened(): void {
    this.#isDue = true
  }

  /** Sends what opened windows have let through, until the socket has had enough. */
  pumpIfOpened(isFull: () => boolean): void {
    if (this.#isDue) this.pump(isFull)
  }

  /** Sends what can be sent, until the socket has had enough. */
  pump(isFull: () => boolean): void {
    this.#isDue = false
    for (const stream of [...this.#streams]) {
      if (isFull()) return
      stream.pump()
    }
  }
}
