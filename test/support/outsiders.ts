/** Hosts outside: a network namespace that reaches a server's namespace over a wire, from several addresses. */
import assert from 'node:assert/strict'
import { runToEnd } from './child.ts'
import { tool } from './tools.ts'
import type { Ending } from './undoing.ts'

/** Both ends of the wire. The first address of each family is the server's. */
export const SERVER = { ipv4: '203.0.113.1', ipv6: '2001:db8:1::1' } as const
const SERVER_END = 'tg-server'
const OUTER_END = 'tg-outer'

export interface Outsiders {
  /**
   * Sends so many requests to the server from this address, each on a connection of its own, and
   * resolves with the status of each answer, or the code of the error in its place.
   */
  knock(from: string, port: number, token: string, times?: number): Promise<string[]>
}

/** Runs in the namespace of those outside. */
const KNOCK = `
const { request } = require('node:https')
const [host, port, localAddress, token, times] = process.argv.slice(1)
const once = () => new Promise((resolve) => {
  const headers = { authorization: 'Bearer ' + token, 'content-type': 'application/x-protobuf' }
  const options = { host, port, localAddress, headers, method: 'POST', path: '/v1/traces', agent: false,
    rejectUnauthorized: false, timeout: 3000 }
  const sent = request(options, (answer) => { answer.resume(); resolve(String(answer.statusCode)) })
  sent.on('timeout', () => { resolve('timeout'); sent.destroy() })
  sent.on('error', (error) => resolve(error.code))
  sent.end()
})
void (async () => {
  for (let time = 0; time < Number(times); time += 1) console.log(await once())
})()
`

/** Wires a namespace of outsiders to the server's, until the test ends. */
export async function wireOutsiders(
  t: Ending,
  server: string,
  addresses: readonly string[],
): Promise<Outsiders> {
  const outside = `${server}-out`
  await ip('netns', 'add', outside)
  t.after(() => ip('netns', 'delete', outside))
  await ip(
    ...['link', 'add', SERVER_END, 'netns', server, 'type', 'veth'],
    ...['peer', 'name', OUTER_END, 'netns', outside],
  )
  const give = (namespace: string, link: string, address: string) =>
    address.includes(':')
      ? ip('-n', namespace, 'address', 'add', `${address}/32`, 'dev', link, 'nodad')
      : ip('-n', namespace, 'address', 'add', `${address}/24`, 'dev', link)
  for (const address of Object.values(SERVER)) await give(server, SERVER_END, address)
  for (const address of addresses) await give(outside, OUTER_END, address)
  await ip('-n', server, 'link', 'set', SERVER_END, 'up')
  await ip('-n', outside, 'link', 'set', OUTER_END, 'up')
  return {
    async knock(from, port, token, times = 1) {
      const host = from.includes(':') ? SERVER.ipv6 : SERVER.ipv4
      const { code, stdout, stderr } = await runToEnd(
        tool('ip'),
        [
          ...['netns', 'exec', outside, process.execPath, '-e', KNOCK],
          ...[host, String(port), from, token, String(times)],
        ],
        { timeoutMs: 120_000 },
      )
      assert.equal(code, 0, stderr)
      return stdout.split('\n')
    },
  }
}

/** Runs `ip`. Throws where it fails. */
export async function ip(...args: string[]): Promise<void> {
  const { code, stderr } = await runToEnd(tool('ip'), args)
  assert.equal(code, 0, `ip ${args.join(' ')}: ${stderr}`)
}
