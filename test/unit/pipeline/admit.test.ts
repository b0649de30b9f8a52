import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { admit, Delay, Permit } from '../../../src/pipeline/admit.ts'
import type { Arrival } from '../../../src/pipeline/arrival.ts'
import type { TokenProblem } from '../../../src/pipeline/ports.ts'
import { Unverified } from '../../../src/pipeline/unverified.ts'
import { arrivalOf, peerOf, tokenOf, World } from './world.ts'

const PROBLEMS: readonly TokenProblem[] = [
  'token_missing',
  'token_unknown',
  'token_expired',
  'token_not_yet_valid',
  'tokens_unavailable',
  'scope_denied',
]

function ask(world: World, arrival: Arrival = arrivalOf(), isQueued = false) {
  return admit(arrival, world.admission, world.now, world.clock.wallMs(), () => isQueued)
}

/** A decision in one word. */
function word(decision: ReturnType<typeof admit>): string {
  if (decision instanceof Permit) return 'permit'
  if (decision instanceof Unverified) return 'unverified'
  return decision instanceof Delay ? `delay: ${decision.why}` : decision.reason
}

function ban(world: World): void {
  for (let at = 0; at < 5; at += 1) world.bans.strike(arrivalOf().peer, world.now)
}

describe('admission', () => {
  /** What may stand against a request, in the order in which it is judged. */
  const OBSTACLES = [
    'banned',
    'address used up',
    'flaw',
    'bad token',
    'scope',
    'token used up',
    'collector away',
    'queue',
  ] as const
  type Obstacle = (typeof OBSTACLES)[number]

  function meet(obstacles: ReadonlySet<Obstacle>, problem: TokenProblem): string {
    const rate = { perSecond: 1, burst: 1 }
    const world = new World({ requests: rate })
    const agent = tokenOf('agent', { requests: rate, scopes: new Set(['traces'] as const) })
    world.credentials.set('agent', obstacles.has('bad token') ? problem : agent)
    if (obstacles.has('banned')) ban(world)
    if (obstacles.has('address used up')) world.budgets.take(arrivalOf().peer, undefined, world.now)
    if (obstacles.has('token used up')) {
      world.budgets.take(peerOf('198.51.100.1'), agent, world.now)
    }
    world.isCollectorThere = !obstacles.has('collector away')
    const arrival = arrivalOf({
      signal: obstacles.has('scope') ? 'logs' : 'traces',
      flaw: obstacles.has('flaw') ? { reason: 'bad_content_type' } : undefined,
    })
    return word(ask(world, arrival, obstacles.has('queue')))
  }

  function expected(obstacles: ReadonlySet<Obstacle>, problem: TokenProblem): string {
    const isRefused = ['flaw', 'bad token', 'scope'].some((one) => obstacles.has(one as Obstacle))
    const answers: Readonly<Record<Obstacle, string>> = {
      banned: 'banned',
      // Who has a good token may wait for the address's budget, who has none is told to.
      'address used up': isRefused ? 'rate_limited' : 'delay: rate_limited',
      flaw: 'bad_content_type',
      'bad token': problem,
      scope: 'scope_denied',
      'token used up': 'delay: rate_limited',
      'collector away': 'delay: collector_unavailable',
      queue: 'delay: rate_limited',
    }
    const first = OBSTACLES.find((obstacle) => obstacles.has(obstacle))
    return first === undefined ? 'permit' : answers[first]
  }

  it('names the first obstacle of any set of them', () => {
    for (let bits = 0; bits < 2 ** OBSTACLES.length; bits += 1) {
      const obstacles = new Set(OBSTACLES.filter((_, at) => bits & (1 << at)))
      for (const problem of obstacles.has('bad token') ? PROBLEMS : PROBLEMS.slice(0, 1)) {
        const about = `${[...obstacles].join(', ')} (${problem})`
        assert.equal(meet(obstacles, problem), expected(obstacles, problem), about)
      }
    }
  })

  it('lets a request pass that names no signal or whose token has no scopes', () => {
    const world = new World()
    assert.equal(word(ask(world)), 'permit')
    world.credentials.set('agent', tokenOf('agent', { scopes: new Set(['logs'] as const) }))
    assert.equal(word(ask(world)), 'scope_denied')
    assert.equal(word(ask(world, arrivalOf({ signal: 'none' }))), 'permit')
  })

  it('says how long the ban and the empty budget last', () => {
    const world = new World({ requests: { perSecond: 1, burst: 1 } })
    ask(world)
    const delay = ask(world)
    assert.ok(delay instanceof Delay)
    assert.equal(delay.waitMs, 1000)
    assert.equal(delay.refusal().reason, 'rate_limited')
    assert.equal(delay.refusal().retryAfterMs, 1000)
    ban(world)
    const refusal = ask(world, arrivalOf({ authorization: 'guess' }))
    assert.deepEqual(refusal, { reason: 'banned', retryAfterMs: 3_600_000 })
  })

  it('refuses guesses above the address’s budget without looking at them, so they do not strike', () => {
    const world = new World({ requests: { perSecond: 1, burst: 3 } })
    for (let at = 0; at < 20; at += 1) ask(world, arrivalOf({ authorization: `guess ${at}` }))
    assert.equal(world.bans.isBanned(arrivalOf().peer, world.now), false)
    assert.equal(word(ask(world, arrivalOf({ authorization: 'guess' }))), 'rate_limited')
  })

  it('charges what it refuses to the address, and nothing to whom it has banned', () => {
    const rate = { perSecond: 1, burst: 10 }
    for (const difference of [
      { flaw: { reason: 'bad_method' } },
      { authorization: 'guess' },
      { signal: 'logs' },
    ] as const) {
      const world = new World({ requests: rate, inFlight: 1 })
      world.credentials.set('agent', tokenOf('agent', { scopes: new Set(['traces'] as const) }))
      ask(world, arrivalOf(difference))
      assert.equal(world.budgets.peek('203.0.113.7', world.now).remaining, 9)
      assert.deepEqual(world.budgets.inFlight, { peers: 0, tokens: 0 })
    }
    const world = new World({ requests: rate })
    ban(world)
    assert.equal(word(ask(world)), 'banned')
    assert.equal(world.budgets.peek('203.0.113.7', world.now).remaining, 10)
  })
})

