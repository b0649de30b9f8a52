import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, it, mock } from 'node:test'
import fc from 'fast-check'
import type { Permit } from '../../../src/pipeline/admit.ts'
import type { Arrival } from '../../../src/pipeline/arrival.ts'
import { Fault, faultOf } from '../../../src/pipeline/fault.ts'
import { type Answered, OUTCOMES, type Refusal } from '../../../src/pipeline/outcome.ts'
import { type Exchange, serve } from '../../../src/pipeline/serve.ts'
import { arrivalOf, peerOf, settle, tokenOf, World } from './world.ts'

beforeEach(() => mock.timers.enable({ apis: ['setTimeout'] }))
afterEach(() => mock.timers.reset())

/** A request whose forwarding ends when and how the test says. */
class Scripted implements Exchange {
  readonly arrival: Arrival
  readonly bytesIn = 227
  readonly bytesOut = 5
  readonly refused: Refusal[] = []
  forwards = 0
  closed = 0
  isGone = false
  isDone = false
  readonly done: Promise<void>
  readonly #goneListeners: (() => void)[] = []
  #forwarding: { answer(how: Answered | Refusal): void; fail(thrown: unknown): void } | undefined

  constructor(world: World, arrival = arrivalOf()) {
    this.arrival = arrival
    this.done = serve(this, { ...world, faultOf }).then(() => {
      assert.equal(this.closed, 1)
      this.isDone = true
    })
  }

  get isForwarding(): boolean {
    return this.#forwarding !== undefined
  }

  forward(permit: Permit): Promise<Answered | Refusal> {
    assert.ok(permit.token.id)
    assert.equal(this.#forwarding, undefined, 'one at a time')
    this.forwards += 1
    return new Promise((settled, failed) => {
      this.#forwarding = {
        answer: settled,
        fail: failed,
      }
    })
  }

  close(): void {
    this.closed += 1
  }

  /** The collector took it or said no, or its body was at fault. */
  async answer(how: Answered | Refusal = 'accepted'): Promise<void> {
    const forwarding = this.#forwarding
    this.#forwarding = undefined
    forwarding?.answer(how)
    await settle()
  }

  async fail(thrown: unknown): Promise<void> {
    const forwarding = this.#forwarding
    this.#forwarding = undefined
    forwarding?.fail(thrown)
    await settle()
  }

