/**
 * fail2ban on a host without Docker: the shipped filter and jail, set to nftables as the jail says, with
 * a real gateway in a network namespace of their own, while real logrotate takes the audit log away.
 */
import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { Child, runToEnd } from '../support/child.ts'
import { eventually } from '../support/eventually.ts'
import { type Fail2ban, startFail2ban } from '../support/fail2ban.ts'
import { ip, type Outsiders, wireOutsiders } from '../support/outsiders.ts'
import { hasTools, ROOT, tool } from '../support/tools.ts'
import { undoing } from '../support/undoing.ts'

const TOOLS = ['fail2ban-server', 'fail2ban-client', 'ip', 'nft', 'logrotate']
const GUESS = 'a-guessed-token-0123456789abcdef'
const ATTACKERS = ['203.0.113.9', '2001:db8:2::9']
const AGENTS = ['203.0.113.10', '2001:db8:3::10']
const LATER = ['203.0.113.21', '203.0.113.22', '203.0.113.23']
const PORT = 4318

interface Host {
  readonly gateway: Child
  readonly outsiders: Outsiders
  readonly fail2ban: Fail2ban
  readonly folder: string
  readonly token: string
}

test('on a host of its own the jail bans with nftables', async (t) => {
  const host = await startHost(t)
  if (host === undefined) return
  const { outsiders, fail2ban, token } = host
  for (const from of ATTACKERS) {
    await guess(host, from)
    await rejected(outsiders, from)
  }
  for (const from of AGENTS) assert.deepEqual(await outsiders.knock(from, PORT, token), ['200'])
  for (const from of ATTACKERS) {
    await fail2ban.client('set', 'tollgate', 'unbanip', from)
    // The gateway's own ban is still there.
    await answered(outsiders, from, 'ECONNRESET')
  }
})

test('an audit log that is rotated goes on being read', async (t) => {
  const host = await startHost(t)
  if (host === undefined) return
  const [before = '', moved = '', copied = ''] = LATER
  const log = join(host.folder, 'audit.log')
  // Neither systemd nor Docker runs this gateway.
  const shipped = readFileSync(join(ROOT, 'docker/logrotate/tollgate'), 'utf8')
    .replace('/var/log/tollgate/audit.log', log)
    .replace('systemctl --quiet is-active tollgate', 'true')
    .replace('systemctl reload tollgate', `kill -HUP ${host.gateway.pid}`)
    .replace('command -v docker', 'false')
  await guess(host, before)
  const renamed = linesIn(log)
  await rotate(host, shipped)
  await eventually(() => existsSync(`${log}.1`) && linesIn(log) === 0, 'a new audit log')
  assert.equal(linesIn(`${log}.1`), renamed)
  await guess(host, moved)
  assert.ok(linesIn(log) >= 5, 'the gateway writes to the new one')

  const truncating = shipped
    .replace(/ {4}create\n/, '    copytruncate\n')
    .replace(/kill -HUP \d+/, ':')
  await rotate(host, truncating)
  assert.equal(linesIn(log), 0)
  // A file that has grown beyond its old size before fail2ban looks again is taken for the old one
  // for up to 30 s: let it look once while the file is short.
  const [agent = ''] = AGENTS
  await host.outsiders.knock(agent, PORT, GUESS)
  await host.fail2ban.said(`Found ${agent}`)
  await guess(host, copied)
  assert.doesNotMatch(readFileSync(log, 'latin1'), /\0/, 'no hole where lines were')
})

/** Five wrong tokens, and the jail's word on it. */
async function guess({ outsiders, fail2ban }: Host, from: string): Promise<void> {
  assert.deepEqual(await outsiders.knock(from, PORT, GUESS, 5), Array(5).fill('401'), from)
  await fail2ban.said(`Ban ${from}`)
}

/** fail2ban announces a ban before its rule stands. */
function rejected(outsiders: Outsiders, from: string): Promise<void> {
  return answered(outsiders, from, 'ECONNREFUSED')
}

async function answered(outsiders: Outsiders, from: string, answer: string): Promise<void> {
  await eventually(
    async () => (await outsiders.knock(from, PORT, GUESS))[0] === answer,
    `${answer} for ${from}`,
  )
}

function linesIn(path: string): number {
  return readFileSync(path, 'utf8').split('\n').length - 1
}

async function rotate({ folder }: Host, config: string): Promise<void> {
  const path = join(folder, 'logrotate.conf')
  writeFileSync(path, config)
  const state = join(folder, 'logrotate.state')
  const args = ['--verbose', '--force', '--state', state, path]
  const { code, stderr } = await runToEnd(tool('logrotate'), args)
  assert.equal(code, 0, stderr)
}

async function startHost(t: TestContext): Promise<Host | undefined> {
  if (!hasTools(t, ...TOOLS)) return undefined
  if (process.getuid?.() !== 0) {
    if (process.env.CI === 'true') throw new Error('a network namespace needs root')
    t.skip('SKIP: a network namespace needs root')
    return undefined
  }
  const ending = undoing(t)
  const folder = mkdtempSync(join(tmpdir(), 'tollgate-fail2ban-'))
  ending.after(() => rmSync(folder, { recursive: true }))
  const namespace = `tg-${folder.slice(folder.lastIndexOf('-') + 1)}`
  await ip('netns', 'add', namespace)
  ending.after(() => ip('netns', 'delete', namespace))
  await ip('-n', namespace, 'link', 'set', 'lo', 'up')
  const outsiders = await wireOutsiders(ending, namespace, [...ATTACKERS, ...AGENTS, ...LATER])
  const auditLog = join(folder, 'audit.log')
  const gateway = new Child(
    tool('ip'),
    ['netns', 'exec', namespace, process.execPath, join(ROOT, 'src/main.ts'), 'serve'],
    {
      cwd: folder,
      env: {
        PATH: process.env.PATH,
        TOLLGATE_STATE_DIR: folder,
        TOLLGATE_PARENT: 'off',
        TOLLGATE_LOG_FORMAT: 'json',
        TOLLGATE_AUDIT_LOG: auditLog,
      },
    },
  )
  ending.after(async () => {
    gateway.kill('SIGTERM')
    await gateway.exit
  })
  await gateway.line('stderr', (line) => line.includes('"event":"listening"') || undefined)
  const fail2ban = await startFail2ban(ending, {
    namespace,
    folder,
    settings: [`logpath = ${auditLog}`],
    edit: withoutDocker,
  })
  const token = readFileSync(join(folder, 'token'), 'utf8').trim()
  return { gateway, outsiders, fail2ban, folder, token }
}

/** What the jail says to do without Docker. */
function withoutDocker(jail: string): string {
  const edited = jail
    .replace('banaction = iptables-allports\nchain     = DOCKER-USER\n', '')
    .replace('# banaction = nftables-allports', 'banaction = nftables-allports')
  assert.doesNotMatch(edited, /^(?:chain|banaction = iptables)/m)
  assert.match(edited, /^banaction = nftables-allports$/m)
  return edited
}
