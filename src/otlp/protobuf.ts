/** Reads protobuf at the level of the wire: fields by number, without a schema. */

/** One field: `bytes` where it is length-delimited (a message, a string), undefined for a number. */
export interface Field {
  readonly number: number
  readonly bytes: Uint8Array | undefined
}

const VARINT = 0
const FIXED64 = 1
const LENGTH_DELIMITED = 2
const FIXED32 = 5
const MAX_VARINT_BYTES = 10

/**
 * The fields of a message in the order they stand, one after the other.
 * @throws RangeError where the bytes are not a protobuf message.
 */
export function* fieldsOf(message: Uint8Array): Generator<Field> {
  let at = 0
  const varint = (): number => {
    let value = 0
    for (let index = 0; index < MAX_VARINT_BYTES; index += 1) {
      const byte = message[at]
      if (byte === undefined) throw new RangeError(`the message ends inside a number, at ${at}`)
      at += 1
      value += (byte & 0x7f) * 2 ** (7 * index)
      if (byte < 0x80) return value
    }
    throw new RangeError(`a number is longer than ${MAX_VARINT_BYTES} bytes, at ${at}`)
  }
  const skip = (bytes: number): Uint8Array => {
    const end = at + bytes
    if (end > message.length)
      throw new RangeError(`a field of ${bytes} bytes goes past the end, at ${at}`)
    const part = message.subarray(at, end)
    at = end
    return part
  }
  while (at < message.length) {
    const tag = varint()
    const number = Math.floor(tag / 8)
    const wireType = tag % 8
    if (number === 0) throw new RangeError(`a field with number 0, at ${at}`)
    if (wireType === LENGTH_DELIMITED) {
      yield { number, bytes: skip(varint()) }
      continue
    }
    if (wireType === VARINT) varint()
    else if (wireType === FIXED64) skip(8)
    else if (wireType === FIXED32) skip(4)
    else throw new RangeError(`a field of the unknown kind ${wireType}, at ${at}`)
    yield { number, bytes: undefined }
  }
}
