/** Which ports the world can open, by nmap. */
import type { Check } from '../check.ts'
import { commandLine, run } from '../programs.ts'
import { judged, type Row, skipped } from '../row.ts'
import type { Target } from '../target.ts'

const NAME = 'ports'

/** An open port, and what nmap takes it for. */
export interface OpenPort {
  readonly port: number
  readonly service: string
}

/** The open ports of a report in nmap's XML; undefined where the scan did not come to its end. */
export function openPortsOf(xml: string): readonly OpenPort[] | undefined {
  if (!/<finished [^>]*exit="success"/.test(xml) || !/<hosts up="1"/.test(xml)) return undefined
  return [...xml.matchAll(/<port protocol="tcp" portid="(\d+)">(.*?)<\/port>/gs)]
    .filter(([, , about = '']) => /<state state="open"/.test(about))
    .map(([, port, about = '']) => {
      const service = /<service name="([^"]*)"(?: product="([^"]*)")?/.exec(about)
      const tunnel = /tunnel="ssl"/.test(about) ? 'TLS ' : ''
      return {
        port: Number(port),
        service: `${tunnel}${service?.[2] ?? service?.[1] ?? 'unknown'}`,
      }
    })
}

/** Open may only be what is on the list, and all of it has to be. */
export function judgePorts(
  open: readonly OpenPort[] | undefined,
  allowed: readonly number[],
  family: string,
  byHand: string,
): Row {
  const expected = `only ${allowed.join(', ')} open over ${family}`
  if (open === undefined) return judged(NAME, expected, false, 'nmap did not finish', byHand)
  const wrong = open.filter(({ port }) => !allowed.includes(port))
  const closed = allowed.filter((port) => !open.some((each) => each.port === port))
  const told = (ports: readonly OpenPort[]) =>
    ports.map(({ port, service }) => `${port} (${service})`).join(', ')
  const figure =
    wrong.length > 0
      ? `also open: ${told(wrong)}`
      : closed.length > 0
        ? `closed: ${closed.join(', ')}`
        : `open: ${told(open)}`
  return judged(NAME, expected, wrong.length === 0 && closed.length === 0, figure, byHand)
}

function argsOf({ triedPorts, openPorts }: Target, address: string): string[] {
  const tried =
    triedPorts === 'all'
      ? ['-p-', '-T4']
      : ['-p', [...new Set([...openPorts, ...triedPorts])].join(',')]
  const isV6 = address.includes(':')
  // Asking each service what it is takes 20 s: over one of the two families is enough.
  return [...(isV6 ? ['-6'] : ['-sV', '--version-light']), '-n', '-Pn', ...tried, address]
}

export const portsCheck: Check = {
  name: NAME,
  effort: 'scan',
  programs: ['nmap'],
  limitSeconds: 300,
  plan: ({ triedPorts, openPorts, addresses }) =>
    `tries ${triedPorts === 'all' ? 'all 65535' : new Set([...openPorts, ...triedPorts]).size} TCP ports of ${addresses.join(' and ')}`,
  async run(target) {
    const rows: Row[] = []
    for (const address of target.addresses) {
      const family = address.includes(':') ? 'IPv6' : 'IPv4'
      const args = argsOf(target, address)
      const { stdout } = await run('nmap', [...args, '-oX', '-'], { timeoutMs: 150_000 })
      const open = openPortsOf(stdout)
      rows.push(judgePorts(open, target.openPorts, family, commandLine('nmap', args)))
    }
    for (const family of ['IPv4', 'IPv6'])
      if (!rows.some(({ expected }) => expected.endsWith(family)))
        rows.push(
          skipped(NAME, `only the public ports open over ${family}`, `no ${family} address`),
        )
    return rows
  },
}
