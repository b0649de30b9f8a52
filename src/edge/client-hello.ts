/**
 * Reads as much of a TLS ClientHello as tells which protocols the client offers (ALPN, RFC 7301), before
 * TLS has begun. Everything else is left to OpenSSL, and so is every hello that cannot be read here.
 */

/** A hello larger than this is not looked at; those of today have up to 2 KiB. */
export const MAX_HELLO_BYTES = 16_384

const RECORD_HEADER_BYTES = 5
const HANDSHAKE = 22
const CLIENT_HELLO = 1
const ALPN = 16

/** The protocols that a client offers; `incomplete` while more has to come. Whatever is no hello offers none. */
export function offeredProtocols(read: Buffer): readonly string[] | 'incomplete' {
  const message = messageFrom(read)
  if (!Buffer.isBuffer(message)) return message
  try {
    return protocolsOf(message)
  } catch (error) {
    if (error instanceof RangeError) return []
    throw error
  }
}

/** The body of the ClientHello, put together from the records that it came in (RFC 8446 §5.1). */
function messageFrom(read: Buffer): Buffer | 'incomplete' | readonly never[] {
  const pieces: Buffer[] = []
  let bytes = 0
  let wanted = 4
  for (let at = 0; bytes < wanted; ) {
    if (read.length > at && read[at] !== HANDSHAKE) return []
    if (read.length < at + RECORD_HEADER_BYTES) return 'incomplete'
    const length = read.readUInt16BE(at + 3)
    if (length === 0 || at + length > MAX_HELLO_BYTES) return []
    at += RECORD_HEADER_BYTES
    const piece = read.subarray(at, at + length)
    pieces.push(piece)
    bytes += piece.length
    at += length
    if (wanted === 4 && bytes >= 4) {
      const head = Buffer.concat(pieces)
      if (head[0] !== CLIENT_HELLO) return []
      wanted = 4 + head.readUIntBE(1, 3)
      if (wanted > MAX_HELLO_BYTES) return []
    }
    if (piece.length < length && bytes < wanted) return 'incomplete'
  }
  return Buffer.concat(pieces).subarray(4, wanted)
}

/** RFC 8446 §4.1.2. @throws {RangeError} where a length leads out of the message. */
function protocolsOf(hello: Buffer): readonly string[] {
  let at = 2 + 32
  at += 1 + hello.readUInt8(at)
  at += 2 + hello.readUInt16BE(at)
  at += 1 + hello.readUInt8(at)
  if (at === hello.length) return []
  const end = at + 2 + hello.readUInt16BE(at)
  at += 2
  while (at < end) {
    const type = hello.readUInt16BE(at)
    const length = hello.readUInt16BE(at + 2)
    at += 4
    if (type === ALPN) return namesIn(hello.subarray(at, at + length))
    at += length
  }
  return []
}

function namesIn(list: Buffer): readonly string[] {
  const names: string[] = []
  for (let at = 2; at < list.length; ) {
    const length = list.readUInt8(at)
    names.push(list.toString('latin1', at + 1, at + 1 + length))
    at += 1 + length
  }
  return names
}
