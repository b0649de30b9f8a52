/** The routers of the networks that this machine, or its container, is in. */
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { networkInterfaces } from 'node:os'

/**
 * Addresses that traffic from elsewhere can come to have on its way here: the next hops of the routing
 * table and, in a container, the first address of each IPv4 network, which Docker gives to its bridge.
 * Empty where the system has no /proc.
 */
export async function ownRouters(): Promise<ReadonlySet<string>> {
  const [ipv4, ipv6] = await Promise.all([table('route'), table('ipv6_route')])
  return new Set([...nextHops(ipv4), ...nextHops6(ipv6), ...(isContainer() ? bridges() : [])])
}

/** Docker and Podman leave these files. */
function isContainer(): boolean {
  return existsSync('/.dockerenv') || existsSync('/run/.containerenv')
}

function table(name: string): Promise<string> {
  return readFile(`/proc/self/net/${name}`, 'utf8').catch(() => '')
}

/** Next hops in /proc/net/route: hexadecimal, in the byte order of the machine, which is little here. */
export function nextHops(route: string): string[] {
  return route
    .split('\n')
    .slice(1)
    .flatMap((line) => {
      const [, , hop = ''] = line.split('\t')
      if (!/^[0-9A-F]{8}$/.test(hop) || hop === '00000000') return []
      return Buffer.from(hop, 'hex').reverse().join('.')
    })
}

/** Next hops in /proc/net/ipv6_route, as Node writes addresses. Link-local ones are left out: they carry a zone. */
export function nextHops6(route: string): string[] {
  return route.split('\n').flatMap((line) => {
    const hop = line.split(/ +/)[4] ?? ''
    if (!/^[0-9a-f]{32}$/.test(hop) || /^(?:0{32}|fe80)/.test(hop)) return []
    const groups = hop.match(/.{4}/g) ?? []
    return new URL(`http://[${groups.join(':')}]`).hostname.slice(1, -1)
  })
}

function bridges(): string[] {
  return Object.values(networkInterfaces())
    .flat()
    .flatMap((at) => {
      if (at === undefined || at.internal || at.family !== 'IPv4') return []
      const mask = at.netmask.split('.').map(Number)
      const first = at.address.split('.').map((part, n) => Number(part) & (mask[n] ?? 255))
      first[3] = (first[3] ?? 0) + 1
      const address = first.join('.')
      return address === at.address ? [] : [address]
    })
}
