import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, it, mock } from 'node:test'
import { Permit } from '../../../src/pipeline/admit.ts'
import type { Arrival } from '../../../src/pipeline/arrival.ts'
import type { HoldOptions, Released } from '../../../src/pipeline/hold.ts'
import type { Token, TokenProblem } from '../../../src/pipeline/ports.ts'
import { Unverified } from '../../../src/pipeline/unverified.ts'
import type { PeerLimits } from '../../../src/stores/budgets.ts'
import { arrivalOf, peerOf, settle, tokenOf, World } from './world.ts'

beforeEach(() => mock.timers.enable({ apis: ['setTimeout'] }))
afterEach(() => mock.timers.reset())

/** A world in which the agent's credential is one to check, and the test says how the check ends. */
class Checking extends World {
  readonly check = Promise.withResolvers<Token | TokenProblem>()
  checks = 0
  leave: () => void = () => {}

  constructor(limits: PeerLimits = {}, options: Partial<HoldOptions> = {}) {
    super(limits, options)
    const start = () => {
      this.checks += 1
      return this.check.promise
    }
    this.credentials.set('agent', new Unverified(tokenOf('agent'), start))
  }

  enter(arrival: Arrival = arrivalOf()): { released: Released | undefined } {
    const call: { released: Released | undefined } = { released: undefined }
    const entered = this.hold.enter(arrival, (leave) => {
      this.leave = leave
    })
    void Promise.resolve(entered).then((released) => {
      call.released = released
    })
    return call
  }

  /** Whether the budget of the address, one request, has been taken. */
  get isCharged(): boolean {
    return this.budgets.waitMs(arrivalOf().peer, undefined, this.now) > 0
  }
}

/** Enough for two checks and one admission. */
const FEW = { requests: { perSecond: 1, burst: 3 } }
const ONE = { requests: { perSecond: 1, burst: 1 } }

describe('a call whose credential is being checked', () => {
  it('waits, and goes on as soon as it is good', async () => {
    const world = new Checking()
    const call = world.enter()
    await settle()
    assert.equal(world.hold.verifying, 1)
    world.check.resolve(tokenOf('agent'))
    await settle()
    assert.ok(call.released instanceof Permit)
    assert.equal(world.hold.verifying, 0)
    assert.deepEqual(world.held, [], 'this is no wait for budget')
  })

  it('waits with waiting turned off, too', async () => {
    const world = new Checking({}, { holdMs: 0 })
    const call = world.enter()
    world.check.resolve(tokenOf('agent'))
    await settle()
    assert.ok(call.released instanceof Permit)
  })

  it('is refused when it turns out bad, and that strikes', async () => {
    const world = new Checking()
    const calls = Array.from({ length: 5 }, () => world.enter())
    world.check.resolve('token_unknown')
    await settle()
    for (const { released } of calls) assert.deepEqual(released, { reason: 'token_unknown' })
    assert.ok(world.bans.isBanned(arrivalOf().peer, world.now))
  })

  it('then waits for budget like any other', async () => {
    const world = new Checking(FEW)
    const first = world.enter()
    const second = world.enter()
    world.check.resolve(tokenOf('agent'))
    world.credentials.set('agent', tokenOf('agent'))
    await settle()
    assert.ok(first.released instanceof Permit)
    assert.equal(world.hold.held, 1)
    await world.pass(1100)
    assert.ok(second.released instanceof Permit)
  })

  it('asks its client back when nobody knows its credential any more after a wait', async () => {
    const world = new Checking(FEW)
    world.enter()
    const second = world.enter()
    world.check.resolve(tokenOf('agent'))
    await world.pass(1100)
    assert.deepEqual(second.released, { reason: 'overloaded' })
  })

  it('has cost its address a request, and ends with its client', async () => {
    const world = new Checking(ONE)
    const call = world.enter()
    await settle()
    assert.equal(world.isCharged, true, 'whether or not it stays for the answer')
    world.leave()
    await settle()
    assert.equal(call.released, 'gone')
    assert.equal(world.hold.verifying, 0)
  })

  it('is asked to come back before its client stops waiting', async () => {
    const world = new Checking(ONE)
    const call = world.enter(arrivalOf({ deadlineMs: world.now + 1000 }))
    await world.pass(740)
    assert.equal(call.released, undefined)
    await world.pass(20)
    assert.deepEqual(call.released, { reason: 'tokens_unavailable' })
  })

  it('is asked to come back when the gateway stops', async () => {
    const world = new Checking()
    const call = world.enter()
    await settle()
    world.hold.refuseAll({ reason: 'draining' })
    await settle()
    assert.deepEqual(call.released, { reason: 'draining' })
  })

  it('fails where the check fails: our bug', async () => {
    const world = new Checking()
    const entered = world.hold.enter(arrivalOf(), () => {})
    world.check.reject(new TypeError('BUG'))
    await assert.rejects(async () => await entered, /BUG/)
    assert.equal(world.hold.verifying, 0)
  })
})

it('an address has a tenth of the places, and all have no more than there are', async () => {
  const world = new Checking({}, { maxHeld: 20 })
  const from = (address: string) => world.enter(arrivalOf({ peer: peerOf(address) }))
  const mine = Array.from({ length: 3 }, () => from('192.0.2.1'))
  await settle()
  assert.deepEqual(
    mine.map(({ released }) => released),
    [undefined, undefined, { reason: 'overloaded' }],
  )
  for (let at = 2; at <= 10; at += 1) for (let call = 0; call < 2; call += 1) from(`192.0.2.${at}`)
  const late = from('192.0.2.11')
  await settle()
  assert.deepEqual(late.released, { reason: 'overloaded' })
  assert.equal(world.hold.verifying, 20)
  assert.equal(world.checks, 20)
  world.check.resolve(tokenOf('agent'))
  await settle()
  assert.equal(world.hold.verifying, 0)
})

it('a check that is not begun is one to come back for', async () => {
  const world = new World()
  world.credentials.set('agent', new Unverified(tokenOf('agent'), () => undefined))
  const entered = await world.hold.enter(arrivalOf(), () => {})
  assert.deepEqual(entered, { reason: 'overloaded' })
})
