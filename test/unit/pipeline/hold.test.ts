import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, it, mock } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { Permit } from '../../../src/pipeline/admit.ts'
import type { Arrival } from '../../../src/pipeline/arrival.ts'
import { Hold, type Released } from '../../../src/pipeline/hold.ts'
import type { Budgets } from '../../../src/pipeline/ports.ts'
import { arrivalOf, peerOf, settle, tokenOf, World } from './world.ts'

beforeEach(() => mock.timers.enable({ apis: ['setTimeout'] }))
afterEach(() => mock.timers.reset())

/** Enters a call and writes down how and when it was let go. */
class Caller {
  readonly name: string
  released: Released | undefined
  permit: Permit | undefined
  leave: () => void = () => {}
  /** Whether it had to wait at all. */
  readonly isHeld: boolean

  constructor(world: World, name: string, log: string[], arrival: Arrival = arrivalOf()) {
    this.name = name
    const note = (released: Released) => {
      this.released = released
      if (released instanceof Permit) this.permit = released
      const how = released === 'gone' ? 'gone' : released instanceof Permit ? '' : released.reason
      log.push(`${name}${how === '' ? '' : `: ${how}`}`)
    }
    const entered = world.hold.enter(arrival, (leave) => {
      this.leave = leave
    })
    this.isHeld = entered instanceof Promise
    if (entered instanceof Promise) entered.then(note)
    else note(entered)
  }
}

const TEN_A_SECOND = { perSecond: 10, burst: 1 }

