/**
 * Encodes header sections as Go's encoder does (RFC 7541): every field that is not in a table yet is
 * added to the dynamic one, Huffman-coded where that is shorter. A field that is new in each request
 * therefore moves all others in the table, and at last out of it.
 */
import { STATIC_FIELD_NAMES, STATIC_FIELD_VALUES } from '../../src/http2/static-table.ts'

const TABLE_BYTES = 4096
const ENTRY_BYTES = 32
const FIRST_DYNAMIC = 62
const INDEXED = 0x80
const WITH_INDEXING = 0x40
const HUFFMAN = 0x80

/** Fields in the order in which they are sent. */
export type FieldList = readonly (readonly [name: string, value: string])[]

interface Entry {
  readonly name: string
  readonly field: string
  readonly bytes: number
}

export class HpackEncoder {
  /** Entries are numbered as they come; the newest has the highest number and the lowest index. */
  readonly #byField = new Map<string, number>()
  readonly #byName = new Map<string, number>()
  readonly #entries: Entry[] = []
  #evicted = 0
  #bytes = 0

  /** The block of a header section. It has to be sent before the next one is encoded. */
  encode(fields: FieldList): Buffer {
    const out: number[] = []
    for (const [name, value] of fields) this.#encodeField(out, name, value)
    return Buffer.from(out)
  }

  #encodeField(out: number[], name: string, value: string): void {
    const field = `${name}\n${value}`
    const known = STATIC_FIELDS.get(field) ?? this.#indexOf(this.#byField.get(field))
    if (known !== undefined) {
      putInteger(out, INDEXED, 7, known)
      return
    }
    const nameIndex = STATIC_NAMES.get(name) ?? this.#indexOf(this.#byName.get(name)) ?? 0
    putInteger(out, WITH_INDEXING, 6, nameIndex)
    if (nameIndex === 0) putText(out, name)
    putText(out, value)
    this.#add({ name, field, bytes: name.length + value.length + ENTRY_BYTES })
  }

  #indexOf(number: number | undefined): number | undefined {
    if (number === undefined) return undefined
    return FIRST_DYNAMIC + this.#evicted + this.#entries.length - 1 - number
  }

  #add(entry: Entry): void {
    while (this.#entries.length > 0 && this.#bytes + entry.bytes > TABLE_BYTES) this.#evict()
    const number = this.#evicted + this.#entries.length
    this.#entries.push(entry)
    this.#bytes += entry.bytes
    this.#byField.set(entry.field, number)
    this.#byName.set(entry.name, number)
  }

  #evict(): void {
    const oldest = this.#entries.shift()
    if (oldest === undefined) return
    if (this.#byField.get(oldest.field) === this.#evicted) this.#byField.delete(oldest.field)
    if (this.#byName.get(oldest.name) === this.#evicted) this.#byName.delete(oldest.name)
    this.#evicted += 1
    this.#bytes -= oldest.bytes
  }
}

const STATIC_FIELDS = new Map<string, number>()
const STATIC_NAMES = new Map<string, number>()
for (const [index, name] of STATIC_FIELD_NAMES.entries()) {
  if (index === 0) continue
  if (!STATIC_NAMES.has(name)) STATIC_NAMES.set(name, index)
  STATIC_FIELDS.set(`${name}\n${STATIC_FIELD_VALUES[index]}`, index)
}

/** RFC 7541 section 5.1. */
function putInteger(out: number[], flags: number, prefixBits: number, value: number): void {
  const most = 2 ** prefixBits - 1
  if (value < most) {
    out.push(flags | value)
    return
  }
  out.push(flags | most)
  let left = value - most
  for (; left >= 0x80; left >>>= 7) out.push(0x80 | (left & 0x7f))
  out.push(left)
}

/** Codes of RFC 7541 Appendix B by length: those of five, six and seven bits follow each other. */
const CODES = new Map<string, { code: number; bits: number }>()
for (const [bits, first, characters] of [
  [5, 0, '012aceiost'],
  [6, 20, ' %-./3456789=A_bdfghlmnpru'],
  [7, 92, ':BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz'],
] as const) {
  for (const [index, character] of [...characters].entries()) {
    CODES.set(character, { code: first + index, bits })
  }
}

/** A text of characters without a short code goes out as it is. */
function putText(out: number[], text: string): void {
  const coded = huffman(text)
  if (coded !== undefined && coded.length < text.length) {
    putInteger(out, HUFFMAN, 7, coded.length)
    out.push(...coded)
    return
  }
  putInteger(out, 0, 7, text.length)
  for (let at = 0; at < text.length; at += 1) out.push(text.charCodeAt(at))
}

function huffman(text: string): number[] | undefined {
  const bytes: number[] = []
  let bits = 0
  let count = 0
  for (const character of text) {
    const found = CODES.get(character)
    if (found === undefined) return undefined
    bits = (bits << found.bits) | found.code
    count += found.bits
    for (; count >= 8; count -= 8) bytes.push((bits >>> (count - 8)) & 0xff)
    bits &= (1 << count) - 1
  }
  // Section 5.2: the rest is filled with ones.
  if (count > 0) bytes.push((bits << (8 - count)) | (2 ** (8 - count) - 1))
  return bytes
}
