/** Somebody on the other side of the server's network interface: a namespace with a cable to an engine's. */
import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'
import { runToEnd } from './child.ts'
import type { Ended, Engine } from './docker-engine.ts'
import type { Place } from './docker-reach.ts'
import { tool } from './tools.ts'

/** The server's public addresses, as documentation has them. */
export const SERVER = { ipv4: '203.0.113.1', ipv6: '2001:db8:113::1' } as const

export interface Outsider extends Place {
  readonly ipv4: string
  readonly ipv6: string
  /** Runs a program there. Its exit code is not judged. */
  run(program: string, ...args: string[]): Promise<Ended>
}

let made = 0

/** Joins somebody to an engine's namespace, which has the addresses of SERVER then, until the test ends. */
export async function addOutsider(t: TestContext, engine: Engine): Promise<Outsider> {
  made += 1
  const host = 8 + made
  const namespace = `${engine.namespace}-o${made}`
  const [near, far] = [`out${made}`, 'eth0']
  const ipv4 = `203.0.113.${host}`
  const ipv6 = `2001:db8:113::${host}`
  await ip('netns', 'add', namespace)
  t.after(() => runToEnd(tool('ip'), ['netns', 'delete', namespace]))
  const side = ['peer', 'name', far, 'netns', namespace]
  await ip('-n', engine.namespace ?? '', 'link', 'add', near, 'type', 'veth', ...side)
  // A bridge, so that several outsiders share the server's network.
  const there = await engine.runInside('ip', 'link', 'show', 'wan')
  if (there.code !== 0) {
    await ip('-n', engine.namespace ?? '', 'link', 'add', 'wan', 'type', 'bridge')
    await ip('-n', engine.namespace ?? '', 'link', 'set', 'wan', 'up')
    await addAddresses(engine.namespace ?? '', 'wan', SERVER.ipv4, SERVER.ipv6)
  }
  await ip('-n', engine.namespace ?? '', 'link', 'set', near, 'master', 'wan', 'up')
  await ip('-n', namespace, 'link', 'set', 'lo', 'up')
  await ip('-n', namespace, 'link', 'set', far, 'up')
  await addAddresses(namespace, far, ipv4, ipv6)
  for (const [family, via] of [
    ['-4', SERVER.ipv4],
    ['-6', SERVER.ipv6],
  ] as const)
    await ip('-n', namespace, family, 'route', 'add', 'default', 'via', via)
  const inside = (program: string, ...args: string[]): readonly [string, string[]] => [
    'nsenter',
    [`--net=/run/netns/${namespace}`, program, ...args],
  ]
  return {
    ipv4,
    ipv6,
    folder: engine.folder,
    inside,
    run: (program, ...args) => {
      const [first, rest] = inside(program, ...args)
      return runToEnd(first, rest, { timeoutMs: 300_000 })
    },
  }
}

/** The TCP ports that are open for this outsider. `flags` are nmap's: which ports, and -6 for IPv6. */
export async function openPorts(
  outsider: Outsider,
  address: string,
  flags: readonly string[],
): Promise<readonly number[]> {
  const scan = ['-Pn', '-n', '-sT', '-T4', '--max-retries=2', '--host-timeout=240s', '-oG', '-']
  const { code, stdout, stderr } = await outsider.run(tool('nmap'), ...scan, ...flags, address)
  assert.equal(code, 0, stderr)
  assert.match(stdout, /1 host up/, stdout)
  return [...stdout.matchAll(/(\d+)\/open\/tcp/g)].map(([, port]) => Number(port))
}

async function addAddresses(
  namespace: string,
  link: string,
  ipv4: string,
  ipv6: string,
): Promise<void> {
  await ip('-n', namespace, 'address', 'add', `${ipv4}/24`, 'dev', link)
  await ip('-n', namespace, 'address', 'add', `${ipv6}/64`, 'dev', link, 'nodad')
}

async function ip(...args: string[]): Promise<void> {
  const { code, stderr } = await runToEnd(tool('ip'), args)
  if (code !== 0) throw new Error(`ip ${args.join(' ')}: ${stderr}`)
}
