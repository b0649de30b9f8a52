/** A socket without a network: tests put bytes in at once and see what is written. */
import { Duplex } from 'node:stream'

export class FakeSocket extends Duplex {
  #written: Buffer[] = []
  #stuck: (() => void) | undefined
  isStuck = false

  /** The other side sends these bytes. Whatever the engine does about them it does before this returns. */
  feed(bytes: Uint8Array): void {
    this.emit('data', Buffer.from(bytes))
  }

  /** What was written since the last call. */
  taken(): Buffer {
    const bytes = Buffer.concat(this.#written)
    this.#written = []
    return bytes
  }

  /** Lets what was held back go on. */
  unstick(): void {
    this.isStuck = false
    const goOn = this.#stuck
    this.#stuck = undefined
    goOn?.()
  }

  override _read(): void {}

  /** Bytes count as sent once they are written, even while the socket is stuck: that only tells its writer. */
  override write(bytes: Buffer): boolean {
    this.#written.push(bytes)
    return super.write(bytes)
  }

  override _write(_bytes: Buffer, _encoding: BufferEncoding, callback: () => void): void {
    if (this.isStuck) this.#stuck = callback
    else callback()
  }
}