  /** The client goes away. */
  async go(): Promise<void> {
    this.isGone = true
    for (const listener of this.#goneListeners.splice(0)) listener()
    await this.fail(new Fault('client_gone', 'client'))
  }

  refuse(refusal: Refusal): void {
    this.refused.push(refusal)
  }

  onGone(listener: () => void): void {
    if (this.isGone) listener()
    else this.#goneListeners.push(listener)
  }
}

const unsent = () => new Fault('collector_unavailable', 'collector', { canSendAgain: true })
const halfSent = () => new Fault('collector_unavailable', 'collector', { canSendAgain: false })

function outcomes(world: World): string[] {
  return world.ended.map(({ ending }) => ending.outcome)
}

describe('a request', () => {
  for (const how of ['accepted', 'collector_refused'] as const) {
    it(`that was answered ends as ${how}, its answer untouched`, async () => {
      const world = new World()
      const exchange = new Scripted(world)
      world.now += 12
      await exchange.answer(how)
      assert.equal(exchange.isDone, true)
      assert.deepEqual(exchange.refused, [])
      const [ended] = world.ended
      assert.deepEqual(ended?.ending, {
        outcome: how,
        token: tokenOf('agent'),
        refusal: undefined,
        durationMs: 12,
        bytesIn: 227,
        bytesOut: 5,
        cause: undefined,
      })
      assert.deepEqual(world.budgets.inFlight, { peers: 0, tokens: 0 })
    })
  }

  it('that is refused is never forwarded', async () => {
    const world = new World()
    const exchange = new Scripted(world, arrivalOf({ authorization: 'guess' }))
    await exchange.done
    assert.equal(exchange.forwards, 0)
    assert.deepEqual(exchange.refused, [{ reason: 'token_unknown' }])
    assert.deepEqual(outcomes(world), ['token_unknown'])
    assert.equal(world.ended[0]?.ending.token, undefined)
  })

  it('whose body turns out to be at fault ends as that', async () => {
    const world = new World()
    const exchange = new Scripted(world)
    await exchange.answer({ reason: 'too_large' })
    assert.deepEqual(exchange.refused, [{ reason: 'too_large' }])
    assert.deepEqual(outcomes(world), ['too_large'])
  })

  it('that was held and then admitted is forwarded once', async () => {
    const world = new World({ requests: { perSecond: 10, burst: 1 } })
    const first = new Scripted(world)
    const second = new Scripted(world)
    await first.answer()
    assert.equal(second.forwards, 0)
    await world.pass(110)
    assert.equal(second.forwards, 1)
    await second.answer()
    assert.deepEqual(outcomes(world), ['accepted', 'accepted'])
    assert.ok((world.ended[1]?.ending.durationMs ?? 0) >= 100, 'the wait is part of its duration')
  })

  it('that ends lets those go on who wait for its place', async () => {
    const world = new World({ inFlight: 1 })
    const first = new Scripted(world)
    const second = new Scripted(world)
    await first.answer()
    await world.pass(10)
    assert.equal(second.forwards, 1)
  })

  it('whose client goes while it waits is not answered', async () => {
    const world = new World()
    world.isCollectorThere = false
    const exchange = new Scripted(world)
    await exchange.go()
    assert.equal(exchange.isDone, true)
    assert.deepEqual(exchange.refused, [])
    assert.deepEqual(outcomes(world), ['client_gone'])
  })

  it('whose client goes while it is forwarded ends as client_gone', async () => {
    const world = new World()
    const exchange = new Scripted(world)
    await exchange.go()
    assert.deepEqual(outcomes(world), ['client_gone'])
    assert.deepEqual(world.budgets.inFlight, { peers: 0, tokens: 0 })
  })
})

describe('a request that fails', () => {
  it('is sent again, after growing pauses, while nothing of it was processed', async () => {
    const world = new World()
    const exchange = new Scripted(world)
    const sentAt = [0]
    const startMs = world.now
    for (let sends = 1; sends < 5; sends += 1) {
      await exchange.fail(unsent())
      while (!exchange.isForwarding) await world.pass(1)
      sentAt.push(world.now - startMs)
    }
    await exchange.fail(unsent())
    assert.equal(exchange.forwards, 5, 'and not for ever')
    assert.deepEqual(outcomes(world), ['collector_unavailable'])
    const pauses = sentAt.slice(1).map((ms, at) => ms - (sentAt[at] ?? 0))
    for (const [at, pause] of pauses.entries()) {
      assert.ok(pause >= (at + 1) * 100 && pause <= (at + 1) * 100 + 10, `${pauses}`)
    }
    assert.ok(world.ended[0]?.ending.cause instanceof Fault)
    assert.deepEqual(world.budgets.inFlight, { peers: 0, tokens: 0 })
  })

  it('is forgotten as failed when sending it again succeeds', async () => {
    const world = new World()
    const exchange = new Scripted(world)
    await exchange.fail(unsent())
    await world.pass(110)
    await exchange.answer()
    assert.deepEqual(outcomes(world), ['accepted'])
    assert.equal(world.ended[0]?.ending.cause, undefined)
    assert.deepEqual(exchange.refused, [])
  })

  it('is not sent again when some of it may have been processed', async () => {
    const world = new World()
    const exchange = new Scripted(world)
    await exchange.fail(halfSent())
    assert.equal(exchange.isDone, true)
    assert.equal(exchange.forwards, 1)
    assert.deepEqual(exchange.refused, [{ reason: 'collector_unavailable' }])
  })

  it('waits for the collector to be back before it is sent again', async () => {
    const world = new World()
    const exchange = new Scripted(world)
    world.isCollectorThere = false
    await exchange.fail(unsent())
    await world.pass(3000)
    assert.equal(exchange.forwards, 1)
    world.isCollectorThere = true
    world.hold.wake()
    await world.pass(10)
    assert.equal(exchange.forwards, 2)
    await exchange.answer()
    assert.deepEqual(outcomes(world), ['accepted'])
  })

  it('keeps its place in flight while it waits to be sent again', async () => {
    const world = new World({ inFlight: 1 })
    const exchange = new Scripted(world)
    world.isCollectorThere = false
    await exchange.fail(unsent())
    assert.deepEqual(world.budgets.inFlight, { peers: 1, tokens: 1 })
    await exchange.go()
    assert.deepEqual(outcomes(world), ['client_gone'])
    assert.deepEqual(world.budgets.inFlight, { peers: 0, tokens: 0 })
  })

  for (const thrown of [new TypeError('BUG: on purpose'), 'a text', undefined]) {
    it(`ends as internal for ${String(thrown)}`, async () => {
      const world = new World()
      const exchange = new Scripted(world)
      await exchange.fail(thrown)
      assert.equal(exchange.isDone, true)
      assert.deepEqual(exchange.refused, [{ reason: 'internal' }])
      assert.deepEqual(outcomes(world), ['internal'])
      assert.equal(world.ended[0]?.ending.cause, thrown)
      assert.deepEqual(world.budgets.inFlight, { peers: 0, tokens: 0 })
    })
  }

  it('in admission itself ends as internal, too', async () => {
    const world = new World()
    world.credentials.get = () => {
      throw new TypeError('BUG: on purpose')
    }
    const exchange = new Scripted(world)
    await exchange.done
    assert.deepEqual(exchange.refused, [{ reason: 'internal' }])
    assert.deepEqual(outcomes(world), ['internal'])
  })
})

describe('whatever happens, in whatever order', () => {
  const steps = fc.oneof(
    { weight: 6, arbitrary: fc.record({ do: fc.constant('arrive'), of: fc.nat(4) }) },
    { weight: 4, arbitrary: fc.record({ do: fc.constant('answer'), of: fc.nat() }) },
    { weight: 3, arbitrary: fc.record({ do: fc.constant('fail'), of: fc.nat() }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant('go'), of: fc.nat() }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant('collector'), of: fc.nat(1) }) },
    { weight: 6, arbitrary: fc.record({ do: fc.constant('pass'), of: fc.nat(400) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('refuse all'), of: fc.nat() }) },
  )
  const ARRIVALS = [
    arrivalOf(),
    arrivalOf({ authorization: 'second' }),
    arrivalOf({ peer: peerOf('198.51.100.1') }),
    arrivalOf({ authorization: 'guess', peer: peerOf('198.51.100.2') }),
    arrivalOf({ flaw: { reason: 'unknown_path' } }),
  ]
  const ANSWERS: readonly (Answered | Refusal)[] = [
    'accepted',
    'collector_refused',
    { reason: 'too_large' },
  ]

