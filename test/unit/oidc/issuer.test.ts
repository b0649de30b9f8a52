import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import { Issuer, type IssuerOptions } from '../../../src/oidc/issuer.ts'
import { keySetFrom } from '../../../src/oidc/key-set.ts'
import { signingKey } from '../../support/signing.ts'
import { settle } from '../pipeline/world.ts'
import { FakeIssuer, ISSUER } from './world.ts'

const KEY = await signingKey('key-1')
const OTHER_KEY = await signingKey('key-2')

/** An issuer, what it told of its reads, and a clock that moves its timers. */
function start(t: TestContext, fake: FakeIssuer, options: Partial<IssuerOptions> = {}) {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  let now = 1_000_000
  const told: (string | undefined)[] = []
  const issuer = new Issuer({
    url: fake.url,
    jwksUrl: undefined,
    fetch: fake.fetch,
    clock: { nowMs: () => now, wallMs: () => now + 1.8e12 },
    onRead: (problem) => told.push(problem),
    ...options,
  })
  t.after(() => issuer.close())
  issuer.start()
  const pass = async (ms: number) => {
    now += ms
    t.mock.timers.tick(ms)
    await settle()
  }
  return { issuer, told, pass }
}

describe('discovery', () => {
  it('leads to the keys, whether or not the issuer ends in a slash', async (t) => {
    for (const url of [ISSUER, `${ISSUER}/`, `${ISSUER}/realms/main`]) {
      const fake = new FakeIssuer(url, [KEY])
      const { issuer, told } = start(t, fake)
      await issuer.reading
      assert.equal(issuer.keys?.size, 1)
      assert.deepEqual(told, [undefined])
      const base = url.replace(/\/$/, '')
      assert.equal(fake.asked[0], `${base}/.well-known/openid-configuration`)
      t.mock.timers.reset()
    }
  })

  it('is not needed where the keys are configured', async (t) => {
    const fake = new FakeIssuer(ISSUER, [KEY])
    const { issuer } = start(t, fake, { jwksUrl: 'https://keys.example/all' })
    await issuer.reading
    assert.deepEqual(fake.asked, ['https://keys.example/all'])
    assert.equal(issuer.keys?.has('key-1'), true)
  })

  const bad: Readonly<Record<string, readonly [discovery: unknown, problem: RegExp]>> = {
    'another issuer': [{ issuer: 'https://evil.example' }, /is of the issuer "https:\/\/evil/],
    'the issuer with a slash more': [
      { issuer: `${ISSUER}/` },
      /expected "https:\/\/login.example"/,
    ],
    'no document': [null, /is of the issuer undefined/],
    'no place of keys': [{ issuer: ISSUER }, /no URL as its jwks_uri/],
    'a place that is no URL': [{ issuer: ISSUER, jwks_uri: '/keys' }, /no URL as its jwks_uri/],
    'plain http': [{ issuer: ISSUER, jwks_uri: 'http://login.example/k' }, /expected https/],
    'a file': [{ issuer: ISSUER, jwks_uri: 'file:///etc/passwd' }, /expected https/],
    'this machine': [{ issuer: ISSUER, jwks_uri: 'https://127.0.0.1/k' }, /not this machine/],
    'this machine by name': [{ issuer: ISSUER, jwks_uri: 'http://localhost:9464/' }, /not this/],
    'this machine in IPv6': [{ issuer: ISSUER, jwks_uri: 'https://[::1]/k' }, /not this machine/],
  }
  for (const [what, [discovery, problem]] of Object.entries(bad))
    it(`is not believed: ${what}`, async (t) => {
      const fake = new FakeIssuer(ISSUER, [KEY])
      fake.discovery = discovery
      const { issuer, told } = start(t, fake)
      await issuer.reading
      assert.equal(issuer.keys, undefined)
      assert.match(String(told[0]), problem)
      assert.equal(fake.asked.length, 1, 'nothing else was asked for')
    })

  it('of an issuer on this machine may lead to this machine only', async (t) => {
    const fake = new FakeIssuer('http://127.0.0.1:8080', [KEY])
    fake.discovery = { issuer: fake.url, jwks_uri: 'https://login.example/keys' }
    const { issuer, told } = start(t, fake)
    await issuer.reading
    assert.match(String(told[0]), /expected one on this machine/)
  })
})

describe('keys', () => {
  it('are read again after ten minutes, give or take a tenth', async (t) => {
    const fake = new FakeIssuer(ISSUER, [KEY])
    const { issuer, pass } = start(t, fake)
    await issuer.reading
    await pass(9 * 60_000 - 1)
    assert.equal(fake.asked.length, 2)
    fake.keys = [OTHER_KEY.jwk]
    await pass(2 * 60_000 + 1)
    await issuer.reading
    assert.equal(issuer.keys?.has('key-1'), false)
    assert.equal(issuer.keys.has('key-2'), true)
  })

  it('that could not be read are tried for again, less and less often, and the last good ones stay', async (t) => {
    const fake = new FakeIssuer(ISSUER, [KEY])
    const { issuer, told, pass } = start(t, fake)
    await issuer.reading
    const goodMs = issuer.lastGoodMs
    fake.keys = undefined
    await pass(11 * 60_000)
    assert.equal(issuer.isGood, false)
    const begun = fake.asked.length
    // 1 + 2 + 4 + 8 + 16 + 32 s, then every 60, each up to a tenth more.
    for (let seconds = 0; seconds < 200; seconds += 1) await pass(1000)
    const tries = fake.asked.length - begun
    assert.ok(tries >= 6 && tries <= 9, `${tries} tries`)
    assert.equal(issuer.keys?.has('key-1'), true)
    assert.equal(issuer.lastGoodMs, goodMs)
    assert.match(String(told.at(-1)), /is away/)
    fake.keys = [KEY.jwk]
    await pass(66_000)
    assert.equal(issuer.isGood, true)
  })

  it('are not replaced by a set without a usable one', async (t) => {
    const fake = new FakeIssuer(ISSUER, [KEY])
    const { issuer, pass } = start(t, fake)
    await issuer.reading
    fake.keys = []
    await pass(11 * 60_000)
    assert.equal(issuer.keys?.has('key-1'), true)
    assert.equal(issuer.isGood, false)
  })

  it('leave nobody waiting when the gateway closes', async (t) => {
    const fake = new FakeIssuer(ISSUER, [KEY])
    const { issuer } = start(t, fake)
    await issuer.reading
    const refreshed = issuer.refreshed()
    issuer.close()
    await refreshed
  })
})

describe('a set of keys', () => {
  const read = (keys: unknown) => keySetFrom({ keys }, 'https://login.example/keys')

  it('has public keys for signatures, and leaves out the others', () => {
    const { privateJwk, jwk } = KEY
    const set = read([
      { ...jwk, kid: 'good' },
      { ...OTHER_KEY.jwk, kid: 'no-use', use: undefined },
      { ...privateJwk, kid: 'private' },
      { ...jwk, kid: 'encryption', use: 'enc' },
      { kty: 'oct', k: 'c2VjcmV0', kid: 'secret' },
      { kty: 'future', kid: 'future' },
      null,
      'key',
    ])
    assert.equal(set.size, 2)
    for (const kid of ['private', 'encryption', 'secret', 'future'])
      assert.equal(set.has(kid), false, kid)
  })

  it('is refused where it is none', () => {
    for (const keys of [undefined, null, {}, 'keys'])
      assert.throws(() => read(keys), /is no set of keys/)
    for (const keys of [[], [{ kty: 'oct', k: 'c2VjcmV0' }]])
      assert.throws(() => read(keys), /no public key/)
    assert.throws(() => read(new Array(101).fill(KEY.jwk)), /101 keys; expected at most 100/)
    assert.throws(() => keySetFrom([KEY.jwk], 'here'), /here is no set of keys/)
  })
})
