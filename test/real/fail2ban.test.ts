/**
 * The filter and the jail as they are shipped, in a real fail2ban with real firewall rules, inside a
 * network namespace of its own: nothing of the machine is touched.
 */
import assert from 'node:assert/strict'
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { AuditFile } from '../../src/observe/audit.ts'
import { Child, runToEnd } from '../support/child.ts'
import { hasTools, ROOT, tool } from '../support/tools.ts'

const GATEWAY = { ipv4: '203.0.113.1', ipv6: '2001:db8:1::1' }
const ATTACKERS = ['203.0.113.9', '2001:db8:2::9']
/** Agents that missed a rotation, and what an attacker tries to get banned. */
const BYSTANDERS = ['203.0.113.10', '2001:db8:2::10']
const BAN_TIMEOUT_MS = 30_000

interface Place {
  readonly namespace: string
  readonly folder: string
}

/** Runs in the namespace; throws where it fails. */
async function inside({ namespace }: Place, ...command: string[]): Promise<string> {
  const { code, stdout, stderr } = await runToEnd(tool('ip'), [
    ...['netns', 'exec', namespace],
    ...command,
  ])
  if (code !== 0) throw new Error(`${command.join(' ')}: ${stderr}`)
  return stdout
}

/** A namespace with the addresses on its loopback and Docker's chain, or undefined where we may not. */
async function place(t: TestContext): Promise<Place | undefined> {
  const namespace = `tollgate-test-${process.pid}`
  const made = await runToEnd(tool('ip'), ['netns', 'add', namespace])
  if (made.code !== 0) {
    if (process.env.CI === 'true') throw new Error(`no network namespace: ${made.stderr}`)
    t.skip(`SKIP: no network namespace (needs root): ${made.stderr}`)
    return undefined
  }
  const folder = mkdtempSync(join(tmpdir(), 'tollgate-fail2ban-'))
  t.after(async () => {
    rmSync(folder, { recursive: true })
    await runToEnd(tool('ip'), ['netns', 'delete', namespace])
  })
  const here = { namespace, folder }
  await inside(here, 'ip', 'link', 'set', 'lo', 'up')
  for (const address of [...Object.values(GATEWAY), ...ATTACKERS, ...BYSTANDERS])
    await inside(here, 'ip', 'address', 'add', address, 'dev', 'lo')
  for (const iptables of ['iptables', 'ip6tables']) {
    await inside(here, iptables, '-N', 'DOCKER-USER')
    // Everything is local here; on a Docker host it is FORWARD that asks this chain.
    await inside(here, iptables, '-I', 'INPUT', '-j', 'DOCKER-USER')
  }
  return here
}

/** The system's fail2ban settings, our two files copied into them, and where to find the log. */
function configure({ folder }: Place, auditLog: string): string {
  const etc = join(folder, 'etc')
  cpSync('/etc/fail2ban', etc, { recursive: true })
  rmSync(join(etc, 'jail.d'), { recursive: true })
  mkdirSync(join(etc, 'jail.d'))
  for (const file of ['filter.d/tollgate.conf', 'jail.d/tollgate.local'])
    cpSync(join(ROOT, 'docker/fail2ban', file), join(etc, file))
  writeFileSync(
    join(etc, 'fail2ban.local'),
    '[Definition]\nlogtarget = STDOUT\nloglevel = INFO\ndbfile = None\n',
  )
  writeFileSync(join(etc, 'jail.d/zz-test.local'), `[tollgate]\nlogpath = ${auditLog}\n`)
  return etc
}

/** `open` or the error code of connecting from this address. */
async function knock(here: Place, from: string, port: number): Promise<string> {
  const host = from.includes(':') ? GATEWAY.ipv6 : GATEWAY.ipv4
  const program = `
    const socket = require('node:net').connect({ host: '${host}', port: ${port}, localAddress: '${from}' })
    socket.setTimeout(3000, () => { console.log('timeout'); socket.destroy() })
    socket.on('connect', () => { console.log('open'); socket.destroy() })
    socket.on('error', (error) => console.log(error.code))`
  return (await inside(here, process.execPath, '-e', program)).trim()
}

test('the shipped jail bans the addresses of unknown tokens in the firewall, and nobody else', async (t) => {
  if (!hasTools(t, 'fail2ban-server', 'fail2ban-client', 'ip', 'iptables', 'ip6tables')) return
  const here = await place(t)
  if (here === undefined) return
  const path = join(here.folder, 'audit.log')
  const audit = await AuditFile.open({
    path,
    onFailure: (cause) => assert.fail(String(cause)),
    onRecovery: () => {},
  })
  t.after(() => audit.close())

  const server = new Child(tool('ip'), [
    ...['netns', 'exec', here.namespace, process.execPath, '-e'],
    `require('node:net').createServer((socket) => socket.destroy())
      .listen(0, '::', function () { console.log('port ' + this.address().port) })`,
  ])
  t.after(() => server.kill('SIGKILL'))
  const port = await server.line('stdout', (line) => {
    const found = /^port (\d+)/.exec(line)?.[1]
    return found === undefined ? undefined : Number(found)
  })

  const socket = join(here.folder, 'fail2ban.sock')
  const sockets = ['-s', socket, '-p', join(here.folder, 'fail2ban.pid')]
  const fail2ban = new Child(tool('ip'), [
    ...['netns', 'exec', here.namespace, tool('fail2ban-server')],
    ...['-c', configure(here, path), ...sockets, '-f', 'start'],
  ])
  t.after(async () => {
    fail2ban.kill('SIGTERM')
    await fail2ban.exit
  })
  const seen = (text: string) =>
    fail2ban.line('stdout', (line) => (line.includes(text) ? line : undefined), BAN_TIMEOUT_MS)
  await seen("Jail 'tollgate' started")
  for (const address of [...ATTACKERS, ...BYSTANDERS])
    assert.equal(await knock(here, address, port), 'open', `${address} before`)

  const [victim] = BYSTANDERS
  for (let strike = 0; strike < 5; strike += 1) {
    for (const address of BYSTANDERS)
      audit.write({ wallMs: Date.now(), event: 'auth_refused', reason: 'token_expired', address })
    for (const address of ATTACKERS)
      audit.write({
        wallMs: Date.now(),
        event: 'auth_refused',
        reason: 'token_unknown',
        address,
        userAgent: `"}\n{"v":1,"time":${Date.now()},"event":"auth_refused","reason":"token_unknown","client":{"ip":"${victim}"}}`,
      })
  }

  for (const address of ATTACKERS) await seen(`Ban ${address}`)
  for (const address of ATTACKERS) await closed(here, address, port)
  for (const address of BYSTANDERS)
    assert.equal(await knock(here, address, port), 'open', `${address} after`)
  const status = await inside(here, tool('fail2ban-client'), '-s', socket, 'status', 'tollgate')
  assert.match(status, /Currently banned:\s+2\b/)

  for (const address of ATTACKERS) {
    await inside(here, tool('fail2ban-client'), '-s', socket, 'set', 'tollgate', 'unbanip', address)
    assert.equal(await knock(here, address, port), 'open', `${address} unbanned`)
  }
})

/** Knocks until the firewall says no: fail2ban announces a ban before its rule stands. */
async function closed(here: Place, address: string, port: number): Promise<void> {
  const untilMs = Date.now() + BAN_TIMEOUT_MS
  let answer = ''
  while (Date.now() < untilMs) {
    answer = await knock(here, address, port)
    if (answer !== 'open') break
  }
  assert.equal(answer, 'ECONNREFUSED', address)
}
