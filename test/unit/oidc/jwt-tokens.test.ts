import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import type { ClaimRules } from '../../../src/oidc/claims.ts'
import { Unverified } from '../../../src/pipeline/unverified.ts'
import { type SigningKey, sign, signingKey } from '../../support/signing.ts'
import { settle, tokenOf } from '../pipeline/world.ts'
import { FakeIssuer, ISSUER, JwtWorld, PEER } from './world.ts'

const KEY = await signingKey('key-1')
const OTHER_KEY = await signingKey('key-2')

async function start(
  t: TestContext,
  rules: Partial<ClaimRules> = {},
  keys: readonly SigningKey[] = [KEY],
): Promise<{ world: JwtWorld; fake: FakeIssuer }> {
  const fake = new FakeIssuer(ISSUER, keys)
  const world = new JwtWorld([fake], rules)
  t.after(() => world.close())
  await world.start()
  return { world, fake }
}

/** Asserts a token and returns it. */
async function token(world: JwtWorld, text: string) {
  const judged = await world.judge(text)
  assert.ok(typeof judged === 'object', `a token, not ${String(judged)}`)
  return judged
}

describe('a JWT', () => {
  it('is unverified when it is first seen, checked once, and then a look-up', async (t) => {
    const { world } = await start(t)
    const text = await world.signed(KEY)
    const first = world.ask(text)
    const second = world.ask(text)
    assert.ok(first instanceof Unverified && second instanceof Unverified)
    assert.equal(first.check(), second.check(), 'calls with the same JWT share a check')
    const checked = await first.check()
    assert.equal(world.ask(text), checked)
    assert.equal(world.count('verified'), 1)
  })

  it('makes a token of its subject: the same id for each of its JWTs', async (t) => {
    const { world } = await start(t)
    const one = await token(world, await world.signed(KEY, { jti: '1' }))
    const two = await token(world, await world.signed(KEY, { jti: '2' }))
    const other = await token(world, await world.signed(KEY, { sub: 'other' }))
    assert.match(one.id, /^jwt:[0-9a-f]{16}$/)
    assert.equal(two.id, one.id)
    assert.notEqual(other.id, one.id)
    assert.equal(one.holder, 'shop')
  })

  it('is the same behind `bearer` in any letters and with spaces around it', async (t) => {
    const { world } = await start(t)
    const text = await world.signed(KEY)
    const known = await token(world, text)
    for (const header of [`bearer ${text}`, `BEARER  ${text} `, `Bearer ${text}\n`])
      assert.equal(world.tokens.verify(header, PEER, world.clock.wallMs()), known)
  })

  it('is asked of the set first, and is what the set says it is', async (t) => {
    const { world } = await start(t)
    const text = await world.signed(KEY)
    for (const said of [tokenOf('of-the-set'), 'token_expired', 'scope_denied'] as const) {
      world.ofSet = said
      assert.equal(world.ask(text), said)
    }
  })

  it('is good while the set has never been read', async (t) => {
    const { world } = await start(t)
    world.ofSet = 'tokens_unavailable'
    assert.equal(typeof (await world.judge(await world.signed(KEY))), 'object')
    const foreign = await sign(KEY, { ...world.claims(), iss: 'https://elsewhere.example' })
    assert.equal(await world.judge(foreign), 'tokens_unavailable')
    assert.equal(world.ask('no-jwt'), 'tokens_unavailable')
  })

  it('expires, leeway included, without another check', async (t) => {
    const { world } = await start(t)
    const text = await world.signed(KEY)
    await token(world, text)
    world.now += 329_999
    assert.equal(typeof world.ask(text), 'object')
    world.now += 1
    assert.equal(world.ask(text), 'token_expired')
    assert.equal(await world.judge(await world.signed(KEY, { exp: 1 })), 'token_expired')
    assert.equal(world.count('expired'), 1)
  })

  it('is not valid before its time, also when the clock is set back', async (t) => {
    const { world } = await start(t)
    const seconds = Math.floor(world.clock.wallMs() / 1000)
    const early = await world.signed(KEY, { nbf: seconds + 31 })
    assert.equal(world.ask(early), 'token_not_yet_valid')
    world.now += 1000
    await token(world, early)
    world.now -= 1000
    assert.equal(world.ask(early), 'token_not_yet_valid')
  })

  it('that is bad is remembered for a moment, and its signature is not looked at again', async (t) => {
    const { world } = await start(t)
    const good = await world.signed(KEY)
    const bad = `${good.slice(0, -8)}AAAAAAAA`
    assert.equal(await world.judge(bad), 'token_unknown')
    assert.equal(world.count('signature'), 1)
    assert.equal(world.ask(bad), 'token_unknown')
    assert.equal(world.count('signature'), 1)
    world.now += 10_000
    assert.ok(world.ask(bad) instanceof Unverified)
  })

  it('is counted under its subject', async (t) => {
    const { world } = await start(t)
    const arrival = { signal: 'traces', peer: PEER } as never
    for (const jti of ['1', '2']) {
      const shop = await token(world, await world.signed(KEY, { jti }))
      world.tokens.used(shop, arrival, world.clock.wallMs())
      world.now += 1
    }
    world.tokens.used(tokenOf('of-the-set'), arrival, world.clock.wallMs())
    const [usage, ...rest] = world.tokens.usage()
    assert.equal(usage?.requests, 2)
    assert.equal(usage.holder, 'shop')
    assert.equal((usage.lastUsedMs ?? 0) - (usage.firstUsedMs ?? 0), 1)
    assert.deepEqual(rest, [])
    assert.deepEqual(world.usedOfSet, ['of-the-set'])
  })

  it('is verified again after a reload, with the keys as they are then', async (t) => {
    const { world, fake } = await start(t)
    const text = await world.signed(KEY)
    await token(world, text)
    fake.keys = [OTHER_KEY.jwk]
    world.now += 5000
    await world.tokens.reload()
    // The read for its key may come at once: it is five seconds since the last.
    world.now += 5000
    assert.equal(await world.judge(text), 'token_unknown')
    assert.equal(world.count('unknown_key'), 1)
  })
})

