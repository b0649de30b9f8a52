/**
 * Reads the PROXY protocol header, versions 1 and 2, that a load balancer puts in front of a
 * connection. HAProxy's proxy-protocol.txt, sections 2.1 and 2.2.
 */

const SIGNATURE_2 = Buffer.from('0d0a0d0a000d0a515549540a', 'hex')
const SIGNATURE_1 = Buffer.from('PROXY ')
/** Section 2.1: a version 1 line is at most 107 bytes long, CRLF included. */
const MAX_LINE_BYTES = 107
/** Addresses need 36 bytes; what is beyond them are TLVs, which no one needs a lot of. */
const MAX_HEADER_2_BYTES = 16 + 2048

/** What the beginning of a connection turned out to be. */
export type ProxyHeader =
  | { readonly kind: 'incomplete' }
  | { readonly kind: 'invalid'; readonly why: string }
  /** `address` is undefined where the proxy speaks for itself (LOCAL, UNKNOWN): its own address counts. */
  | { readonly kind: 'header'; readonly address: string | undefined; readonly lengthBytes: number }

const INCOMPLETE = { kind: 'incomplete' } as const

/** Parses what has arrived so far. */
export function parseProxyHeader(bytes: Buffer): ProxyHeader {
  if (startsLike(bytes, SIGNATURE_2)) return bytes.length < 16 ? INCOMPLETE : parseVersion2(bytes)
  if (startsLike(bytes, SIGNATURE_1)) return parseVersion1(bytes)
  return invalid('it does not start with a PROXY protocol signature')
}

function startsLike(bytes: Buffer, signature: Buffer): boolean {
  const length = Math.min(bytes.length, signature.length)
  return bytes.subarray(0, length).equals(signature.subarray(0, length))
}

function parseVersion1(bytes: Buffer): ProxyHeader {
  const end = bytes.subarray(0, MAX_LINE_BYTES).indexOf('\r\n')
  if (end < 0)
    return bytes.length < MAX_LINE_BYTES ? INCOMPLETE : invalid('its first line has no end')
  const [, protocol, source, , ...ports] = bytes.toString('latin1', 0, end).split(' ')
  const lengthBytes = end + 2
  if (protocol === 'UNKNOWN') return { kind: 'header', address: undefined, lengthBytes }
  const isKnown = protocol === 'TCP4' || protocol === 'TCP6'
  if (!isKnown || source === undefined || ports.length !== 2)
    return invalid('its first line is malformed')
  return { kind: 'header', address: source, lengthBytes }
}

function parseVersion2(bytes: Buffer): ProxyHeader {
  const versionAndCommand = bytes.readUInt8(12)
  const family = bytes.readUInt8(13) >> 4
  const lengthBytes = 16 + bytes.readUInt16BE(14)
  if (versionAndCommand >> 4 !== 2) return invalid('its version is not 2')
  if (lengthBytes > MAX_HEADER_2_BYTES) return invalid('it is too long')
  if (bytes.length < lengthBytes) return INCOMPLETE
  const command = versionAndCommand & 0x0f
  if (command === 0) return { kind: 'header', address: undefined, lengthBytes }
  if (command !== 1) return invalid('its command is unknown')
  if (family === 1 && lengthBytes >= 28) {
    return { kind: 'header', address: bytes.subarray(16, 20).join('.'), lengthBytes }
  }
  if (family === 2 && lengthBytes >= 52) {
    const groups = bytes.subarray(16, 32).toString('hex').match(/.{4}/g)
    return { kind: 'header', address: groups?.join(':'), lengthBytes }
  }
  return family === 0 || family === 3
    ? { kind: 'header', address: undefined, lengthBytes }
    : invalid('its addresses are malformed')
}

function invalid(why: string): ProxyHeader {
  return { kind: 'invalid', why }
}
