/**
 * `tollgate rotate` from its beginning to its end against a real Vault, while agents of every language
 * send at a steady rate, the gateway is restarted and Vault is away for a minute. Whoever reads the
 * token again loses nothing; whoever does not loses nothing before the deadline, and is named all the time.
 */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { runToEnd } from '../../support/child.ts'
import { startOtelcol } from '../../support/otelcol.ts'
import { runTollgate } from '../../support/run-command.ts'
import { type Gateway, spawnGateway } from '../../support/spawn-gateway.ts'
import { hasTools, tool } from '../../support/tools.ts'
import { startToxiproxy } from '../../support/toxiproxy.ts'
import { startVault } from '../../support/vault-real.ts'
import { COUNTED } from '../count.ts'
import { PROVIDER_TOOLS, SENDER_TOOLS } from '../senders/run.ts'
import { BUS_TOOLS, startBus } from './bus.ts'
import { AGENTS, type Agent, type Fate, startCast } from './cast.ts'

const AWAY_MS = 60_000
/** Later than Vault is back, so that what happens then is the deadline's doing. */
const DEADLINE_SECONDS = 110
const KEYRING_SERVICE = 'tollgate-test'
const TIMES = ['--quiet', '5s', '--revoke-after', '2s', '--accept-within', '2m']

/** What `tollgate rotate status --json` says of a holder. */
interface Standing {
  readonly holder: string
  readonly step: string
  readonly newUsedAt: string | null
  readonly old: readonly { readonly lastUse: { readonly address: string } | null }[]
}

