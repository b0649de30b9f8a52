/** What the parent does when gateways do not do as they are told. */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { Ending, Listeners } from '../../../src/parent/gateway-process.ts'
import type { Order, Report } from '../../../src/parent/messages.ts'
import { Parent } from '../../../src/parent/parent.ts'

const DRAIN_MS = 10_000
const CRASH: Ending = { code: undefined, signal: 'SIGSEGV' }

/** A gateway that does what the test says. */
class FakeGateway {
  readonly pid: number
  readonly orders: Order['kind'][] = []
  readonly #listeners: Listeners
  outcome: Extract<Order, { kind: 'restart-outcome' }> | undefined
  isDead = false

  constructor(pid: number, listeners: Listeners) {
    this.pid = pid
    this.#listeners = listeners
  }

  order(order: Order): void {
    if (order.kind === 'restart-outcome') this.outcome = order
    // Of these test/unit/parent/heartbeat.test.ts has more.
    else if (order.kind !== 'ping') this.orders.push(order.kind)
  }

  kill(): void {
    this.die({ code: undefined, signal: 'SIGKILL' })
  }

  isStopped(): boolean {
    return false
  }

  report(...kinds: Report['kind'][]): void {
    for (const kind of kinds) this.#listeners.onReport({ kind })
  }

  die(ending: Ending = { code: 0, signal: undefined }): void {
    if (this.isDead) return
    this.isDead = true
    this.#listeners.onEnd(ending)
  }
}

function startParent(t: TestContext) {
  t.mock.timers.enable({ apis: ['setTimeout', 'setInterval'] })
  const gateways: FakeGateway[] = []
  const said: string[] = []
  let nowMs = 0
  const parent = new Parent({
    start: (listeners) => {
      const gateway = new FakeGateway(100 + gateways.length, listeners)
      gateways.push(gateway)
      return gateway
    },
    say: (_severity, _event, message) => said.push(message),
    nowMs: () => nowMs,
    drainMs: DRAIN_MS,
  })
  let exitCode: number | undefined
  void parent.run().then((code) => (exitCode = code))
  return {
    parent,
    said,
    count: () => gateways.length,
    gateway(at: number): FakeGateway {
      const gateway = gateways[at]
      assert.ok(gateway !== undefined, `gateway ${at} was not started`)
      return gateway
    },
    pass(ms: number) {
      nowMs += ms
      t.mock.timers.tick(ms)
    },
    async exitCode() {
      await Promise.resolve()
      return exitCode
    },
  }
}

/** A parent with a gateway that serves. */
function startServing(t: TestContext) {
  const world = startParent(t)
  world.gateway(0).report('prepared', 'serving')
  assert.deepEqual(world.gateway(0).orders, ['open'])
  return world
}

test('the first does not start: the parent ends with its code, and starts no other', async (t) => {
  const world = startParent(t)
  world.gateway(0).die({ code: 64, signal: undefined })
  assert.equal(await world.exitCode(), 64)
  assert.equal(world.count(), 1)
})

test('the first is killed before it serves: 128 and the number of the signal', async (t) => {
  const world = startParent(t)
  world.gateway(0).report('prepared')
  world.gateway(0).die(CRASH)
  assert.equal(await world.exitCode(), 139)
})

test('a replacement goes step by step', (t) => {
  const { parent, gateway } = startServing(t)
  parent.restart('test')
  assert.deepEqual(gateway(0).orders, ['open'])
  gateway(1).report('prepared')
  assert.deepEqual(gateway(0).orders, ['open', 'hand-over'])
  assert.deepEqual(gateway(1).orders, [], 'not before the other has let go')
  gateway(0).report('released')
  assert.deepEqual(gateway(1).orders, ['open'])
})

test('the next one never gets ready: it is killed, and the current one goes on', (t) => {
  const { parent, gateway, pass, said } = startServing(t)
  gateway(0).report('restart-asked')
  pass(60_000)
  assert.ok(gateway(1).isDead)
  assert.ok(!gateway(0).isDead)
  assert.deepEqual(gateway(0).orders, ['open'])
  assert.match(String(gateway(0).outcome?.problem), /could not start: killed by SIGKILL/)
  assert.match(said.join('\n'), /did not get ready within 60 s and is killed/)
  parent.restart('again')
  gateway(2).report('prepared')
  assert.deepEqual(gateway(0).orders, ['open', 'hand-over'])
})

test('the current one does not let go: it is killed, and the next one opens', (t) => {
  const { parent, gateway, pass, count } = startServing(t)
  parent.restart('test')
  gateway(1).report('prepared')
  pass(5_000)
  assert.ok(gateway(0).isDead)
  assert.deepEqual(gateway(1).orders, ['open'])
  assert.equal(count(), 2)
})

