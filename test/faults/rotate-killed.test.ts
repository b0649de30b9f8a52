/**
 * A rotation is killed with SIGKILL: at each of its operations, at any moment of the command itself,
 * and while another one begins. The next run ends it right.
 */
import assert from 'node:assert/strict'
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { slugOf } from '../../src/rotation/slug.ts'
import { digestOf } from '../../src/stores/token-secret.ts'
import { Child, runToEnd } from '../support/child.ts'
import { Client } from '../support/client.ts'
import { startCollector } from '../support/collector.ts'
import { eventually } from '../support/eventually.ts'
import { runTollgate } from '../support/run-command.ts'
import { type Gateway, spawnGateway } from '../support/spawn-gateway.ts'
import { ROOT } from '../support/tools.ts'

const DRIVER = join(ROOT, 'test/support/rotate-until.ts')
const MAIN = join(ROOT, 'src/main.ts')
const NODE = ['--disable-warning=ExperimentalWarning']
const SHORT = ['--quiet', '1s', '--revoke-after', '0s']

interface Entry {
  readonly id: string
  readonly holder: string
  readonly sha256: string
  readonly revokedAt?: string
}

interface Scene {
  readonly gateway: Gateway
  readonly truth: string
  readonly folder: string
  readonly env: Readonly<Record<string, string>>
  /** Where the agent of a holder takes its token from. */
  place(holder: string): string
  entries(): Promise<readonly Entry[]>
  /** One request with a token; its HTTP status. */
  use(token: string): Promise<number>
  rotate(...args: string[]): ReturnType<typeof runTollgate>
}

function oldToken(holder: string): string {
  return `the-old-token-of-${holder}-0123456789`
}

async function scene(t: TestContext, holders: readonly string[]): Promise<Scene> {
  const folder = await mkdtemp(join(tmpdir(), 'tollgate-killed-'))
  const collector = await startCollector()
  const truth = join(folder, 'tokens.json')
  const tokens = holders.map((holder) => {
    return { id: `old-${holder}`, holder, sha256: digestOf(oldToken(holder)) }
  })
  await writeFile(truth, JSON.stringify({ tokens }))
  await mkdir(join(folder, 'agents'))
  const gateway = await spawnGateway({
    collector: { http: `127.0.0.1:${collector.httpPort}` },
    env: { TOLLGATE_TOKENS: '', TOLLGATE_TOKENS_FILE: truth, TOLLGATE_RATE: 'off' },
  })
  const client = new Client({
    way: 'HTTP/1.1',
    address: gateway.http,
    caPem: await readFile(gateway.certificate, 'utf8'),
    token: '',
  })
  t.after(async () => {
    client.close()
    await gateway[Symbol.asyncDispose]()
    await collector.die()
    await rm(folder, { recursive: true, force: true })
  })
  const env = { TOLLGATE_STATE_DIR: gateway.folder, TOLLGATE_TOKENS_FILE: truth }
  return {
    gateway,
    truth,
    folder,
    env,
    place: (holder) => join(folder, 'agents', `${slugOf(holder)}.token`),
    entries: async () => JSON.parse(await readFile(truth, 'utf8')).tokens,
    use: async (token) => (await client.send({ token })).httpStatus,
    rotate: (...args) => runTollgate(['rotate', ...args], env),
  }
}

/** Every holder has one token that works, which is the one that was delivered, and no orphan. */
async function assertEndedRight(at: Scene, holders: readonly string[]): Promise<void> {
  const entries = await at.entries()
  for (const holder of holders) {
    const own = entries.filter((entry) => entry.holder === holder)
    const token = (await readFile(at.place(holder), 'utf8')).trim()
    assert.deepEqual(
      own.map(({ id, sha256, revokedAt }) => [
        id === `old-${holder}` ? 'old' : 'new',
        sha256,
        revokedAt === undefined,
      ]),
      [
        ['old', digestOf(oldToken(holder)), false],
        ['new', digestOf(token), true],
      ],
    )
    assert.equal(await at.use(token), 200)
    assert.equal(await at.use(oldToken(holder)), 401)
  }
  assert.deepEqual(await readdir(join(at.gateway.folder, 'rotations')), ['history.json'])
  // What stays may be the name of a lock that was never taken: it holds nothing.
  const folders = [at.folder, join(at.folder, 'agents')]
  const left = (await Promise.all(folders.map((folder) => readdir(folder)))).flat()
  assert.deepEqual(
    left.filter((name) => /\.lock$|\.tmp$/.test(name) && !/\.lock\.\d+/.test(name)),
    [],
  )
}

