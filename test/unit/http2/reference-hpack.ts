/**
 * HPACK as RFC 7541 tells it, with no thought for speed: what the engine is compared with. It shares
 * nothing with the engine but the static table, which other tests check.
 */
import assert from 'node:assert/strict'
import {
  STATIC_FIELD_NAMES,
  STATIC_FIELD_VALUES,
  STATIC_LENGTH,
} from '../../../src/http2/static-table.ts'

/** Appendix B: the code of each octet and of EOS, and its length in bits. */
// biome-ignore format: a table
const CODES: readonly number[] = [
  0x1ff8, 0x7fffd8, 0xfffffe2, 0xfffffe3, 0xfffffe4, 0xfffffe5, 0xfffffe6, 0xfffffe7,
  0xfffffe8, 0xffffea, 0x3ffffffc, 0xfffffe9, 0xfffffea, 0x3ffffffd, 0xfffffeb, 0xfffffec,
  0xfffffed, 0xfffffee, 0xfffffef, 0xffffff0, 0xffffff1, 0xffffff2, 0x3ffffffe, 0xffffff3,
  0xffffff4, 0xffffff5, 0xffffff6, 0xffffff7, 0xffffff8, 0xffffff9, 0xffffffa, 0xffffffb,
  0x14, 0x3f8, 0x3f9, 0xffa, 0x1ff9, 0x15, 0xf8, 0x7fa,
  0x3fa, 0x3fb, 0xf9, 0x7fb, 0xfa, 0x16, 0x17, 0x18,
  0x0, 0x1, 0x2, 0x19, 0x1a, 0x1b, 0x1c, 0x1d,
  0x1e, 0x1f, 0x5c, 0xfb, 0x7ffc, 0x20, 0xffb, 0x3fc,
  0x1ffa, 0x21, 0x5d, 0x5e, 0x5f, 0x60, 0x61, 0x62,
  0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a,
  0x6b, 0x6c, 0x6d, 0x6e, 0x6f, 0x70, 0x71, 0x72,
  0xfc, 0x73, 0xfd, 0x1ffb, 0x7fff0, 0x1ffc, 0x3ffc, 0x22,
  0x7ffd, 0x3, 0x23, 0x4, 0x24, 0x5, 0x25, 0x26,
  0x27, 0x6, 0x74, 0x75, 0x28, 0x29, 0x2a, 0x7,
  0x2b, 0x76, 0x2c, 0x8, 0x9, 0x2d, 0x77, 0x78,
  0x79, 0x7a, 0x7b, 0x7ffe, 0x7fc, 0x3ffd, 0x1ffd, 0xffffffc,
  0xfffe6, 0x3fffd2, 0xfffe7, 0xfffe8, 0x3fffd3, 0x3fffd4, 0x3fffd5, 0x7fffd9,
  0x3fffd6, 0x7fffda, 0x7fffdb, 0x7fffdc, 0x7fffdd, 0x7fffde, 0xffffeb, 0x7fffdf,
  0xffffec, 0xffffed, 0x3fffd7, 0x7fffe0, 0xffffee, 0x7fffe1, 0x7fffe2, 0x7fffe3,
  0x7fffe4, 0x1fffdc, 0x3fffd8, 0x7fffe5, 0x3fffd9, 0x7fffe6, 0x7fffe7, 0xffffef,
  0x3fffda, 0x1fffdd, 0xfffe9, 0x3fffdb, 0x3fffdc, 0x7fffe8, 0x7fffe9, 0x1fffde,
  0x7fffea, 0x3fffdd, 0x3fffde, 0xfffff0, 0x1fffdf, 0x3fffdf, 0x7fffeb, 0x7fffec,
  0x1fffe0, 0x1fffe1, 0x3fffe0, 0x1fffe2, 0x7fffed, 0x3fffe1, 0x7fffee, 0x7fffef,
  0xfffea, 0x3fffe2, 0x3fffe3, 0x3fffe4, 0x7ffff0, 0x3fffe5, 0x3fffe6, 0x7ffff1,
  0x3ffffe0, 0x3ffffe1, 0xfffeb, 0x7fff1, 0x3fffe7, 0x7ffff2, 0x3fffe8, 0x1ffffec,
  0x3ffffe2, 0x3ffffe3, 0x3ffffe4, 0x7ffffde, 0x7ffffdf, 0x3ffffe5, 0xfffff1, 0x1ffffed,
  0x7fff2, 0x1fffe3, 0x3ffffe6, 0x7ffffe0, 0x7ffffe1, 0x3ffffe7, 0x7ffffe2, 0xfffff2,
  0x1fffe4, 0x1fffe5, 0x3ffffe8, 0x3ffffe9, 0xffffffd, 0x7ffffe3, 0x7ffffe4, 0x7ffffe5,
  0xfffec, 0xfffff3, 0xfffed, 0x1fffe6, 0x3fffe9, 0x1fffe7, 0x1fffe8, 0x7ffff3,
  0x3fffea, 0x3fffeb, 0x1ffffee, 0x1ffffef, 0xfffff4, 0xfffff5, 0x3ffffea, 0x7ffff4,
  0x3ffffeb, 0x7ffffe6, 0x3ffffec, 0x3ffffed, 0x7ffffe7, 0x7ffffe8, 0x7ffffe9, 0x7ffffea,
  0x7ffffeb, 0xffffffe, 0x7ffffec, 0x7ffffed, 0x7ffffee, 0x7ffffef, 0x7fffff0, 0x3ffffee,
  0x3fffffff,
]
// biome-ignore format: a table
const BITS: readonly number[] = [
  13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
  28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
  6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
  5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
  13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
  7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
  15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
  6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
  20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
  24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
  22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
  21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
  26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
  19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
  20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
  26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
  30,
]
export const EOS = 256