describe('a strike', () => {
  for (const problem of PROBLEMS) {
    const strikes = problem === 'token_missing' || problem === 'token_unknown'
    it(`is ${strikes ? '' : 'not '}counted for ${problem}`, () => {
      const world = new World()
      world.credentials.set('agent', problem)
      for (let at = 0; at < 5; at += 1) assert.equal(word(ask(world)), problem)
      assert.equal(word(ask(world)), strikes ? 'banned' : problem)
    })
  }

  it('is not counted for a flaw, a scope or a used-up budget', () => {
    const world = new World({ inFlight: 1 })
    world.credentials.set('agent', tokenOf('agent', { scopes: new Set(['traces'] as const) }))
    const flaw = { reason: 'unknown_path' } as const
    for (let at = 0; at < 10; at += 1) {
      assert.equal(word(ask(world, arrivalOf({ flaw, authorization: 'guess' }))), 'unknown_path')
      assert.equal(word(ask(world, arrivalOf({ signal: 'logs' }))), 'scope_denied')
    }
    assert.equal(word(ask(world)), 'permit')
    for (let at = 0; at < 10; at += 1) assert.equal(word(ask(world)), 'delay: rate_limited')
    assert.equal(world.bans.isBanned(arrivalOf().peer, world.now), false)
  })
})

describe('a banned address', () => {
  it('lets the token pass that was admitted from there before, and no other', () => {
    const world = new World()
    world.credentials.set('second', tokenOf('second'))
    assert.equal(word(ask(world)), 'permit')
    ban(world)
    assert.equal(word(ask(world)), 'permit')
    assert.equal(word(ask(world, arrivalOf({ authorization: 'second' }))), 'banned')
    assert.equal(word(ask(world, arrivalOf({ authorization: 'guess' }))), 'banned')
    assert.equal(word(ask(world, arrivalOf({ authorization: undefined }))), 'banned')
  })

  it('is not opened by a token that was only refused or delayed there', () => {
    const world = new World({ inFlight: 0 })
    assert.equal(word(ask(world)), 'delay: rate_limited')
    world.isCollectorThere = false
    assert.equal(word(ask(world)), 'delay: rate_limited')
    ban(world)
    assert.equal(word(ask(world)), 'banned')
  })

  it('is shut to everybody once the token that was used from there is withdrawn', () => {
    const world = new World()
    ask(world)
    ban(world)
    world.credentials.delete('agent')
    assert.equal(word(ask(world)), 'banned')
  })
})

