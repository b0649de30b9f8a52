/** What the peer may still send on the connection: RFC 9113 section 6.9. */
import { CODE, ConnectionError, DEFAULT_WINDOW_BYTES } from './protocol.ts'

export class ReceiveWindow {
  readonly #sizeBytes: number
  #leftBytes: number
  #releasedBytes = 0

  constructor(sizeBytes: number) {
    this.#sizeBytes = sizeBytes
    this.#leftBytes = Math.max(DEFAULT_WINDOW_BYTES, sizeBytes)
  }

  /** DATA has come. Throws a `ConnectionError` where it is more than the peer may send. */
  take(bytes: number): void {
    this.#leftBytes -= bytes
    if (this.#leftBytes < 0) {
      throw new ConnectionError(CODE.FLOW_CONTROL_ERROR, 'more DATA than the window')
    }
  }

  /**
   * It was used or dropped. Returns by how much the window is to be opened now: nothing, until half
   * of it has been released, since an update costs a frame.
   */
  release(bytes: number): number {
    this.#releasedBytes += bytes
    if (this.#releasedBytes < this.#sizeBytes / 2) return 0
    const more = this.#releasedBytes
    this.#leftBytes += more
    this.#releasedBytes = 0
    return more
  }
}
