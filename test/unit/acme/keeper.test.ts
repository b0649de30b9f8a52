/** When the keeper asks and when it waits, with a directory that is not there. */
import assert from 'node:assert/strict'
import { createServer } from 'node:net'
import { type TestContext, test } from 'node:test'
import { certificateText } from '../../../src/acme/certificate-file.ts'
import { Keeper, type KeeperEvent, type KeeperOptions } from '../../../src/acme/keeper.ts'
import { type AcmeRecord, NO_RECORD, recordFrom, recordText } from '../../../src/acme/record.ts'
import { TlsChallenger } from '../../../src/acme/tls-challenger.ts'
import { issueServer } from '../../../src/tls/issue.ts'
import { testCa } from '../../support/certs.ts'
import { eventually } from '../../support/eventually.ts'

const NAMES = ['otlp.example.test']
const MINUTE = 60_000
const DAY = 86_400_000

/** An https URL where nobody listens. */
async function nobody(): Promise<string> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  await new Promise((resolve) => server.close(resolve))
  return `https://127.0.0.1:${port}/directory`
}

class Stage {
  readonly files = new Map<string, string>()
  readonly events: KeeperEvent[] = []
  wallMs = Date.now()
  locks = 0

  readonly directory: string

  constructor(directory: string) {
    this.directory = directory
  }

  get record(): AcmeRecord {
    return recordFrom(this.files.get('state.json') ?? '')
  }

  set record(record: AcmeRecord) {
    this.files.set('state.json', recordText(record))
  }

  count(kind: KeeperEvent['kind']): number {
    return this.events.filter((event) => event.kind === kind).length
  }

  async start(t: TestContext, more: Partial<KeeperOptions> = {}): Promise<Keeper> {
    const wallMs = () => this.wallMs
    const keeper = new Keeper({
      directory: this.directory,
      names: NAMES,
      email: undefined,
      challenger: new TlsChallenger(wallMs),
      readCa: async () => undefined,
      userAgent: 'tests',
      files: {
        pathOf: (name) => `/state/acme/${name}`,
        read: async (name) => this.files.get(name),
        write: async (name, text) => void this.files.set(name, text),
      },
      lock: async () => {
        this.locks += 1
        return async () => {
          this.locks -= 1
        }
      },
      wallMs,
      random: () => 0.5,
      onEvent: (event) => this.events.push(event),
      onIssued: async () => {},
      ...more,
    })
    t.after(() => keeper.close())
    await keeper.start()
    return keeper
  }

  /** Puts a certificate there that began so many days ago. */
  async keep(daysAgo: number): Promise<void> {
    const { cert, key } = await issueServer(await testCa(), NAMES, this.wallMs - daysAgo * DAY)
    this.files.set('certificate.pem', certificateText(this.directory, { key, chain: cert }))
  }
}

test('a failure is told, kept, and waited out over a restart', async (t) => {
  const stage = new Stage(await nobody())
  const keeper = await stage.start(t)
  await eventually(() => stage.count('failed') === 1, 'a failure')
  const { nextAttemptMs } = keeper.state
  assert.equal(nextAttemptMs, stage.wallMs + 1.1 * MINUTE)
  assert.match(keeper.state.lastFailure?.words ?? '', /cannot be reached/)
  assert.equal(stage.locks, 0)
  await keeper.close()
  stage.wallMs += 10_000
  const again = await stage.start(t)
  assert.equal(again.state.nextAttemptMs, nextAttemptMs)
  assert.equal(stage.record.failures, 1)
})

test('by hand it is tried at once, and the next wait is longer', async (t) => {
  const stage = new Stage(await nobody())
  const keeper = await stage.start(t)
  await eventually(() => stage.count('failed') === 1, 'a failure')
  const answer = await keeper.renew(true)
  assert.equal(answer.kind, 'failed')
  assert.equal(keeper.state.nextAttemptMs, stage.wallMs + 5.5 * MINUTE)
})

