import { BlockList, isIP, isIPv4 } from 'node:net'
import type { Peer } from '../pipeline/arrival.ts'

/** What the words of the option stand for. */
const RANGES: Readonly<Record<string, readonly string[]>> = {
  none: [],
  loopback: ['127.0.0.0/8', '::1/128'],
  // RFC 1918, RFC 6598 (carrier-grade NAT), RFC 3927 and RFC 4291 (link-local), RFC 4193 (unique local).
  private: [
    '10.0.0.0/8',
    '172.16.0.0/12',
    '192.168.0.0/16',
    '100.64.0.0/10',
    '169.254.0.0/16',
    'fc00::/7',
    'fe80::/10',
  ],
}

/**
 * The peers that never collect strikes. `words`: addresses, CIDRs, `loopback`, `private`, `none`.
 * Behind a NAT or a proxy the private addresses are everybody, so banning one bans all.
 * Throws a TypeError that names the word which is none of these.
 */
export function createExempt(words: readonly string[]): (peer: Peer) => boolean {
  const list = new BlockList()
  for (const word of words) {
    for (const range of RANGES[word] ?? [word]) addRange(list, range)
  }
  return ({ address }) => {
    const family = isIP(address)
    return family !== 0 && list.check(address, family === 4 ? 'ipv4' : 'ipv6')
  }
}

function addRange(list: BlockList, range: string): void {
  const [address = '', prefix, ...rest] = range.split('/')
  const family = isIP(address)
  const maxBits = family === 4 ? 32 : 128
  const bits = prefix === undefined ? maxBits : /^\d{1,3}$/.test(prefix) ? Number(prefix) : -1
  if (family === 0 || rest.length > 0 || bits < 0 || bits > maxBits || address.includes('%')) {
    throw new TypeError(
      `ban exemption ${JSON.stringify(range)}: expected an address, a CIDR such as 203.0.113.0/24 or 2001:db8::/48, loopback, private or none`,
    )
  }
  list.addSubnet(address, bits, isIPv4(address) ? 'ipv4' : 'ipv6')
}
