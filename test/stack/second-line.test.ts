/**
 * fail2ban and CrowdSec before a gateway in a real Docker engine: ports that Docker publishes, over
 * IPv4 and IPv6, an audit log in a volume, and outsiders on the other end of a wire.
 */
import assert from 'node:assert/strict'
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { Child } from '../support/child.ts'
import { endWith, packageFolder, SHIPPED, setUpCrowdSec } from '../support/crowdsec.ts'
import { type Engine, hasDocker, startEngine } from '../support/docker-engine.ts'
import { buildImage, GATEWAY_IMAGE } from '../support/docker-images.ts'
import { eventually } from '../support/eventually.ts'
import { startFail2ban } from '../support/fail2ban.ts'
import { type Outsiders, wireOutsiders } from '../support/outsiders.ts'
import { hasTools, tool } from '../support/tools.ts'
import { type Ending, undoing } from '../support/undoing.ts'

const GUESS = 'a-guessed-token-0123456789abcdef'
const ATTACKERS = ['203.0.113.9', '2001:db8:2::9']
const AGENTS = ['203.0.113.10', '2001:db8:3::10']
const IGNORED = ['203.0.113.12', '2001:db8:4::12']
const SHORTLY = '203.0.113.13'
const PORT = 4318
/** Docker 20.10 gives IPv6 the same treatment as IPv4 only where it is told to. */
const IPV6 = ['--experimental', '--ipv6', '--ip6tables', '--fixed-cidr-v6=fd00:7011::/64']
/** How the firewall says no. The gateway itself resets connections that it has taken. */
const REJECTED = ['ECONNREFUSED']
const RESET = ['ECONNRESET']

interface Scene {
  /** Ends what works in front of the engine before the engine. */
  readonly ending: Ending
  readonly engine: Engine
  readonly namespace: string
  readonly outsiders: Outsiders
  /** The agents' token. */
  readonly token: string
  /** The audit log, as the host sees it. */
  readonly auditLog: string
  /** Knocks with a wrong token until the answer is this one. */
  until(from: string, answer: readonly string[]): Promise<void>
}

async function scene(t: TestContext): Promise<Scene> {
  const ending = undoing(t)
  const engine = await startEngine(t, IPV6)
  await buildImage(engine, GATEWAY_IMAGE)
  const namespace = engine.namespace ?? assert.fail('the engine has no namespace')
  // Docker 20.10 has this chain for IPv4 alone; newer ones make both.
  for (const args of ['-N DOCKER-USER', '-I FORWARD -j DOCKER-USER']) {
    const made = await engine.runInside('ip6tables', ...args.split(' '))
    assert.equal(made.code, 0, made.stderr)
  }
  const outsiders = await wireOutsiders(ending, namespace, [
    ...[...ATTACKERS, ...AGENTS, ...IGNORED, SHORTLY],
  ])
  await engine.docker([
    ...['run', '--detach', '--name=tollgate', '--read-only', '--cap-drop=ALL', '--tmpfs=/tmp'],
    ...['--volume=state:/var/lib/tollgate', '--volume=log:/var/log/tollgate'],
    ...['--publish=4317:4317', `--publish=${PORT}:4318`, '--publish=8443:4318'],
    ...['--env=TOLLGATE_AUDIT_LOG=/var/log/tollgate/audit.log', GATEWAY_IMAGE.tag],
  ])
  const volume = async (name: string) =>
    (await engine.docker(['volume', 'inspect', '--format={{.Mountpoint}}', name])).trim()
  const tokenFile = join(await volume('state'), 'token')
  // Without a collector it makes its first token and counts what comes.
  const token = await eventually(
    async () => (await readFile(tokenFile, 'utf8').catch(() => undefined))?.trim(),
    'the first token',
  )
  for (const agent of AGENTS)
    await eventually(
      async () => (await outsiders.knock(agent, PORT, token))[0] === '200',
      `the gateway answer ${agent}`,
    )
  return {
    ending,
    engine,
    namespace,
    outsiders,
    token,
    auditLog: join(await volume('log'), 'audit.log'),
    async until(from, answer) {
      await eventually(
        async () => (await outsiders.knock(from, PORT, GUESS))[0] === answer[0],
        `${answer[0]} for ${from}`,
      )
    },
  }
}