test('the current one dies while the next gets ready: that takes its place', (t) => {
  const { parent, gateway, count } = startServing(t)
  parent.restart('test')
  gateway(0).die(CRASH)
  assert.deepEqual(gateway(1).orders, [])
  gateway(1).report('prepared')
  assert.deepEqual(gateway(1).orders, ['open'])
  assert.equal(count(), 2)
})

test('the next one dies after the current one was told to let go: another takes its place', (t) => {
  const { parent, gateway } = startServing(t)
  parent.restart('test')
  gateway(1).report('prepared')
  gateway(1).die(CRASH)
  gateway(0).report('released')
  gateway(2).report('prepared')
  assert.deepEqual(gateway(2).orders, ['open'])
  gateway(0).die()
})

test('the former one does not finish: it is killed', (t) => {
  const { parent, gateway, pass } = startServing(t)
  parent.restart('test')
  gateway(1).report('prepared')
  gateway(0).report('released')
  gateway(1).report('serving')
  pass(DRAIN_MS + 5_000)
  assert.ok(gateway(0).isDead)
  assert.ok(!gateway(1).isDead)
})

test('a restart while one is under way is answered; one while the former finishes waits for it', (t) => {
  const { parent, gateway, count, said } = startServing(t)
  parent.restart('first')
  gateway(0).report('restart-asked')
  assert.equal(gateway(0).outcome?.problem, 'a restart is under way already')
  gateway(1).report('prepared')
  gateway(0).report('released')
  gateway(1).report('serving')
  gateway(1).report('restart-asked')
  assert.equal(count(), 2)
  assert.match(said.join('\n'), /waiting for the gateway before \(pid 100\) to finish/)
  gateway(0).die()
  assert.equal(count(), 3)
  gateway(2).report('prepared')
  assert.equal(gateway(1).outcome?.pid, 102)
})

test('a restart while the parent waits to start it again starts it now', (t) => {
  const { parent, gateway, count } = startServing(t)
  gateway(0).die(CRASH)
  // The first one again is at once, but not within the same turn.
  parent.restart('test')
  assert.equal(count(), 2)
  t.mock.timers.tick(20_000)
  assert.equal(count(), 2)
})

test('a stop that is not followed: killed when drain time and grace are over, exit code 1', async (t) => {
  const { parent, gateway, pass, exitCode } = startServing(t)
  parent.stop('SIGTERM')
  assert.deepEqual(gateway(0).orders, ['open', 'stop'])
  pass(DRAIN_MS + 4_999)
  assert.ok(!gateway(0).isDead)
  pass(1)
  assert.ok(gateway(0).isDead)
  assert.equal(await exitCode(), 1)
})

test('a second stop reaches the former one too', async (t) => {
  const { parent, gateway, pass, exitCode } = startServing(t)
  parent.restart('test')
  gateway(1).report('prepared')
  gateway(0).report('released')
  gateway(1).report('serving')
  parent.stop('SIGTERM')
  parent.stop('SIGTERM')
  assert.equal(gateway(0).orders.at(-1), 'stop-at-once')
  assert.equal(gateway(1).orders.at(-1), 'stop-at-once')
  pass(2_000)
  assert.ok(gateway(0).isDead && gateway(1).isDead)
  assert.equal(await exitCode(), 1)
})

test('a stop while nothing runs ends at once', async (t) => {
  const { parent, gateway, exitCode, count } = startServing(t)
  gateway(0).die(CRASH)
  parent.stop('SIGTERM')
  assert.equal(await exitCode(), 0)
  t.mock.timers.tick(20_000)
  assert.equal(count(), 1)
})

test('one that has answered and does so no more is killed, and another takes its place', (t) => {
  const { gateway, pass, count, said } = startServing(t)
  gateway(0).report('alive')
  // The next question, and half a minute without an answer.
  for (let tick = 0; tick < 6; tick += 1) pass(5_000)
  assert.ok(!gateway(0).isDead)
  pass(5_000)
  assert.ok(gateway(0).isDead)
  assert.match(said.join('\n'), /\(pid 100\) has not answered for 30 s and is killed/)
  assert.match(said.join('\n'), /ended and was not asked to: killed by SIGKILL/)
  pass(0)
  assert.equal(count(), 2)
})

test('one that answers lives, and so does one of a version that never does', (t) => {
  const { gateway, pass, parent } = startServing(t)
  for (let tick = 0; tick < 100; tick += 1) pass(5_000)
  assert.ok(!gateway(0).isDead)
  for (let tick = 0; tick < 100; tick += 1) {
    gateway(0).report('alive')
    pass(5_000)
  }
  assert.ok(!gateway(0).isDead)
  parent.restart('test')
  gateway(1).report('alive', 'prepared')
  gateway(0).report('released')
  for (let tick = 0; tick < 3; tick += 1) pass(5_000)
  assert.ok(gateway(0).isDead, 'by its drain time')
})
