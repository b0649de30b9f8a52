/**
 * Reads header blocks, and equal ones only once: a client sends the same bytes with each request as
 * long as neither its fields nor the dynamic table change. What is read from a block is kept with
 * it, so whatever is derived from the result by identity is derived once, too.
 */
import type { HpackDecoder } from './hpack-decoder.ts'

const MAX_BLOCK_BYTES = 1024
/** All blocks of a connection, and what they hold, counted as lists are (RFC 9113 section 6.5.2). */
const MAX_BYTES = 16 * 1024
const FIELD_OVERHEAD = 32

export class BlockMemory<T extends object> {
  readonly #decoder: HpackDecoder
  readonly #parse: (list: readonly string[]) => T | string
  readonly #blocks = new Map<string, T>()
  #bytes = 0
  #generation = 0

  /** `parse` makes of a list (name, value, name, value …) what is wanted, or says why it cannot. */
  constructor(decoder: HpackDecoder, parse: (list: readonly string[]) => T | string) {
    this.#decoder = decoder
    this.#parse = parse
  }

  /** What the block holds; a text says why it cannot be used, `TOO_LARGE` among them. Throws `ConnectionError`. */
  read(bytes: Buffer, start: number, end: number): T | string {
    const decoder = this.#decoder
    if (this.#generation !== decoder.generation) {
      this.#clear()
      this.#generation = decoder.generation
    }
    const isShort = end - start <= MAX_BLOCK_BYTES
    const key = isShort ? bytes.toString('latin1', start, end) : ''
    const known = isShort ? this.#blocks.get(key) : undefined
    if (known !== undefined) return known
    const { fields, isTooLarge } = decoder.decode(bytes, start, end)
    if (isTooLarge) return TOO_LARGE
    const parsed = this.#parse(fields)
    // A block that changed the table means something else the next time.
    if (isShort && typeof parsed === 'object' && decoder.generation === this.#generation) {
      const bytes = key.length + sizeOf(fields)
      if (this.#bytes + bytes > MAX_BYTES) this.#clear()
      this.#blocks.set(key, parsed)
      this.#bytes += bytes
    }
    return parsed
  }

  #clear(): void {
    this.#blocks.clear()
    this.#bytes = 0
  }
}

function sizeOf(list: readonly string[]): number {
  let bytes = 0
  for (const text of list) bytes += text.length + FIELD_OVERHEAD / 2
  return bytes
}

/** The list broke a limit. */
export const TOO_LARGE = 'a header list that is too large'
