/**
 * Docker's own proxy, as it stands before a container whose network has no IPv6: every IPv6 client
 * comes from the bridge. Two network namespaces are the host and the container.
 */
import assert from 'node:assert/strict'
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { Child, type ChildOptions, runToEnd } from '../support/child.ts'
import { eventually } from '../support/eventually.ts'
import { type Page, parsePage, sumOf } from '../support/exposition.ts'
import { tokenSet } from '../support/gateway.ts'
import { hasTools, ROOT, tool } from '../support/tools.ts'

const BRIDGE = '10.77.0.1'
const CONTAINER = '10.77.0.2'
const CLIENTS = ['fd00:77::7', 'fd00:77::8', 'fd00:77::9']
const PUBLIC = '[fd00:77::1]:14318'

interface Place {
  readonly host: string
  readonly container: string
  readonly folder: string
}

async function ip(...args: string[]): Promise<void> {
  const { code, stderr } = await runToEnd(tool('ip'), args)
  if (code !== 0) throw new Error(`ip ${args.join(' ')}: ${stderr}`)
}

/** Both namespaces, joined as Docker joins them; undefined where we may not. */
async function place(t: TestContext): Promise<Place | undefined> {
  const host = `tollgate-host-${process.pid}`
  const container = `tollgate-inside-${process.pid}`
  const made = await runToEnd(tool('ip'), ['netns', 'add', host])
  if (made.code !== 0) {
    if (process.env.CI === 'true') throw new Error(`no network namespace: ${made.stderr}`)
    t.skip(`SKIP: no network namespace (needs root): ${made.stderr}`)
    return undefined
  }
  const folder = mkdtempSync(join(tmpdir(), 'tollgate-hidden-'))
  t.after(async () => {
    for (const name of [host, container]) await runToEnd(tool('ip'), ['netns', 'delete', name])
    rmSync(folder, { recursive: true })
  })
  await ip('netns', 'add', container)
  await ip('-n', host, 'link', 'add', 'bridge', 'type', 'veth', 'peer', 'eth0', 'netns', container)
  await ip('-n', host, 'address', 'add', `${BRIDGE}/24`, 'dev', 'bridge')
  await ip('-n', container, 'address', 'add', `${CONTAINER}/24`, 'dev', 'eth0')
  for (const address of ['fd00:77::1', ...CLIENTS])
    await ip('-n', host, 'address', 'add', `${address}/128`, 'dev', 'lo')
  for (const at of [host, container]) await ip('-n', at, 'link', 'set', 'lo', 'up')
  await ip('-n', host, 'link', 'set', 'bridge', 'up')
  await ip('-n', container, 'link', 'set', 'eth0', 'up')
  await ip('-n', container, 'route', 'add', 'default', 'via', BRIDGE)
  return { host, container, folder }
}

function inside(namespace: string, command: readonly string[], options: ChildOptions = {}): Child {
  return new Child(tool('ip'), ['netns', 'exec', namespace, ...command], options)
}

async function output(namespace: string, ...command: string[]): Promise<string> {
  const child = inside(namespace, command)
  await child.exit
  return child.stdout.join('\n')
}

test('clients behind docker-proxy seem to be at the bridge, and the gateway says so', async (t) => {
  if (!hasTools(t, 'ip', 'docker-proxy', 'curl')) return
  const here = await place(t)
  if (here === undefined) return
  const { host, container, folder } = here
  const holders = ['shop', 'till', 'cellar']
  const tokenOf = (holder: string) => `${holder}-token-0123456789abcdef`
  const tokens = holders.map((holder) => ({ id: holder, holder, token: tokenOf(holder) }))
  writeFileSync(join(folder, 'tokens.json'), tokenSet(tokens), { mode: 0o600 })
  const main = join(ROOT, 'src/main.ts')
  const env = {
    PATH: process.env.PATH,
    TOLLGATE_STATE_DIR: folder,
    TOLLGATE_LOG_FORMAT: 'json',
  }
  const gateway = inside(container, [process.execPath, main, 'serve'], { env })
  t.after(async () => {
    gateway.kill('SIGTERM')
    await gateway.exit
  })
  await gateway.line('stderr', (line) => line.includes('"listening"') || undefined)
  // Where it tells Docker that it listens. Without it the proxy closes its own socket.
  const report = openSync(join(folder, 'proxy'), 'w')
  const command = [
    tool('docker-proxy'),
    ...['-proto', 'tcp', '-host-ip', '::', '-host-port', '14318'],
    ...['-container-ip', CONTAINER, '-container-port', '4318'],
  ]
  const proxy = inside(host, command, { descriptors: [report] })
  closeSync(report)
  t.after(async () => {
    proxy.kill('SIGTERM')
    await proxy.exit
  })
  const send = (at: number) =>
    output(
      host,
      ...['curl', '-sk', '-o', '/dev/null', '-w', '%{http_code}', '--max-time', '20'],
      ...['--interface', CLIENTS[at] ?? '', '-H', 'content-type: application/x-protobuf'],
      ...['-H', `authorization: Bearer ${tokenOf(holders[at] ?? '')}`, '--data-binary', ''],
      `https://${PUBLIC}/v1/traces`,
    )
  const page = async (): Promise<Page> =>
    parsePage(await output(container, 'curl', '-s', 'http://127.0.0.1:9464/metrics'))
  const hidden = async () =>
    sumOf(await page(), 'tollgate_client_addresses_hidden', { by: 'gateway' })
  const said = () => gateway.stderr.filter((line) => line.includes('"client_addresses_hidden"'))

  await eventually(async () => (await send(0)) === '200', 'the first client')
  assert.equal(await hidden(), 0, 'one client may be a program of this machine')
  assert.match(said().join('\n'), new RegExp(`"info".*first connection came from ${BRIDGE}`))
  assert.equal(await send(1), '200')
  assert.equal(await hidden(), 1)
  assert.equal(await send(2), '200')
  assert.equal(await hidden(), 1)
  assert.equal(said().length, 2, 'a hint, and once the warning')
  assert.match(said().join('\n'), new RegExp(`"warn".*2 different clients seem to be at ${BRIDGE}`))
})
