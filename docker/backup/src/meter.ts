/** Counts and digests bytes that pass. */
import { createHash } from 'node:crypto'

export class Meter {
  readonly #hash = createHash('sha256')
  bytes = 0

  add(chunk: Uint8Array): void {
    this.#hash.update(chunk)
    this.bytes += chunk.length
  }

  /** SHA-256 of all of them, hexadecimal. Can be asked once. */
  digest(): string {
    return this.#hash.digest('hex')
  }

  /** Hands the chunks on. */
  async *over(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    for await (const chunk of chunks) {
      this.add(chunk)
      yield chunk
    }
  }
}