describe('a permit', () => {
  it('cannot be made by anybody but admission', () => {
    const world = new World()
    const forge = (permit: Permit) => permit
    // @ts-expect-error the constructor is private
    forge(new Permit(arrivalOf(), tokenOf('agent'), world.budgets))
    const lookalike = { token: tokenOf('agent'), chargeBytes() {}, release() {} }
    // @ts-expect-error what only looks like a permit lacks its private fields
    forge(lookalike)
    // @ts-expect-error a refusal is not a permit
    forge({ reason: 'rate_limited' })
  })

  it('holds one place in flight of the address and of the token until it is released', () => {
    const world = new World({ inFlight: 1 })
    const permit = ask(world)
    assert.ok(permit instanceof Permit)
    assert.deepEqual(world.budgets.inFlight, { peers: 1, tokens: 1 })
    assert.equal(word(ask(world)), 'delay: rate_limited')
    permit.release()
    permit.release()
    assert.deepEqual(world.budgets.inFlight, { peers: 0, tokens: 0 })
    assert.equal(word(ask(world)), 'permit')
  })

  it('charges bytes to both', () => {
    const world = new World({ bytes: { perSecond: 1000, burst: 1000 } })
    const permit = ask(world)
    assert.ok(permit instanceof Permit)
    assert.equal(permit.token.id, 'agent')
    permit.chargeBytes(2000, world.now)
    assert.equal(world.budgets.waitMs(arrivalOf().peer, undefined, world.now), 1001)
  })

  it('is what marks a token as used', () => {
    const world = new World({ inFlight: 1 })
    ask(world)
    ask(world)
    ask(world, arrivalOf({ authorization: 'guess' }))
    assert.deepEqual(world.used, ['agent'])
  })
})

describe('a credential that takes time to check', () => {
  const unverified = new Unverified(tokenOf('somebody'), () => undefined)
  const world = (limits = {}) => {
    const made = new World(limits)
    made.credentials.set('agent', unverified)
    return made
  }

  it('comes back unverified for the price of a request, and nothing is counted or vouched for', () => {
    const here = world({ requests: { perSecond: 1, burst: 2 }, inFlight: 1 })
    assert.equal(ask(here), unverified)
    assert.equal(ask(here), unverified)
    assert.equal(word(ask(here)), 'rate_limited')
    assert.deepEqual(here.used, [])
    assert.equal(here.bans.isVouched(arrivalOf().peer, unverified.claimed, here.now), false)
  })

  it('is not checked where the request is refused anyway', () => {
    const here = world()
    const arrival = arrivalOf({ flaw: { reason: 'unknown_path' } })
    assert.equal(word(ask(here, arrival)), 'unknown_path')
  })

  it('is not checked for an address whose budget is used up', () => {
    const here = world({ requests: { perSecond: 1, burst: 1 } })
    here.budgets.take(arrivalOf().peer, undefined, here.now)
    assert.equal(word(ask(here)), 'rate_limited')
  })

  it('is checked all the same for who has been here with a good token', () => {
    const here = world({ requests: { perSecond: 1, burst: 1 } })
    here.budgets.take(arrivalOf().peer, undefined, here.now)
    here.bans.vouch(arrivalOf().peer, unverified.claimed, here.now)
    assert.equal(ask(here), unverified)
  })

  it('is not checked for a banned address, unless what it claims to be has been used from there', () => {
    const here = world()
    ban(here)
    assert.equal(word(ask(here)), 'banned')
    here.bans.vouch(arrivalOf().peer, unverified.claimed, here.now)
    assert.equal(ask(here), unverified)
  })

  it('is judged by what the check said, and one that is bad has paid already', () => {
    const here = world({ requests: { perSecond: 1, burst: 1 } })
    const judge = (checked: Parameters<typeof admit>[5]) =>
      admit(arrivalOf(), here.admission, here.now, here.clock.wallMs(), undefined, checked)
    assert.equal(word(judge('token_expired')), 'token_expired')
    assert.equal(word(judge(tokenOf('somebody'))), 'permit')
    assert.equal(word(judge(tokenOf('somebody'))), 'delay: rate_limited')
    assert.deepEqual(here.used, ['somebody'])
    for (let at = 0; at < 5; at += 1) assert.equal(word(judge('token_unknown')), 'token_unknown')
    assert.equal(here.bans.isBanned(arrivalOf().peer, here.now), true)
  })
})