/** Goes on with all rotations to their end, while agents use what was delivered to them. */
async function toTheEnd(at: Scene, holders: readonly string[]): Promise<void> {
  const everybody = ['--all', '--deliver', `file:${at.folder}/agents/{holder}.token`, ...SHORT]
  const first = await at.rotate(...everybody, '--every', '1d')
  assert.equal(first.code, 0, first.stderr)
  for (const holder of holders)
    assert.equal(await at.use((await readFile(at.place(holder), 'utf8')).trim()), 200)
  await eventually(async () => {
    const { code, stderr } = await at.rotate(...everybody, '--every', '1d')
    assert.equal(code, 0, stderr)
    return (await at.rotate('status')).stdout === 'No rotation is under way.'
  }, 'the end of all rotations')
}

/** Whether the process was killed, and not done before. */
async function isKilled(
  at: Scene,
  holder: string,
  operation: number,
  when: string,
): Promise<boolean> {
  const { code, signal, stderr } = await runToEnd(process.execPath, [
    ...NODE,
    DRIVER,
    ...[at.gateway.folder, at.truth, `file:${at.place(holder)}`, holder, String(operation), when],
  ])
  assert.ok(signal === 'SIGKILL' || code === 0, stderr)
  return signal === 'SIGKILL'
}

for (const when of ['before', 'after'] as const) {
  test(`killed ${when} each operation of a rotation`, async (t) => {
    const holders = Array.from({ length: 60 }, (_, index) => `holder-${index + 1}`)
    const at = await scene(t, holders)
    const begun: string[] = []
    for (const [index, holder] of holders.entries()) {
      begun.push(holder)
      assert.equal(await at.use(oldToken(holder)), 200)
      if (!(await isKilled(at, holder, index + 1, when))) break
    }
    assert.ok(begun.length > 15, `${begun.length} operations until it is watched`)
    // The others are watched by now; the second half of them is killed on its way to the end.
    const { code, stderr } = await at.rotate(
      ...[
        '--all',
        '--deliver',
        `file:${at.folder}/agents/{holder}.token`,
        ...SHORT,
        '--every',
        '1d',
      ],
    )
    assert.equal(code, 0, stderr)
    for (const holder of holders)
      assert.equal(await at.use((await readFile(at.place(holder), 'utf8')).trim()), 200)
    await eventually(async () => {
      const { rotations } = JSON.parse((await at.rotate('status', '--json')).stdout)
      return rotations.every(({ old }: { old: { quietForMs: number }[] }) =>
        old.every(({ quietForMs }) => quietForMs > 1000),
      )
    }, 'quiet old tokens')
    let kills = 0
    for (const holder of holders) {
      if (!(await isKilled(at, holder, kills + 1, when))) break
      kills += 1
    }
    assert.ok(kills > 10, `${kills} operations until it is over`)
    await toTheEnd(at, holders)
    await assertEndedRight(at, holders)
  })
}

test('the command killed at any moment', async (t) => {
  const holders = ['web-shop']
  const at = await scene(t, holders)
  const place = `file:${at.place('web-shop')}`
  for (let round = 0; round < 15; round += 1) {
    const child = new Child(
      process.execPath,
      [...NODE, MAIN, 'rotate', '--deliver', place, ...SHORT, '--every', '1d'],
      {
        env: { PATH: process.env.PATH, ...at.env },
      },
    )
    // From the first claim on, later and later.
    await eventually(async () => {
      const names = await readdir(join(at.gateway.folder, 'rotations')).catch(() => [])
      return child.hasEnded || names.some((name) => name.startsWith(`${child.pid}-`))
    }, 'a claim of the run')
    await new Promise((resume) => setTimeout(resume, round * 3))
    child.kill('SIGKILL')
    await child.exit
    assert.equal(await at.use(oldToken('web-shop')), 200)
  }
  await toTheEnd(at, holders)
  await assertEndedRight(at, holders)
})

test('a run beside another one says who is at work, and changes nothing', async (t) => {
  const at = await scene(t, ['web-shop'])
  const program = join(at.folder, 'push')
  const gate = join(at.folder, 'gate')
  await writeFile(
    program,
    `#!/bin/sh\ncat > "${at.place('web-shop')}"\nwhile [ ! -e "${gate}" ]; do sleep 0.05; done\n`,
    { mode: 0o755 },
  )
  const args = ['rotate', '--deliver', `exec:${program}`, ...SHORT]
  const first = new Child(process.execPath, [...NODE, MAIN, ...args], {
    env: { PATH: process.env.PATH, ...at.env },
  })
  await first.line('stdout', (line) => (line.includes('accepted by') ? true : undefined))
  for (const others of [args.slice(1), ['abort', '--force']]) {
    const { code, stderr } = await at.rotate(...others)
    assert.equal(code, 75)
    assert.match(stderr, new RegExp(`process ${first.pid} is at work on rotations here`))
  }
  assert.match((await at.rotate('status')).stdout, /to do {6}exec:/)
  await writeFile(gate, '')
  assert.deepEqual(await first.exit, { code: 0, signal: null }, first.output)
  const own = (await at.entries()).filter(({ id }) => id !== 'old-web-shop')
  assert.equal(own.length, 1)
})
