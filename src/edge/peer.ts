/** Turns socket addresses into peers: what limits and bans are kept under. */
import { isIPv4, isIPv6, SocketAddress } from 'node:net'
import type { Peer } from '../pipeline/arrival.ts'

const MAPPED = /^::ffff:(\d{1,3}(?:\.\d{1,3}){3})$/i

/**
 * The peer behind an address as Node or a proxy writes it; undefined for what is not an address.
 * IPv4-mapped addresses count as IPv4, IPv6 addresses by their /64 (what one customer is given), and
 * a zone (`%eth0`) is left out.
 */
export function peerFromAddress(text: string): Peer | undefined {
  if (isIPv4(text)) return { key: text, address: text }
  const bare = text.split('%', 1)[0] ?? ''
  if (!isIPv6(bare)) return undefined
  const address = new SocketAddress({ address: bare, family: 'ipv6' }).address
  const mapped = MAPPED.exec(address)?.[1]
  if (mapped !== undefined) return { key: mapped, address: mapped }
  return { key: prefix64(address), address }
}

/** The /64 of a normal-form IPv6 address, e.g. `2001:db8:0:1::/64`. */
function prefix64(address: string): string {
  const [head = '', tail] = address.split('::', 2)
  const front = head === '' ? [] : head.split(':')
  if (tail !== undefined) {
    const back = tail === '' ? [] : tail.split(':')
    // A dotted quad at the end stands for two groups.
    const backGroups = back.length + (back.at(-1)?.includes('.') ? 1 : 0)
    const zeros = 8 - front.length - backGroups
    front.push(...Array<string>(zeros).fill('0'), ...back)
  }
  return `${new SocketAddress({ address: `${front.slice(0, 4).join(':')}::`, family: 'ipv6' }).address}/64`
}