describe('a call over its rate', () => {
  it('waits for budget and leaves in the order it came', async () => {
    const world = new World({ requests: TEN_A_SECOND })
    const log: string[] = []
    for (const name of ['a', 'b', 'c', 'd']) new Caller(world, name, log)
    assert.deepEqual(log, ['a'])
    assert.equal(world.hold.held, 3)
    await world.pass(95)
    assert.deepEqual(log, ['a'])
    await world.pass(10)
    assert.deepEqual(log, ['a', 'b'])
    await world.pass(300)
    assert.deepEqual(log, ['a', 'b', 'c', 'd'])
    assert.equal(world.hold.held, 0)
    assert.deepEqual(
      world.waits.map(({ why, how }) => `${why} ${how}`),
      ['rate_limited saved', 'rate_limited saved', 'rate_limited saved'],
    )
  })

  it('never leaves faster than the budget allows', async () => {
    const world = new World({ requests: { perSecond: 100, burst: 5 } })
    const log: string[] = []
    for (let at = 0; at < 90; at += 1) new Caller(world, `${at}`, log)
    for (let ms = 1; ms <= 850; ms += 1) {
      await world.pass(1)
      assert.ok(log.length <= 5 + ms / 10 + 1e-9, `${log.length} after ${ms} ms`)
    }
    assert.ok(log.length > 80, `${log.length}: nor much slower`)
  })

  it('does not overtake: who comes when the budget is full again queues behind who waits', async () => {
    const world = new World({ requests: TEN_A_SECOND })
    const log: string[] = []
    new Caller(world, 'first', log)
    new Caller(world, 'waiting', log)
    world.now += 100
    const late = new Caller(world, 'late', log)
    assert.equal(late.isHeld, true)
    await world.pass(300)
    assert.deepEqual(log, ['first', 'waiting', 'late'])
  })

  it('does not keep those waiting who need neither its address’s nor its token’s budget', () => {
    const world = new World({ requests: TEN_A_SECOND })
    world.credentials.set('second', tokenOf('second'))
    const log: string[] = []
    new Caller(world, 'a', log)
    new Caller(world, 'waiting', log)
    const elsewhere = arrivalOf({ peer: peerOf('198.51.100.1'), authorization: 'second' })
    new Caller(world, 'other', log, elsewhere)
    assert.deepEqual(log, ['a', 'other'])
  })

  it('is refused at once where it could not make it in time', () => {
    const world = new World({ requests: { perSecond: 0.1, burst: 1 } })
    const log: string[] = []
    new Caller(world, 'a', log)
    new Caller(world, 'b', log)
    assert.deepEqual(log, ['a', 'b: rate_limited'])
  })

  it('is refused when it has waited for the longest time', async () => {
    const world = new World({ requests: { perSecond: 0.2, burst: 1 } })
    const log: string[] = []
    for (const name of ['a', 'b', 'c']) new Caller(world, name, log)
    await world.pass(7999)
    assert.deepEqual(log, ['a', 'b'])
    await world.pass(2)
    assert.deepEqual(log, ['a', 'b', 'c: rate_limited'])
    assert.deepEqual(world.waits.at(-1), { why: 'rate_limited', how: 'refused', waitedMs: 8000 })
  })

  it('is refused a quarter of a second before its client gives up', async () => {
    const world = new World({ requests: { perSecond: 0.5, burst: 1 } })
    const log: string[] = []
    new Caller(world, 'a', log)
    const hopeless = arrivalOf({ deadlineMs: world.now + 2200 })
    new Caller(world, 'hopeless', log, hopeless)
    assert.deepEqual(log, ['a', 'hopeless: rate_limited'], 'its turn would come after 2000 ms')
    new Caller(world, 'b', log, arrivalOf({ deadlineMs: world.now + 2300 }))
    new Caller(world, 'c', log, arrivalOf({ deadlineMs: world.now + 3000 }))
    await world.pass(2749)
    assert.deepEqual(log.slice(2), ['b'])
    await world.pass(1)
    assert.deepEqual(log.slice(2), ['b', 'c: rate_limited'])
  })

  it('is refused at once with waiting turned off', () => {
    const world = new World({ requests: TEN_A_SECOND }, { holdMs: 0 })
    const log: string[] = []
    for (const name of ['a', 'b']) new Caller(world, name, log)
    world.isCollectorThere = false
    new Caller(world, 'c', log, arrivalOf({ peer: peerOf('198.51.100.1') }))
    assert.deepEqual(log, ['a', 'b: rate_limited', 'c: collector_unavailable'])
    assert.deepEqual(world.held, [])
  })

  it('waits for a place in flight until one is given back', async () => {
    const world = new World({ inFlight: 1 })
    const log: string[] = []
    const first = new Caller(world, 'a', log)
    new Caller(world, 'b', log)
    await world.pass(1000)
    assert.deepEqual(log, ['a'])
    first.permit?.release()
    world.hold.wake()
    await world.pass(10)
    assert.deepEqual(log, ['a', 'b'])
  })

  it('is judged again when its turn comes', async () => {
    const world = new World({ requests: TEN_A_SECOND })
    const log: string[] = []
    for (const name of ['a', 'b']) new Caller(world, name, log)
    world.credentials.set('agent', 'token_expired')
    await world.pass(110)
    assert.deepEqual(log, ['a', 'b: token_expired'])
  })

  it('leaves its place when its client goes', async () => {
    const world = new World({ requests: TEN_A_SECOND })
    const log: string[] = []
    const callers = ['a', 'b', 'c'].map((name) => new Caller(world, name, log))
    callers[1]?.leave()
    await settle()
    assert.deepEqual(log, ['a', 'b: gone'])
    assert.equal(world.hold.held, 1)
    await world.pass(110)
    assert.deepEqual(log, ['a', 'b: gone', 'c'])
    callers[1]?.leave()
    callers[2]?.leave()
    assert.deepEqual(
      world.waits.map(({ how }) => how),
      ['gone', 'saved'],
    )
  })

  it('whose client has gone already is not kept', async () => {
    const world = new World({ requests: TEN_A_SECOND })
    world.hold.enter(arrivalOf(), () => {})
    const entered = world.hold.enter(arrivalOf(), (leave) => leave())
    assert.equal(await entered, 'gone')
    assert.equal(world.hold.held, 0)
  })
})

describe('between holders', () => {
  it('turns go round: who has one call waiting leaves in the first round, however many another has', async () => {
    const world = new World({ requests: TEN_A_SECOND })
    world.credentials.set('busy', tokenOf('busy'))
    world.credentials.set('modest', tokenOf('modest'))
    const log: string[] = []
    const busy = arrivalOf({ authorization: 'busy' })
    for (let at = 0; at <= 50; at += 1) new Caller(world, `busy ${at}`, log, busy)
    new Caller(world, 'modest', log, arrivalOf({ authorization: 'modest' }))
    assert.equal(world.hold.held, 51)
    await world.pass(220)
    assert.deepEqual(log, ['busy 0', 'busy 1', 'modest'])
  })

  it('each leaves in turn, in its own order', async () => {
    const world = new World({ requests: TEN_A_SECOND })
    const log: string[] = []
    world.budgets.take(peerOf('203.0.113.7'), undefined, world.now)
    for (const name of ['x', 'y', 'z']) {
      world.credentials.set(name, tokenOf(name))
      const arrival = arrivalOf({ authorization: name })
      for (let at = 1; at <= 3; at += 1) new Caller(world, `${name}${at}`, log, arrival)
    }
    await world.pass(1000)
    assert.deepEqual(log, ['x1', 'y1', 'z1', 'x2', 'y2', 'z2', 'x3', 'y3', 'z3'])
  })

  it('one that waits for its own budget does not stop another behind the same address', async () => {
    const world = new World()
    world.credentials.set('slow', tokenOf('slow', { requests: { perSecond: 0.2, burst: 1 } }))
    const log: string[] = []
    const slow = arrivalOf({ authorization: 'slow' })
    new Caller(world, 'slow 1', log, slow)
    new Caller(world, 'slow 2', log, slow)
    new Caller(world, 'fast', log)
    await world.pass(10)
    assert.deepEqual(log, ['slow 1', 'fast'])
  })
})