test('the shipped jail keeps guessers out of a container, and nobody else', async (t) => {
  if (!hasDocker(t, 'fail2ban-server', 'fail2ban-client')) return
  const { ending, engine, namespace, outsiders, token, auditLog, until } = await scene(t)
  const fail2ban = await startFail2ban(ending, {
    namespace,
    folder: engine.folder,
    settings: [`logpath = ${auditLog}`, `ignoreip = %(known/ignoreip)s ${IGNORED.join(' ')}`],
  })

  for (const from of [...ATTACKERS, ...IGNORED])
    assert.deepEqual(await outsiders.knock(from, PORT, GUESS, 5), Array(5).fill('401'), from)
  for (const from of ATTACKERS) {
    await fail2ban.said(`Ban ${from}`)
    await until(from, REJECTED)
    // All ports, whatever number they have inside.
    assert.deepEqual(await outsiders.knock(from, 8443, GUESS), REJECTED)
    assert.deepEqual(await outsiders.knock(from, 4317, token), REJECTED)
  }
  for (const from of AGENTS) assert.deepEqual(await outsiders.knock(from, PORT, token), ['200'])
  // The gateway has banned them, the firewall has not.
  for (const from of IGNORED) assert.deepEqual(await outsiders.knock(from, PORT, GUESS), RESET)
  assert.match(await fail2ban.client('status', 'tollgate'), /Currently banned:\s+2\b/)

  await t.test('a ban is lifted in both places', async () => {
    const [from = ''] = ATTACKERS
    await fail2ban.client('set', 'tollgate', 'unbanip', from)
    await until(from, RESET)
    await engine.docker(['exec', 'tollgate', 'tollgate', 'bans', 'lift', from])
    assert.deepEqual(await outsiders.knock(from, PORT, token), ['200'])
  })

  await t.test('a ban ends by itself', async () => {
    await fail2ban.client('set', 'tollgate', 'bantime', '2')
    await outsiders.knock(SHORTLY, PORT, GUESS, 5)
    await fail2ban.said(`Ban ${SHORTLY}`)
    await fail2ban.said(`Unban ${SHORTLY}`)
    await until(SHORTLY, RESET)
  })
})

test('DOCKER-USER sees the port inside the container, conntrack the published one', async (t) => {
  if (!hasDocker(t)) return
  const { engine, outsiders, token } = await scene(t)
  const [agent = ''] = AGENTS
  const rule = async (...match: string[]) => {
    const ended = await engine.runInside('iptables', '-I', 'DOCKER-USER', ...match, '-j', 'REJECT')
    assert.equal(ended.code, 0, ended.stderr)
  }
  await rule('-p', 'tcp', '--dport', '8443')
  assert.deepEqual(await outsiders.knock(agent, 8443, token), ['200'])
  await rule('-p', 'tcp', '-m', 'conntrack', '--ctorigdstport', '8443', '--ctdir', 'ORIGINAL')
  assert.deepEqual(await outsiders.knock(agent, 8443, token), REJECTED)
  assert.deepEqual(await outsiders.knock(agent, PORT, token), ['200'])
  await rule('-p', 'tcp', '--dport', '4318')
  assert.deepEqual(await outsiders.knock(agent, PORT, token), REJECTED)
})

test('CrowdSec and its bouncer keep guessers out of a container, and nobody else', async (t) => {
  if (!hasDocker(t, 'ipset')) return
  if (!hasTools(t, 'crowdsec', 'cscli', 'crowdsec-firewall-bouncer')) return
  const { ending, engine, namespace, outsiders, token, auditLog, until } = await scene(t)
  // In a namespace of its own any port is free.
  const crowdsec = await setUpCrowdSec(ending, {
    folder: engine.folder,
    port: 8080,
    auditLog,
    prefix: ['ip', 'netns', 'exec', namespace],
  })
  await crowdsec.start()
  const key = 'a-key-of-the-tests-0123456789'
  await crowdsec.cscli('bouncers', 'add', 'firewall', '--key', key)
  const config = bouncerConfig(engine.folder, key)
  const bouncer = new Child(tool('ip'), [
    'netns',
    'exec',
    namespace,
    tool('crowdsec-firewall-bouncer'),
    '-c',
    config,
  ])
  endWith(ending, bouncer)
  await bouncer.line(
    'stderr',
    (line) => /decisions? added|Processing new and/.test(line) || undefined,
  )

  for (const from of ATTACKERS)
    assert.deepEqual(await outsiders.knock(from, PORT, GUESS, 5), Array(5).fill('401'), from)
  for (const from of AGENTS) await outsiders.knock(from, PORT, GUESS, 4)
  await eventually(async () => (await crowdsec.banned()).length === 2, 'two bans')
  assert.deepEqual(await crowdsec.banned(), [...ATTACKERS].sort())
  // The bouncer drops what it holds off.
  for (const from of ATTACKERS) await until(from, ['timeout'])
  for (const from of AGENTS) assert.deepEqual(await outsiders.knock(from, PORT, token), ['200'])

  for (const from of ATTACKERS) {
    await crowdsec.cscli('decisions', 'delete', '--ip', from)
    await until(from, RESET)
    assert.deepEqual((await crowdsec.banned()).includes(from), false)
  }
})

/** The package's settings for a bouncer, and ours beside them. */
function bouncerConfig(folder: string, key: string): string {
  const name = 'crowdsec-firewall-bouncer.yaml'
  const bouncers = join(folder, 'bouncers')
  mkdirSync(bouncers)
  cpSync(join(packageFolder(), 'etc/crowdsec/bouncers', name), join(bouncers, name))
  const ours = readFileSync(join(SHIPPED, 'bouncers', `${name}.local`), 'utf8')
  const own = [
    `api_key: ${key}`,
    'log_mode: stdout',
    `pid_dir: ${folder}`,
    'update_frequency: 1s',
    '',
  ]
  writeFileSync(join(bouncers, `${name}.local`), ours + own.join('\n'))
  return join(bouncers, name)
}