/** The bits of one symbol's code, as a text of 0 and 1. */
export function bitsOf(symbol: number): string {
  return (CODES[symbol] as number).toString(2).padStart(BITS[symbol] as number, '0')
}

/** Packs bits into octets; the last one is filled with `padding`. */
export function packBits(bits: string, padding = '1'): Buffer {
  const octets: number[] = []
  for (let at = 0; at < bits.length; at += 8) {
    octets.push(Number.parseInt(bits.slice(at, at + 8).padEnd(8, padding), 2))
  }
  return Buffer.from(octets)
}

/** Section 5.2. The text's characters are octets. */
export function huffmanEncode(text: string): Buffer {
  return packBits([...Buffer.from(text, 'latin1')].map(bitsOf).join(''))
}

const SYMBOLS = new Map(CODES.map((_, symbol) => [bitsOf(symbol), symbol] as const))

/** Section 5.2; undefined for what is no code. */
export function huffmanDecode(bytes: Uint8Array): string | undefined {
  let text = ''
  let bits = ''
  for (const byte of bytes) {
    for (const bit of byte.toString(2).padStart(8, '0')) {
      bits += bit
      const symbol = SYMBOLS.get(bits)
      if (symbol === EOS) return undefined
      if (symbol === undefined) continue
      text += String.fromCharCode(symbol)
      bits = ''
    }
  }
  return /^1{0,7}$/.test(bits) ? text : undefined
}

/** Section 5.1. `more` adds that many needless octets of zero. */
export function integer(value: number, bits: number, high: number, more = 0): Buffer {
  const limit = 2 ** bits - 1
  if (value < limit) return Buffer.from([high | value])
  const octets = [high | limit]
  let rest = value - limit
  for (; rest >= 128; rest = Math.floor(rest / 128)) octets.push((rest % 128) + 128)
  octets.push(rest)
  for (let i = 0; i < more; i += 1) {
    octets[octets.length - 1] = (octets.at(-1) as number) | 128
    octets.push(0)
  }
  return Buffer.from(octets)
}

export type Field = readonly [name: string, value: string]

/** Section 2.3: the static table and behind it the dynamic one, newest first. */
export class ReferenceTable {
  maxBytes = 4096
  entries: Field[] = []

  get bytes(): number {
    return this.entries.reduce((sum, [name, value]) => sum + name.length + value.length + 32, 0)
  }

  get length(): number {
    return STATIC_LENGTH + this.entries.length
  }

  at(index: number): Field | undefined {
    if (index < 1) return undefined
    if (index > STATIC_LENGTH) return this.entries[index - STATIC_LENGTH - 1]
    return [STATIC_FIELD_NAMES[index] as string, STATIC_FIELD_VALUES[index] as string]
  }