  it('arrivals = outcomes + in flight, and at the end nothing is left', async () => {
    const seen = new Set<string>()
    await fc.assert(
      fc.asyncProperty(fc.array(steps, { minLength: 40, maxLength: 80 }), async (script) => {
        const world = new World(
          { requests: { perSecond: 20, burst: 4 }, inFlight: 3 },
          { holdMs: 500, maxHeld: 30 },
        )
        world.credentials.set('second', tokenOf('second', { inFlight: 1 }))
        const exchanges: Scripted[] = []
        const open = () => exchanges.filter(({ isDone }) => !isDone)
        const check = () => {
          const inFlight = open()
          assert.equal(world.arrived.length, world.ended.length + inFlight.length)
          const forwarding = inFlight.filter(({ isForwarding }) => isForwarding)
          assert.equal(inFlight.length, forwarding.length + world.hold.held)
          assert.equal(world.held.length, world.waits.length + world.hold.held)
          assert.ok(world.hold.held <= 30)
        }
        for (const { do: what, of } of script) {
          const forwarding = open().filter(({ isForwarding }) => isForwarding)
          const one = forwarding[of % Math.max(1, forwarding.length)]
          const arrival = ARRIVALS[of]
          const anyone = open()[of % Math.max(1, open().length)]
          if (what === 'arrive' && arrival !== undefined) {
            exchanges.push(new Scripted(world, { ...arrival }))
          } else if (what === 'answer') await one?.answer(ANSWERS[of % ANSWERS.length])
          else if (what === 'fail') await one?.fail(of % 3 === 0 ? halfSent() : unsent())
          else if (what === 'go') await anyone?.go()
          else if (what === 'pass') await world.pass(of)
          else if (what === 'refuse all') world.hold.refuseAll({ reason: 'draining' })
          else if (what === 'collector') {
            world.isCollectorThere = of === 1
            world.hold.wake()
          }
          await settle()
          check()
        }
        world.isCollectorThere = true
        while (open().length > 0) {
          for (const exchange of open()) await exchange.answer()
          await world.pass(10)
          check()
        }
        assert.equal(world.ended.length, exchanges.length)
        assert.equal(new Set(world.ended.map(({ arrival }) => arrival)).size, exchanges.length)
        assert.deepEqual(world.budgets.inFlight, { peers: 0, tokens: 0 })
        assert.equal(world.hold.held, 0)
        for (const { ending } of world.ended) {
          assert.ok(OUTCOMES.includes(ending.outcome))
          seen.add(ending.outcome)
        }
        for (const { refused } of exchanges) assert.ok(refused.length <= 1)
      }),
      { numRuns: 60 },
    )
    for (const outcome of ['accepted', 'client_gone', 'collector_unavailable', 'rate_limited']) {
      assert.ok(seen.has(outcome), `${outcome} never happened: the property was hardly tried`)
    }
  })
})
