/**
 * Name constraints (RFC 5280 §4.2.1.10): the names that a CA may sign certificates for. The library
 * that makes certificates has no words for them, so their few bytes of DER are written and read here.
 */
import { BlockList, isIP } from 'node:net'

export const NAME_CONSTRAINTS_OID = '2.5.29.30'

const SEQUENCE = 0x30
/** `permittedSubtrees [0]` of NameConstraints. */
const PERMITTED = 0xa0
/** `dNSName [2]` and `iPAddress [7]` of GeneralName. */
const DNS = 0x82
const ADDRESS = 0x87

/** The value of the extension that permits these names with all below them, and these addresses alone. */
export function encodePermitted(names: readonly string[]): Buffer {
  const subtrees = names.map((name) => tlv(SEQUENCE, generalName(name)))
  return tlv(SEQUENCE, tlv(PERMITTED, Buffer.concat(subtrees)))
}

/** The names and addresses that an extension of this kind permits. */
export function decodePermitted(value: Uint8Array): readonly string[] {
  const [constraints] = children(Buffer.from(value))
  const permitted = children(constraints?.body).find(({ tag }) => tag === PERMITTED)
  return children(permitted?.body).flatMap((subtree) => {
    const [base] = children(subtree.body)
    if (base?.tag === DNS) return [base.body.toString('latin1')]
    if (base?.tag === ADDRESS) return [addressOf(base.body)]
    return []
  })
}

/** Whether a certificate under a CA that permits these may carry this name or address. */
export function isPermitted(name: string, permitted: readonly string[]): boolean {
  if (isIP(name) !== 0) {
    const list = new BlockList()
    for (const each of permitted.filter((one) => isIP(one) !== 0))
      list.addAddress(each, family(each))
    return list.check(name, family(name))
  }
  const wanted = hostOf(name)
  return permitted.some((each) => wanted === each || wanted.endsWith(`.${each}`))
}

/** `*.example.com` needs what is below `example.com`. */
function hostOf(name: string): string {
  return name.toLowerCase().replace(/^\*\./, '')
}

function family(address: string): 'ipv4' | 'ipv6' {
  return isIP(address) === 4 ? 'ipv4' : 'ipv6'
}

function generalName(name: string): Buffer {
  const version = isIP(name)
  if (version === 0) return tlv(DNS, Buffer.from(hostOf(name), 'latin1'))
  const bytes = version === 4 ? Buffer.from(name.split('.').map(Number)) : ipv6Bytes(name)
  return tlv(ADDRESS, Buffer.concat([bytes, Buffer.alloc(bytes.length, 0xff)]))
}

/** The URL parser writes out IPv4 tails and puts the address in its shortest form. */
function ipv6Bytes(address: string): Buffer {
  const [head = '', tail] = new URL(`http://[${address}]`).hostname.slice(1, -1).split('::')
  const groups = (text: string | undefined) => (text ? text.split(':') : [])
  const before = groups(head)
  const after = groups(tail)
  const zeros = Array<string>(8 - before.length - after.length).fill('0')
  const all = [...before, ...zeros, ...after].map((group) => group.padStart(4, '0'))
  return Buffer.from(all.join(''), 'hex')
}

/** The address without its mask, which is always of all bits here. */
function addressOf(bytes: Buffer): string {
  if (bytes.length === 8) return bytes.subarray(0, 4).join('.')
  const groups = bytes.subarray(0, 16).toString('hex').match(/.{4}/g) ?? []
  return new URL(`http://[${groups.join(':')}]`).hostname.slice(1, -1)
}

function tlv(tag: number, body: Buffer): Buffer {
  const { length } = body
  const short = length < 0x80 ? [length] : [0x81, length]
  const size = length < 0x100 ? short : [0x82, length >> 8, length & 0xff]
  return Buffer.concat([Buffer.from([tag, ...size]), body])
}

function children(der: Buffer = Buffer.alloc(0)): { tag: number; body: Buffer }[] {
  const found: { tag: number; body: Buffer }[] = []
  let at = 0
  while (at + 2 <= der.length) {
    const tag = der.readUInt8(at)
    const first = der.readUInt8(at + 1)
    const size = first < 0x80 ? 0 : first & 0x7f
    const start = at + 2 + size
    if (size > 4 || start > der.length) break
    const length = size === 0 ? first : der.readUIntBE(at + 2, size)
    found.push({ tag, body: der.subarray(start, start + length) })
    at = start + length
  }
  return found
}
