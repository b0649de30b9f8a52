/**
 * Writes header blocks (RFC 7541 section 6). It never uses the dynamic table and never Huffman: a
 * block is then the same bytes on every connection and can be made once, and what that costs in
 * length (some ten bytes an answer) is less than what it saves in work.
 */
import { STATIC_NAMES } from './static-table.ts'

/** Fields to send: lower-case names. */
export type OutgoingFields = Readonly<Record<string, string | string[]>>

/** RFC 7541 Appendix A: statuses with an entry of their own. */
const STATUS_INDEX: Readonly<Record<number, number>> = {
  200: 8,
  204: 9,
  206: 10,
  304: 11,
  400: 12,
  404: 13,
  500: 14,
}

const statusBlocks = new Map<number, Buffer>()

/** The block of `:status`. */
export function statusBlock(status: number): Buffer {
  let block = statusBlocks.get(status)
  if (block === undefined) {
    const index = STATUS_INDEX[status]
    // Literal without indexing whose name is entry 8, `:status`.
    block =
      index === undefined
        ? Buffer.from([0x08, 3, ...Buffer.from(String(status))])
        : Buffer.from([0x80 | index])
    statusBlocks.set(status, block)
  }
  return block
}

/** Where the block of a field set is kept: on the object itself, which a WeakMap would make dearer to collect. */
const BLOCK = Symbol('header block')

/**
 * The block of these fields. Made once for each object: fields must not change afterwards.
 * Throws a TypeError for what is no field (RFC 9113 section 8.2.1).
 */
export function fieldBlock(fields: OutgoingFields): Buffer {
  const known = (fields as { [BLOCK]?: Buffer })[BLOCK]
  if (known !== undefined) return known
  const parts: Buffer[] = []
  for (const name in fields) {
    const value = fields[name]
    if (value === undefined) continue
    if (typeof value === 'string') parts.push(encodeField(name, value))
    else for (const each of value) parts.push(encodeField(name, each))
  }
  const block = parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts)
  // Not enumerable, or a copy of the fields with one more would take the block along.
  Object.defineProperty(fields, BLOCK, { value: block })
  return block
}

const NAME = /^:?[!#$%&'*+.^_`|~0-9a-z-]+$/
const PADDED = /^[ \t]|[ \t]$/
const FORBIDDEN_IN_VALUE = /[\0\r\n]|[^\0-\xff]/

/**
 * One field as a literal without indexing: RFC 7541 section 6.2.2. Spaces at the ends of a value are
 * not part of it (RFC 9110 section 5.5), and a receiver may refuse them (RFC 9113 section 8.2.1).
 */
export function encodeField(name: string, padded: string): Buffer {
  const value = PADDED.test(padded) ? trimmed(padded) : padded
  if (!NAME.test(name)) throw new TypeError(`not a field name: ${JSON.stringify(name)}`)
  if (FORBIDDEN_IN_VALUE.test(value)) throw new TypeError(`the value of ${name} cannot be sent`)
  const index = STATIC_NAMES.get(name)
  const prefix = index === undefined ? [0, ...integer(name.length, 7, 0)] : integer(index, 4, 0)
  const nameBytes = index === undefined ? Buffer.from(name, 'latin1') : Buffer.alloc(0)
  const valueLength = integer(value.length, 7, 0)
  return Buffer.concat([
    Buffer.from(prefix),
    nameBytes,
    Buffer.from(valueLength),
    Buffer.from(value, 'latin1'),
  ])
}

function trimmed(value: string): string {
  const isSpace = (at: number) => value[at] === ' ' || value[at] === '\t'
  let start = 0
  let end = value.length
  while (isSpace(start)) start += 1
  while (end > start && isSpace(end - 1)) end -= 1
  return value.slice(start, end)
}

/** RFC 7541 section 5.1: an integer with a prefix of `bits` bits, the bits above it being `high`. */
function integer(value: number, bits: number, high: number): number[] {
  const limit = 2 ** bits - 1
  if (value < limit) return [high | value]
  const bytes = [high | limit]
  let rest = value - limit
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 128)
  bytes.push(rest)
  return bytes
}