  /** Section 4.4. */
  insert(field: Field): void {
    const bytes = field[0].length + field[1].length + 32
    while (this.entries.length > 0 && this.bytes + bytes > this.maxBytes) this.entries.pop()
    if (bytes <= this.maxBytes) this.entries.unshift(field)
  }

  /** Section 4.3. */
  resize(maxBytes: number): void {
    this.maxBytes = maxBytes
    while (this.bytes > maxBytes) this.entries.pop()
  }
}

/** One representation of section 6. */
export type Instruction =
  | { readonly kind: 'indexed'; readonly index: number }
  | { readonly kind: 'resize'; readonly bytes: number }
  | {
      readonly kind: 'incremental' | 'without' | 'never'
      /** Of the name; 0 for a name as a literal. */
      readonly index: number
      readonly name: string
      readonly value: string
      readonly isHuffman: boolean
    }

function text(value: string, isHuffman: boolean): Buffer {
  const octets = isHuffman ? huffmanEncode(value) : Buffer.from(value, 'latin1')
  return Buffer.concat([integer(octets.length, 7, isHuffman ? 0x80 : 0), octets])
}

/** Encodes one instruction and does to the table what it does to a decoder's. */
export function encode(
  table: ReferenceTable,
  instruction: Instruction,
): { bytes: Buffer; field: Field | undefined } {
  if (instruction.kind === 'resize') {
    table.resize(instruction.bytes)
    return { bytes: integer(instruction.bytes, 5, 0x20), field: undefined }
  }
  if (instruction.kind === 'indexed') {
    return { bytes: integer(instruction.index, 7, 0x80), field: table.at(instruction.index) }
  }
  const { kind, index, value, isHuffman } = instruction
  const name = index === 0 ? instruction.name : (table.at(index) as Field)[0]
  const [bits, high] = { incremental: [6, 0x40], without: [4, 0], never: [4, 0x10] }[kind] as [
    number,
    number,
  ]
  const bytes = Buffer.concat([
    integer(index, bits, high),
    index === 0 ? text(name, isHuffman) : Buffer.alloc(0),
    text(value, isHuffman),
  ])
  if (kind === 'incremental') table.insert([name, value])
  return { bytes, field: [name, value] }
}

/**
 * Decodes a block, strictly; throws an AssertionError for what is none. `maxTableBytes` is the
 * largest table that the encoder may ask for.
 */
export function decode(
  table: ReferenceTable,
  bytes: Uint8Array,
  maxTableBytes = Number.POSITIVE_INFINITY,
): Field[] {
  let at = 0
  const octet = (): number => {
    assert.ok(at < bytes.length, 'a block is cut short')
    at += 1
    return bytes[at - 1] as number
  }
  const number = (first: number, bits: number): number => {
    const limit = 2 ** bits - 1
    let value = first & limit
    if (value < limit) return value
    for (let factor = 1; ; factor *= 128) {
      const next = octet()
      value += (next & 127) * factor
      if (next < 128) return value
    }
  }
  const string = (): string => {
    const first = octet()
    const length = number(first, 7)
    assert.ok(at + length <= bytes.length, 'a string is cut short')
    const octets = bytes.subarray(at, at + length)
    at += length
    const value = first < 128 ? Buffer.from(octets).toString('latin1') : huffmanDecode(octets)
    assert.ok(value !== undefined, 'a string is no Huffman code')
    return value
  }
  const entry = (index: number): Field => {
    const field = table.at(index)
    assert.ok(field !== undefined, `no entry ${index}`)
    return field
  }
  const fields: Field[] = []
  while (at < bytes.length) {
    const first = octet()
    if (first >= 0x80) fields.push(entry(number(first, 7)))
    else if (first >= 0x40) {
      const index = number(first, 6)
      const field: Field = [index === 0 ? string() : entry(index)[0], string()]
      table.insert(field)
      fields.push(field)
    } else if (first >= 0x20) {
      assert.equal(fields.length, 0, 'a table size update behind a field')
      const size = number(first, 5)
      assert.ok(size <= maxTableBytes, 'a table size above the one announced')
      table.resize(size)
    } else {
      const index = number(first, 4)
      fields.push([index === 0 ? string() : entry(index)[0], string()])
    }
  }
  return fields
}
