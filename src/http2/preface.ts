/** Reads what a client sends first: RFC 9113 section 3.4. */
import { PREFACE } from './protocol.ts'

export class PrefaceReader {
  #bytes = Buffer.alloc(0)

  /** What follows the preface; `more` as long as it is not whole; `wrong` where it is another. */
  take(chunk: Buffer): Buffer | 'more' | 'wrong' {
    const bytes = this.#bytes.length === 0 ? chunk : Buffer.concat([this.#bytes, chunk])
    const length = Math.min(bytes.length, PREFACE.length)
    if (!bytes.subarray(0, length).equals(PREFACE.subarray(0, length))) return 'wrong'
    if (length === PREFACE.length) return bytes.subarray(PREFACE.length)
    this.#bytes = Buffer.from(bytes)
    return 'more'
  }
}