test('a rotation in Vault, with a restart and Vault away for a minute', async (t) => {
  const tools = ['vault', 'toxiproxy-server', 'otelcol', 'openssl', ...BUS_TOOLS]
  if (!hasTools(t, ...tools, ...SENDER_TOOLS, ...PROVIDER_TOOLS)) return
  const folder = await mkdtemp(join(tmpdir(), 'tollgate-rotation-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  await using bus = await startBus()
  const agents = castOf(bus.env)
  const vault = await startVault(t)
  const way = await (await startToxiproxy(t)).relayTo(new URL(vault.address).host)
  await vault.put('otel/tokens', { tokens: agents.map((_, index) => entryOf(index)) })
  for (const index of agents.keys()) await writeFile(fileOf(folder, index), `${tokenOf(index)}\n`)
  await intoKeyring(agents, bus.env)
  await using backend = await startOtelcol()
  const env = {
    TOLLGATE_TOKENS_SOURCE: 'vault:secret/otel/tokens',
    TOLLGATE_TOKENS_POLL: '1s',
    TOLLGATE_VAULT_ADDR: `http://${way.address}`,
    TOLLGATE_VAULT_TOKEN: vault.rootToken,
  }
  await using gateway = await spawnGateway({
    collector: { grpc: backend.grpc, http: backend.http },
    // All of them come from one address. The parent keeps the ports open over a restart.
    env: { ...env, TOLLGATE_TOKENS: '', TOLLGATE_RATE: 'off', TOLLGATE_PARENT: 'on' },
  })
  const places = ['--deliver', `file:${folder}/{holder}`]
  const rotate = async (...args: string[]) => {
    const stateDir = { TOLLGATE_STATE_DIR: gateway.folder }
    return await runTollgate(['rotate', ...args], { ...env, ...bus.env, ...stateDir })
  }
  await using cast = await startCast({
    agents,
    gateway,
    folder,
    credentials: (index) => ({ file: fileOf(folder, index), token: tokenOf(index) }),
  })

  const named = (isStatic: boolean) =>
    agents.flatMap((agent, index) =>
      (agent.token === 'static') === isStatic ? ['--holder', holderOf(index)] : [],
    )
  const stubborn = await rotate(
    ...named(true),
    ...places,
    ...TIMES,
    '--deadline',
    `${DEADLINE_SECONDS}s`,
  )
  assert.equal(stubborn.code, 0, stubborn.stderr)
  const keyring = ['--deliver', `keyring:${KEYRING_SERVICE}/{holder}`]
  const begun = await rotate(...named(false), ...places, ...keyring, ...TIMES, '--deadline', '10m')
  assert.equal(begun.code, 0, begun.stderr)
  const statics = agents.flatMap(({ token }, index) =>
    token === 'static' ? [holderOf(index)] : [],
  )
  const status = async () => await statusOf(rotate)

  await until(async () => {
    const standings = await status()
    await assertNobodyRefused(gateway)
    return standings.every(
      ({ holder, newUsedAt }) => statics.includes(holder) || newUsedAt !== null,
    )
  })

  await way.setAway(true)
  const backMs = performance.now() + AWAY_MS
  process.kill(gateway.pid, 'SIGUSR2')
  await gateway.logged('listening', 2)
  const during = await rotate(...named(false))
  assert.equal(during.code, 75, during.stdout + during.stderr)
  while (performance.now() < backMs) {
    assertNamed(await status(), statics)
    await assertNobodyRefused(gateway)
    await sleep(1000)
  }
  await way.setAway(false)

  // As cron would: run after run, until none is under way.
  await until(async () => {
    await assertNobodyRefused(gateway)
    const standings = await status()
    const left = standings.filter(({ holder }) => !statics.includes(holder))
    if (standings.some(({ holder, step }) => statics.includes(holder) && step === 'watch'))
      assertNamed(standings, statics)
    if (left.length === 0) return true
    const run = await rotate(...left.flatMap(({ holder }) => ['--holder', holder]))
    assert.equal(run.code, 0, run.stderr)
    return false
  })
  await until(async () => {
    const left = await status()
    if (left.length === 0) return true
    await rotate(...left.flatMap(({ holder }) => ['--holder', holder]))
    await sleep(1000)
    return false
  })
  const reports = await cast.finish()
  await gateway.assertInvariant()
  await gateway.stop()
  await backend.stop()
  for (const fate of await cast.fates(t, backend, reports)) await judge(t, fate)
})

/** Every SDK with its provider, and Python from the keyring, collectors, and some that know no better. */
function castOf(session: Readonly<Record<string, string>>): readonly Agent[] {
  const holder = holderOf(AGENTS.length)
  const keyring: Agent = {
    kind: { language: 'python', protocol: 'http/protobuf' },
    token: 'provider',
    note: 'keyring',
    env: {
      ...session,
      OTLP_TOKEN_FILE: '',
      OTLP_TOKEN_KEYRING: `${KEYRING_SERVICE}/${holder}`,
      OTLP_TOKEN_SECONDS: '2',
    },
  }
  return [...AGENTS, keyring]
}

async function judge(t: TestContext, { agent, name, tallies, spans, logged }: Fate): Promise<void> {
  await t.test(name, () => {
    for (const signal of COUNTED) {
      const { sent, arrived } = tallies[signal]
      if (agent.token === 'static') continue
      assert.equal(sent - arrived, 0, `${signal} lost: ${logged.join('\n')}`)
    }
    if (agent.token !== 'static') return
    // Nothing of what was made before the deadline is missing, and all of what was made after it.
    const { sent, arrived } = tallies.spans
    const missing = Array.from({ length: sent }, (_, seq) => seq).filter((seq) => !spans.has(seq))
    assert.ok(missing.length > 0, 'the deadline did not come')
    assert.deepEqual(
      missing,
      missing.map((_, index) => arrived + index),
    )
  })
}

async function statusOf(
  rotate: (...args: string[]) => ReturnType<typeof runTollgate>,
): Promise<readonly Standing[]> {
  const { code, stdout, stderr } = await rotate('status', '--json')
  assert.equal(code, 0, stderr)
  return (JSON.parse(stdout) as { rotations: Standing[] }).rotations
}

function assertNamed(standings: readonly Standing[], holders: readonly string[]): void {
  for (const name of holders) {
    const standing = standings.find(({ holder }) => holder === name)
    assert.ok(
      standing?.old.some(({ lastUse }) => lastUse !== null),
      `${name} is not said to hold its rotation back: ${JSON.stringify(standing)}`,
    )
  }
}

async function assertNobodyRefused(gateway: Gateway): Promise<void> {
  const { accepted: _, ...others } = await gateway.outcomes()
  assert.deepEqual(others, {})
}

async function until(isTrue: () => Promise<boolean>): Promise<void> {
  const limitMs = performance.now() + 120_000
  while (!(await isTrue())) {
    assert.ok(performance.now() < limitMs, 'it never came to that')
    await sleep(500)
  }
}

async function intoKeyring(
  agents: readonly Agent[],
  session: Readonly<Record<string, string>>,
): Promise<void> {
  const index = agents.findIndex(({ note }) => note === 'keyring')
  const script = 'import keyring, sys; keyring.set_password(*sys.argv[1:], sys.stdin.read())'
  const { code, stderr } = await runToEnd(
    tool('python-sender'),
    ['-c', script, KEYRING_SERVICE, holderOf(index)],
    { env: { PATH: process.env.PATH, ...session }, input: tokenOf(index) },
  )
  assert.equal(code, 0, stderr)
}

function holderOf(index: number): string {
  return `agent-${index}`
}

function fileOf(folder: string, index: number): string {
  return join(folder, holderOf(index))
}

function tokenOf(index: number): string {
  return `old-secret-of-agent-${index}-0123456789abcdef`
}

function entryOf(index: number) {
  const sha256 = createHash('sha256').update(tokenOf(index)).digest('hex')
  return { id: `old-${index}`, holder: holderOf(index), sha256 }
}