describe('the places to wait', () => {
  it('are bounded over all', () => {
    const world = new World({}, { maxHeld: 20 })
    world.isCollectorThere = false
    const log: string[] = []
    for (let at = 0; at < 30; at += 1) {
      world.credentials.set(`t${at}`, tokenOf(`t${at}`))
      new Caller(world, `t${at}`, log, arrivalOf({ authorization: `t${at}` }))
    }
    assert.equal(world.hold.held, 20)
    assert.equal(log.length, 10)
    assert.equal(log[0], 't20: collector_unavailable')
  })

  it('are a tenth for one token, wherever it is used from, and one at least', () => {
    for (const [maxHeld, places] of [
      [1000, 100],
      [20, 2],
      [3, 1],
    ] as const) {
      const world = new World({}, { maxHeld })
      world.isCollectorThere = false
      const log: string[] = []
      for (let at = 0; at < 150; at += 1) {
        new Caller(world, 'x', log, arrivalOf({ peer: peerOf(`198.51.100.${at}`) }))
      }
      assert.equal(world.hold.held, places)
      assert.equal(log.length, 150 - places)
    }
  })

  it('are free again for others when somebody leaves', async () => {
    const world = new World({}, { maxHeld: 1 })
    world.isCollectorThere = false
    const log: string[] = []
    const first = new Caller(world, 'a', log)
    new Caller(world, 'b', log)
    first.leave()
    await settle()
    assert.equal(new Caller(world, 'c', log).isHeld, true)
    assert.deepEqual(log, ['b: collector_unavailable', 'a: gone'])
  })

  it('are none with a bound of none', () => {
    const world = new World({}, { maxHeld: 0 })
    world.isCollectorThere = false
    const log: string[] = []
    new Caller(world, 'a', log)
    assert.deepEqual(log, ['a: collector_unavailable'])
  })
})

describe('while the collector is away', () => {
  it('calls wait, and all go on when it is back', async () => {
    const world = new World()
    world.isCollectorThere = false
    const log: string[] = []
    for (const name of ['a', 'b', 'c']) new Caller(world, name, log)
    await world.pass(5000)
    assert.deepEqual(log, [])
    world.isCollectorThere = true
    world.hold.wake()
    await world.pass(10)
    assert.deepEqual(log, ['a', 'b', 'c'])
    assert.deepEqual(world.held, Array(3).fill('collector_unavailable'))
  })

  it('waking in vain changes nothing', async () => {
    const world = new World()
    world.isCollectorThere = false
    const log: string[] = []
    new Caller(world, 'a', log)
    for (let at = 0; at < 10; at += 1) {
      world.hold.wake()
      await world.pass(7)
    }
    assert.deepEqual(log, [])
    assert.equal(world.hold.held, 1)
  })

  it('they are refused as unavailable at the end', async () => {
    const world = new World()
    world.isCollectorThere = false
    const log: string[] = []
    new Caller(world, 'a', log)
    new Caller(world, 'impatient', log, arrivalOf({ deadlineMs: world.now + 1000 }))
    await world.pass(750)
    assert.deepEqual(log, ['impatient: collector_unavailable'])
    await world.pass(7250)
    assert.deepEqual(log.slice(1), ['a: collector_unavailable'])
  })

  it('those who come back within their rate leave at their rate', async () => {
    const world = new World({ requests: TEN_A_SECOND })
    world.isCollectorThere = false
    const log: string[] = []
    for (const name of ['a', 'b', 'c']) new Caller(world, name, log)
    await world.pass(1000)
    world.isCollectorThere = true
    world.hold.wake()
    await world.pass(10)
    assert.deepEqual(log, ['a'])
    await world.pass(210)
    assert.deepEqual(log, ['a', 'b', 'c'])
    const told = world.waits.map(({ why, how }) => `${why} ${how}`)
    assert.deepEqual(told, Array(3).fill('collector_unavailable saved'), 'the reason it began with')
  })
})

