/** Who the client is when a proxy stands in front: believed from trusted proxies only. */
import { BlockList, isIPv4 } from 'node:net'
import type { Peer } from '../pipeline/arrival.ts'
import type { Headers } from './call.ts'
import { peerFromAddress } from './peer.ts'

/** Where the client's address comes from. */
export type ClientAddressSource = 'socket' | 'proxy-protocol' | 'x-forwarded-for'

/** Tells whether an address belongs to a proxy that is believed. */
export type IsTrusted = (address: string) => boolean

/** Builds the check from addresses and CIDRs such as `10.0.0.0/8`; they are checked when options are parsed. */
export function createTrustedProxies(cidrs: readonly string[]): IsTrusted {
  if (cidrs.length === 0) return () => false
  const list = new BlockList()
  for (const cidr of cidrs) {
    const [address = '', prefix] = cidr.split('/', 2)
    const family = isIPv4(address) ? 'ipv4' : 'ipv6'
    list.addSubnet(address, Number(prefix ?? (family === 'ipv4' ? 32 : 128)), family)
  }
  return (address) => list.check(address, isIPv4(address) ? 'ipv4' : 'ipv6')
}

/**
 * The right-most address in X-Forwarded-For that is not a trusted proxy: everything to the left of
 * it could have been written by the client. The socket's own peer where the header is absent,
 * unreadable or holds trusted proxies only.
 */
export function peerFromForwardedFor(
  headers: Headers,
  socketPeer: Peer,
  isTrusted: IsTrusted,
): Peer {
  const header = headers['x-forwarded-for']
  if (header === undefined) return socketPeer
  const entries = (typeof header === 'string' ? header : header.join(',')).split(',')
  for (let at = entries.length - 1; at >= 0; at -= 1) {
    const peer = peerFromAddress(withoutPort(entries[at]?.trim() ?? ''))
    if (peer === undefined) return socketPeer
    if (!isTrusted(peer.address)) return peer
  }
  return socketPeer
}

/** Some proxies write `1.2.3.4:5678` and `[2001:db8::1]:5678`. */
function withoutPort(entry: string): string {
  const bracketed = /^\[([^\]]+)\](?::\d+)?$/.exec(entry)?.[1]
  return bracketed ?? /^(\d+\.\d+\.\d+\.\d+):\d+$/.exec(entry)?.[1] ?? entry
}