test('a change of what is asked for ends our own waits, but not those that were ordered', async (t) => {
  const stage = new Stage(await nobody())
  const waits = { waitUntilMs: stage.wallMs + DAY, failures: 9 }
  stage.record = { ...NO_RECORD, asked: 'other names', ...waits }
  await stage.start(t)
  await eventually(() => stage.count('failed') === 1, 'an attempt')
  assert.equal(stage.record.failures, 1)

  const told = new Stage(await nobody())
  const toldToWaitUntilMs = told.wallMs + DAY
  told.record = { ...NO_RECORD, asked: 'other names', ...waits, toldToWaitUntilMs }
  const keeper = await told.start(t)
  assert.equal(keeper.state.nextAttemptMs, toldToWaitUntilMs)
  const forced = await keeper.renew(true)
  assert.equal(forced.kind, 'failed')
  assert.match(forced.kind === 'failed' ? forced.words : '', /not before .*limits how often/)
  assert.equal(told.count('ordering'), 0)
})

test('who was killed in the middle waits before he asks again, longer each time', async (t) => {
  const stage = new Stage(await nobody())
  const first = await stage.start(t)
  await eventually(() => stage.count('failed') === 1, 'a failure')
  await first.close()
  const { asked } = stage.record
  stage.record = { ...NO_RECORD, asked, begunMs: stage.wallMs, failures: 2 }
  const keeper = await stage.start(t)
  assert.equal(keeper.state.nextAttemptMs, stage.wallMs + 15 * 1.1 * MINUTE)
})

test("Let's Encrypt's limits hold when forced, after failures and after certificates", async (t) => {
  const directory = 'https://acme-v02.api.letsencrypt.org/directory'
  for (const past of ['failuresMs', 'issuesMs'] as const) {
    const stage = new Stage(directory)
    const times = [1, 2, 3, 4].map((minutes) => stage.wallMs - 10 * MINUTE + minutes * MINUTE)
    stage.record = { ...NO_RECORD, [past]: times }
    const keeper = await stage.start(t)
    const answer = await keeper.renew(true)
    assert.equal(answer.kind, 'failed', past)
    assert.equal(stage.count('ordering'), 0, past)
    const soonestMs = (times[0] ?? 0) + (past === 'failuresMs' ? 60 * MINUTE : 7 * DAY)
    assert.equal(keeper.state.nextAttemptMs, soonestMs, past)
  }
})

test('a certificate is left alone until two thirds of its life are over', async (t) => {
  const stage = new Stage(await nobody())
  await stage.keep(200)
  const keeper = await stage.start(t)
  assert.equal(keeper.state.isStandIn, false)
  const inDays = ((keeper.state.nextAttemptMs ?? 0) - stage.wallMs) / DAY
  assert.ok(Math.abs(inDays - 64) < 1, `${inDays} days`)
  assert.deepEqual((await keeper.renew(false)).kind, 'not_due')
  assert.equal(stage.count('ordering'), 0)
})

test('one that is over its time, for other names or of another directory is ordered anew', async (t) => {
  for (const [daysAgo, more] of [
    [300, {}],
    [10, { names: ['b.example.test'] }],
    [10, { directory: await nobody() }],
  ] as const) {
    const stage = new Stage(await nobody())
    await stage.keep(daysAgo)
    await stage.start(t, more)
    await eventually(() => stage.count('failed') === 1, 'an attempt')
  }
})

test('a lock that another process has is told of, and nothing is asked', async (t) => {
  const stage = new Stage(await nobody())
  const lock = async () =>
    Promise.reject(new Error('/state/acme/renewal.lock is held by process 7'))
  const keeper = await stage.start(t, { lock })
  await eventually(() => stage.count('failed') === 1, 'a failure')
  assert.match(keeper.state.lastFailure?.words ?? '', /is held by process 7/)
  assert.equal(stage.count('ordering'), 0)
})

test('what another process has renewed is taken, and not ordered again', async (t) => {
  const stage = new Stage(await nobody())
  let taken = 0
  const lock = async () => {
    await stage.keep(0)
    return async () => {}
  }
  const onIssued = async () => {
    taken += 1
  }
  const keeper = await stage.start(t, { lock, onIssued })
  await eventually(() => taken === 1, 'the other certificate')
  assert.equal(stage.count('ordering'), 0)
  assert.equal(keeper.state.isStandIn, false)
})

test('a record that is damaged is told of once and written anew', async (t) => {
  const stage = new Stage(await nobody())
  stage.files.set('state.json', '{"version":1')
  await stage.start(t)
  assert.match(JSON.stringify(stage.events), /state\.json cannot be used and is written anew/)
  await eventually(() => stage.count('failed') === 1, 'an attempt')
  assert.equal(stage.record.failures, 1)
})