describe('the keys', () => {
  it('are read again for a name that is not known, and the JWT waits for that', async (t) => {
    const { world, fake } = await start(t)
    world.now += 5000
    fake.keys = [KEY.jwk, OTHER_KEY.jwk]
    const reads = fake.asked.length
    await token(world, await world.signed(OTHER_KEY))
    assert.equal(fake.asked.length, reads + 2)
    await token(world, await world.signed(KEY))
  })

  it('that have never been read make a JWT wait for the read under way', async (t) => {
    const fake = new FakeIssuer(ISSUER, [KEY])
    const gate = Promise.withResolvers<void>()
    fake.gate = gate.promise
    const world = new JwtWorld([fake])
    t.after(() => world.close())
    for (const issuer of world.issuers) issuer.start()
    const judged = world.judge(await world.signed(KEY))
    gate.resolve()
    assert.equal(typeof (await judged), 'object')
  })

  it('that have never been read, by an issuer that is away, are nobody’s fault', async (t) => {
    const fake = new FakeIssuer(ISSUER, [KEY])
    fake.keys = undefined
    const world = new JwtWorld([fake])
    t.after(() => world.close())
    for (const issuer of world.issuers) issuer.start()
    assert.equal(await world.judge(await world.signed(KEY)), 'tokens_unavailable')
    assert.equal(world.ask(await world.signed(KEY, { jti: '2' })), 'tokens_unavailable')
    assert.equal(world.ask('eyJub3Qi.YSBqd3Q.cGxlYXNl'), 'token_unknown')
  })

  it('stay while the issuer is away', async (t) => {
    const { world, fake } = await start(t)
    fake.keys = undefined
    world.now += 5000
    await world.issuers[0]?.refreshed()
    assert.equal(world.issuers[0]?.isGood, false)
    await token(world, await world.signed(KEY))
  })

  it('of one issuer are not those of another, whatever their names', async (t) => {
    const namesake = await signingKey('key-1')
    const other = 'https://other.example'
    const world = new JwtWorld([new FakeIssuer(ISSUER, [KEY]), new FakeIssuer(other, [namesake])])
    t.after(() => world.close())
    await world.start()
    await token(world, await world.signed(namesake, { iss: other }))
    assert.equal(await world.judge(await world.signed(namesake)), 'token_unknown')
    assert.equal(world.count('signature'), 1)
    const one = await token(world, await world.signed(KEY))
    const two = await token(world, await world.signed(namesake, { iss: other }))
    assert.notEqual(one.id, two.id)
  })

  it('need no name where there is one only', async (t) => {
    const { world } = await start(t)
    await token(world, await sign(KEY, world.claims(), { kid: undefined }))
    const { world: two } = await start(t, {}, [KEY, OTHER_KEY])
    assert.equal(
      await two.judge(await sign(KEY, two.claims(), { kid: undefined })),
      'token_unknown',
    )
    assert.equal(two.count('unknown_key'), 1)
  })
})

describe('bounds', () => {
  it('an address may have 64 checks at once', async (t) => {
    const { world } = await start(t)
    const unknown = (kid: string) =>
      sign(KEY, world.claims(), { kid }).then((text) => world.ask(text))
    for (let at = 0; at < 64; at += 1) {
      const said = await unknown(`kid-${at}`)
      assert.ok(said instanceof Unverified)
      // They wait for keys to be read again, which is not yet time for.
      assert.ok(said.check() !== undefined)
    }
    const more = await unknown('kid-64')
    assert.ok(more instanceof Unverified)
    assert.equal(more.check(), undefined)
    assert.equal(world.count('overloaded'), 1)
    const elsewhere = world.ask(await world.signed(KEY), { key: 'other', address: 'other' })
    assert.ok(elsewhere instanceof Unverified)
    assert.equal(typeof (await elsewhere.check()), 'object')
  })

  it('unknown names of keys are asked for once in five seconds', async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] })
    const { world, fake } = await start(t)
    world.now += 5000
    const reads = fake.asked.length
    const texts = await Promise.all(
      ['a', 'b', 'c'].map((kid) => sign(KEY, world.claims(), { kid })),
    )
    const judged = Promise.all(texts.map((text) => world.judge(text)))
    await world.issuers[0]?.reading
    await settle()
    assert.equal(fake.asked.length, reads + 2, 'the first has them read at once')
    world.now += 4999
    t.mock.timers.tick(4999)
    await settle()
    assert.equal(fake.asked.length, reads + 2, 'the others wait')
    world.now += 1
    t.mock.timers.tick(1)
    assert.deepEqual(await judged, ['token_unknown', 'token_unknown', 'token_unknown'])
    assert.equal(fake.asked.length, reads + 4)
  })

  it('a rotation is read once, whoever asks', async (t) => {
    const { world, fake } = await start(t)
    world.now += 5000
    fake.keys = [OTHER_KEY.jwk]
    const reads = fake.asked.length
    const subjects = ['a', 'b', 'c', 'd']
    const texts = await Promise.all(subjects.map((sub) => world.signed(OTHER_KEY, { sub })))
    const judged = await Promise.all(texts.map((text) => token(world, text)))
    assert.deepEqual(
      judged.map(({ holder }) => holder),
      subjects,
    )
    assert.equal(fake.asked.length, reads + 2)
  })
})
