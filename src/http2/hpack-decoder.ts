/**
 * Reads header blocks: HPACK, RFC 7541. What a block can cost is bounded: the table by the size we
 * announced, the list by what it would hold decoded, whatever the block itself refers to.
 */
import { huffmanDecode } from './huffman.ts'
import { CODE, ConnectionError } from './protocol.ts'
import { STATIC_FIELD_NAMES, STATIC_FIELD_VALUES, STATIC_LENGTH } from './static-table.ts'

/** RFC 7541 section 4.1: what an entry counts besides its name and value. */
const ENTRY_OVERHEAD = 32

export interface HpackLimits {
  /** SETTINGS_HEADER_TABLE_SIZE that we announced (4096 unless announced otherwise). */
  readonly maxTableBytes: number
  /** Largest list, counted as RFC 9113 section 6.5.2 does: name + value + 32 for each field. */
  readonly maxListBytes: number
  readonly maxFields: number
}

/** A decoded block. */
export interface DecodedBlock {
  /** Name, value, name, value … in order. Cut off where the list was too large. */
  readonly fields: readonly string[]
  /** The list broke a limit. The table is in step all the same, so the connection can go on. */
  readonly isTooLarge: boolean
}

export class HpackDecoder {
  readonly #limits: HpackLimits
  /** The dynamic table, oldest first, so that an insertion is a push. */
  #names: string[] = []
  #values: string[] = []
  /** Entries at the front that have been evicted but not yet cut off. */
  #evicted = 0
  #tableBytes = 0
  #maxBytes: number
  /** Counts every change of the table: equal numbers mean that equal blocks decode alike. */
  generation = 0
  #at = 0

  constructor(limits: HpackLimits) {
    this.#limits = limits
    this.#maxBytes = limits.maxTableBytes
  }

  /** Decodes a whole block. Throws `ConnectionError` (COMPRESSION_ERROR, RFC 9113 section 4.3). */
  decode(bytes: Buffer, start: number, end: number): DecodedBlock {
    const { maxListBytes, maxFields, maxTableBytes } = this.#limits
    const fields: string[] = []
    let listBytes = 0
    let isTooLarge = false
    let mayResize = true
    this.#at = start
    while (this.#at < end) {
      const first = bytes[this.#at] as number
      let name: string
      let value: string
      if (first & 0x80) {
        // Section 6.1, indexed field.
        const index = this.#integer(bytes, end, 7)
        name = this.#nameAt(index)
        value =
          index <= STATIC_LENGTH ? (STATIC_FIELD_VALUES[index] as string) : this.#valueAt(index)
      } else if ((first & 0xe0) === 0x20) {
        // Section 6.3, size update; section 4.2: only at the beginning of a block.
        const size = this.#integer(bytes, end, 5)
        if (!mayResize) throw broken('a table size update behind a field')
        if (size > maxTableBytes) throw broken('a table size above the one announced')
        this.#maxBytes = size
        this.generation += 1
        this.#evict(0)
        continue
      } else {
        // Section 6.2, literals: with indexing, without, and never.
        const isIndexed = (first & 0x40) !== 0
        const index = this.#integer(bytes, end, isIndexed ? 6 : 4)
        name = index === 0 ? this.#text(bytes, end) : this.#nameAt(index)
        value = this.#text(bytes, end)
        if (isIndexed) this.#insert(name, value)
      }
      mayResize = false
      listBytes += name.length + value.length + ENTRY_OVERHEAD
      if (listBytes > maxListBytes || fields.length >= maxFields * 2) isTooLarge = true
      else fields.push(name, value)
    }
    return { fields, isTooLarge }
  }

  #nameAt(index: number): string {
    if (index > 0 && index <= STATIC_LENGTH) return STATIC_FIELD_NAMES[index] as string
    return this.#entry(this.#names, index)
  }

  #valueAt(index: number): string {
    return this.#entry(this.#values, index)
  }

  #entry(column: readonly string[], index: number): string {
    const place = column.length - (index - STATIC_LENGTH)
    const entry = index > STATIC_LENGTH && place >= this.#evicted ? column[place] : undefined
    if (entry === undefined) throw broken(`index ${index} is not in the table`)
    return entry
  }

  #insert(name: string, value: string): void {
    this.generation += 1
    const bytes = name.length + value.length + ENTRY_OVERHEAD
    this.#evict(bytes)
    // Section 4.4: an entry larger than the table empties it and is not kept.
    if (bytes > this.#maxBytes) return
    this.#names.push(name)
    this.#values.push(value)
    this.#tableBytes += bytes
  }

  /** Makes room for so many bytes. */
  #evict(bytes: number): void {
    while (this.#tableBytes > 0 && this.#tableBytes + bytes > this.#maxBytes) {
      const name = this.#names[this.#evicted] as string
      const value = this.#values[this.#evicted] as string
      this.#tableBytes -= name.length + value.length + ENTRY_OVERHEAD
      // The place stays for a while; what it held must not.
      this.#names[this.#evicted] = ''
      this.#values[this.#evicted] = ''
      this.#evicted += 1
    }
    if (this.#evicted < 64 && this.#evicted < this.#names.length) return
    this.#names = this.#names.slice(this.#evicted)
    this.#values = this.#values.slice(this.#evicted)
    this.#evicted = 0
  }

  /** Section 5.1. Anything beyond 2^28 is an attack, and more than five bytes of zeros too. */
  #integer(bytes: Buffer, end: number, bits: number): number {
    const limit = (1 << bits) - 1
    let value = (bytes[this.#at++] as number) & limit
    if (value < limit) return value
    for (let shift = 0; shift <= 28; shift += 7) {
      if (this.#at >= end) throw broken('an integer is cut short')
      const byte = bytes[this.#at++] as number
      value += (byte & 0x7f) * 2 ** shift
      if (byte < 0x80) return value
    }
    throw broken('an integer is too large')
  }

  /** Section 5.2. */
  #text(bytes: Buffer, end: number): string {
    if (this.#at >= end) throw broken('a string is missing')
    const isHuffman = ((bytes[this.#at] as number) & 0x80) !== 0
    const length = this.#integer(bytes, end, 7)
    const start = this.#at
    this.#at += length
    if (this.#at > end) throw broken('a string is cut short')
    if (!isHuffman) return bytes.toString('latin1', start, this.#at)
    const text = huffmanDecode(bytes, start, this.#at)
    if (text === undefined) throw broken('a string is not Huffman code')
    return text
  }
}

function broken(what: string): ConnectionError {
  return new ConnectionError(CODE.COMPRESSION_ERROR, what)
}