describe('a call that keeps its permit to be sent again', () => {
  function admitted(world: World): Permit {
    const permit = world.hold.enter(arrivalOf(), () => {})
    assert.ok(permit instanceof Permit)
    return permit
  }

  it('pauses, then goes on with the same permit', async () => {
    const world = new World()
    const permit = admitted(world)
    let released: Released | undefined
    const wait = world.hold.again(arrivalOf(), permit, 200, world.now, () => {})
    assert.ok(wait instanceof Promise)
    wait.then((how) => {
      released = how
    })
    await world.pass(199)
    assert.equal(released, undefined)
    await world.pass(10)
    assert.equal(released, permit)
  })

  it('does not wait behind calls that wait for its own place in flight', async () => {
    const world = new World({ inFlight: 1 })
    const permit = admitted(world)
    const log: string[] = []
    new Caller(world, 'waiting', log)
    let released: Released | undefined
    const wait = world.hold.again(arrivalOf(), permit, 100, world.now, () => {})
    assert.ok(wait instanceof Promise)
    wait.then((how) => {
      released = how
    })
    await world.pass(110)
    assert.equal(released, permit)
    assert.deepEqual(log, [])
  })

  it('does not make new calls wait', async () => {
    const world = new World()
    world.hold.again(arrivalOf(), admitted(world), 400, world.now, () => {})
    const log: string[] = []
    assert.equal(new Caller(world, 'new', log).isHeld, false)
  })

  it('waits no longer than holdMs since the call came', async () => {
    const world = new World()
    const permit = admitted(world)
    const startMs = world.now
    await world.pass(7000)
    world.isCollectorThere = false
    let released: Released | undefined
    const wait = world.hold.again(arrivalOf(), permit, 100, startMs, () => {})
    assert.ok(wait instanceof Promise)
    wait.then((how) => {
      released = how
    })
    await world.pass(999)
    assert.equal(released, undefined)
    await world.pass(1)
    assert.deepEqual(released, { reason: 'collector_unavailable' })
    const tooLate = world.hold.again(arrivalOf(), permit, 100, startMs, () => {})
    assert.deepEqual(tooLate, { reason: 'collector_unavailable' })
  })
})

describe('the end', () => {
  it('refuses all who wait, at once', async () => {
    const world = new World({ requests: TEN_A_SECOND })
    const log: string[] = []
    for (const name of ['a', 'b', 'c']) new Caller(world, name, log)
    world.isCollectorThere = false
    new Caller(world, 'd', log, arrivalOf({ peer: peerOf('198.51.100.1') }))
    world.hold.refuseAll({ reason: 'draining' })
    await settle()
    assert.deepEqual(log, ['a', 'b: draining', 'c: draining', 'd: draining'])
    assert.equal(world.hold.held, 0)
    await world.pass(9000)
    assert.equal(log.length, 4)
    assert.equal(world.waits.length, 3)
  })
})

describe('the queue', () => {
  it('survives what is thrown when a call is asked again, which ends that call alone', async () => {
    const world = new World({ requests: TEN_A_SECOND })
    const log: string[] = []
    new Caller(world, 'a', log)
    const broken = arrivalOf({ authorization: 'broken' })
    world.credentials.set('broken', tokenOf('broken'))
    const wait = world.hold.enter(broken, () => {})
    assert.ok(wait instanceof Promise)
    const failed = assert.rejects(wait, /BUG/)
    new Caller(world, 'b', log)
    const get = world.credentials.get.bind(world.credentials)
    world.credentials.get = (name) => {
      if (name === 'broken') throw new TypeError('BUG: on purpose')
      return get(name)
    }
    await world.pass(110)
    await failed
    assert.deepEqual(log, ['a', 'b'])
    assert.equal(world.hold.held, 0)
  })

  it('sets no timer beyond the longest wait, however large a debt has become', async () => {
    mock.timers.reset()
    const warnings: Error[] = []
    const note = (warning: Error) => warnings.push(warning)
    process.on('warning', note)
    const world = new World()
    let waitMs = 20
    const budgets: Budgets = Object.assign(Object.create(world.budgets), {
      waitMs: () => waitMs,
    })
    const admission = { ...world.admission, budgets }
    const clock = { nowMs: () => performance.now(), wallMs: () => Date.now() }
    const hold = new Hold({ holdMs: 100, maxHeld: 10 }, admission, clock, world.journal)
    const wait = hold.enter(arrivalOf(), () => {})
    assert.ok(wait instanceof Promise)
    waitMs = 2 ** 40
    const released = await wait
    await sleep(1)
    process.off('warning', note)
    assert.ok(!(released instanceof Permit) && released !== 'gone')
    assert.equal(released.reason, 'rate_limited')
    assert.deepEqual(warnings, [])
  })
})
