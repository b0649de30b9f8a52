import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { TokenLimits } from '../../../src/pipeline/ports.ts'
import { TokenStore } from '../../../src/stores/tokens.ts'
import { arrival, bearer, NOW, peer, setOf, storeOf, tokenOf, UNLIMITED } from './token-fixtures.ts'

/** The id of the token accepted, or the problem. */
function verdict(store: TokenStore, authorization: string | undefined, from = peer, at = NOW) {
  const result = store.verify(authorization, from, at)
  return typeof result === 'string' ? result : { id: result.id }
}

describe('the Authorization header', () => {
  const store = storeOf({ id: 'a' })
  const cases: readonly (readonly [string, string | undefined, unknown])[] = [
    ['none', undefined, 'token_missing'],
    ['empty', '', 'token_missing'],
    ['another scheme', 'Basic YTpi', 'token_missing'],
    ['a scheme that begins alike', 'Bearers a-secret-secret', 'token_missing'],
    ['the scheme alone', 'Bearer', 'token_missing'],
    ['the scheme and spaces', 'Bearer   ', 'token_missing'],
    ['no scheme', 'a-secret-secret', 'token_missing'],
    ['a tab for the space', 'Bearer\ta-secret-secret', 'token_missing'],
    ['right', bearer('a'), { id: 'a' }],
    ['lower case', 'bearer a-secret-secret', { id: 'a' }],
    ['upper case', 'BEARER a-secret-secret', { id: 'a' }],
    ['several spaces', 'Bearer    a-secret-secret', { id: 'a' }],
    ['space at the end', 'Bearer a-secret-secret ', { id: 'a' }],
    ['another token', 'Bearer b-secret-secret', 'token_unknown'],
    ['another case of the token', 'Bearer A-secret-secret', 'token_unknown'],
    ['more behind it', 'Bearer a-secret-secret=', 'token_unknown'],
    ['two of them', 'Bearer a-secret-secret, Bearer a-secret-secret', 'token_unknown'],
    ['two tokens', 'Bearer a-secret-secret b', 'token_unknown'],
    ['quotes', 'Bearer "a-secret-secret"', 'token_unknown'],
    ['still URL-encoded', 'Bearer%20a-secret-secret', 'token_missing'],
    ['a long one', `Bearer ${'x'.repeat(10_000)}`, 'token_unknown'],
  ]
  for (const [name, header, expected] of cases)
    it(`${name}: ${typeof expected === 'string' ? expected : 'accepted'}`, () => {
      assert.deepEqual(verdict(store, header), expected)
    })

  it('holds at most 512 characters of token', () => {
    const long = storeOf({ id: 'l', secret: 'x'.repeat(512) }, { id: 'm', secret: 'x'.repeat(513) })
    assert.deepEqual(verdict(long, `Bearer ${'x'.repeat(512)}`), { id: 'l' })
    assert.equal(verdict(long, `Bearer ${'x'.repeat(513)}`), 'token_unknown')
  })
})

describe('the validity of a token', () => {
  it('is not judged until a set was loaded', () => {
    const store = new TokenStore({ defaultLimits: UNLIMITED })
    assert.ok(!store.isLoaded)
    assert.equal(store.count, 0)
    for (const header of [undefined, bearer('a'), 'Basic x'])
      assert.equal(verdict(store, header), 'tokens_unavailable')
    store.swap(setOf({ id: 'a' }))
    assert.ok(store.isLoaded)
    assert.equal(store.count, 1)
    assert.deepEqual(verdict(store, bearer('a')), { id: 'a' })
  })

  it('begins with notBefore and ends before expiresAt', () => {
    const store = storeOf({ id: 'a', notBefore: '2026-06-01', expiresAt: '2026-07-01' })
    const at = (wallMs: number) => verdict(store, bearer('a'), peer, wallMs)
    assert.equal(at(NOW - 1), 'token_not_yet_valid')
    assert.deepEqual(at(NOW), { id: 'a' })
    assert.deepEqual(at(Date.UTC(2026, 6, 1) - 1), { id: 'a' })
    assert.equal(at(Date.UTC(2026, 6, 1)), 'token_expired')
  })

  it('ends with revokedAt, as token_expired: a missed rotation is no attack', () => {
    const store = storeOf({ id: 'a', revokedAt: '2026-06-01' })
    assert.deepEqual(verdict(store, bearer('a'), peer, NOW - 1), { id: 'a' })
    assert.equal(verdict(store, bearer('a')), 'token_expired')
  })

  it('overlaps in a rotation', () => {
    const store = storeOf(
      { id: 'old', expiresAt: '2026-06-02' },
      { id: 'new', notBefore: '2026-06-01' },
    )
    assert.deepEqual(verdict(store, bearer('old')), { id: 'old' })
    assert.deepEqual(verdict(store, bearer('new')), { id: 'new' })
  })
})

describe('allowFrom', () => {
  const store = storeOf({
    id: 'a',
    allowFrom: ['203.0.113.7', '10.0.0.5/8', '2001:db8::/32', 'fe80::/10', '::ffff:192.0.2.1'],
  })
  const from = (address: string) => verdict(store, bearer('a'), { key: address, address })

  it('lets in the addresses listed', () => {
    for (const address of [
      '203.0.113.7',
      '10.255.0.1',
      '2001:db8:1::1',
      '192.0.2.1',
      'fe80::1%eth0',
    ])
      assert.deepEqual(from(address), { id: 'a' }, address)
  })

  it('refuses all others as scope_denied', () => {
    for (const address of ['203.0.113.8', '11.0.0.1', '2001:db9::1', '192.0.2.2', '', 'unknown'])
      assert.equal(from(address), 'scope_denied', address)
  })

  it('is asked last: an expired token is expired wherever it comes from', () => {
    const expired = storeOf({ id: 'a', allowFrom: ['192.0.2.1'], expiresAt: '2026-01-01' })
    assert.equal(verdict(expired, bearer('a')), 'token_expired')
  })
})

describe('limits and scopes', () => {
  const defaults: TokenLimits = {
    requests: { perSecond: 10, burst: 20 },
    bytes: { perSecond: 1000, burst: 2000 },
    inFlight: 5,
  }

  it("come from the set, and from the defaults where the set is silent; 'off' lifts them", () => {
    const store = new TokenStore({ defaultLimits: defaults })
    store.swap(
      setOf(
        { id: 'silent' },
        { id: 'own', limits: { rate: '1/s', burst: 3 }, scopes: ['logs'] },
        { id: 'free', limits: { rate: 'off', bytes: 'off', inFlight: 'off' } },
      ),
    )
    assert.deepEqual(tokenOf(store, 'silent').limits, defaults)
    assert.equal(tokenOf(store, 'silent').scopes, undefined)
    assert.deepEqual(tokenOf(store, 'own').limits, {
      ...defaults,
      requests: { perSecond: 1, burst: 3 },
    })
    assert.deepEqual(tokenOf(store, 'own').scopes, new Set(['logs']))
    assert.deepEqual(tokenOf(store, 'free').limits, UNLIMITED)
  })
})

describe('a swap', () => {
  it('puts the new set in force at once and forgets the old', () => {
    const store = storeOf({ id: 'a' }, { id: 'b' })
    store.swap(setOf({ id: 'b' }, { id: 'c' }))
    assert.equal(verdict(store, bearer('a')), 'token_unknown')
    assert.deepEqual(verdict(store, bearer('b')), { id: 'b' })
    assert.deepEqual(verdict(store, bearer('c')), { id: 'c' })
  })

  it('keeps the usage of tokens that stay, and begins anew for a new secret under an old id', () => {
    const store = storeOf({ id: 'stays' }, { id: 'renewed' }, { id: 'goes' })
    const goes = tokenOf(store, 'goes')
    for (const id of ['stays', 'renewed']) store.used(tokenOf(store, id), arrival(), NOW)
    store.swap(
      setOf({ id: 'stays', scopes: ['logs'] }, { id: 'renewed', secret: 'another-secret' }),
    )
    store.used(goes, arrival(), NOW)
    assert.deepEqual(
      [...store.statuses(NOW)].map(({ record, account }) => [record.id, account.requests]),
      [
        ['stays', 1],
        ['renewed', 0],
      ],
    )
  })
})

const statesIn = (store: TokenStore, at = NOW) =>
  [...store.statuses(at)].map(({ record, state }) => [record.id, state])

describe('the state of a token', () => {
  it('is derived from its dates; revoked wins over expired', () => {
    const store = storeOf(
      { id: 'a', expiresAt: '2027-01-01' },
      { id: 'expired', expiresAt: '2026-01-01', retiringAt: '2025-12-01' },
      { id: 'future', notBefore: '2027-01-01' },
      { id: 'revoked', revokedAt: '2026-01-01', expiresAt: '2026-01-01' },
      { id: 'retiring', retiringAt: '2026-06-01', replacedBy: 'a' },
    )
    assert.deepEqual(statesIn(store), [
      ['a', 'current'],
      ['expired', 'expired'],
      ['future', 'not_yet_valid'],
      ['revoked', 'revoked'],
      ['retiring', 'retiring'],
    ])
    assert.deepEqual(
      [...store.statuses(NOW)].map(({ isAccepted }) => isAccepted),
      [true, false, false, false, true],
    )
    assert.deepEqual(statesIn(store, NOW - 1).at(-1), ['retiring', 'current'])
  })

  it('is pending until somebody uses it, beside an older token of the same holder', () => {
    const store = storeOf({ id: 'old', holder: 'h' }, { id: 'new', holder: 'h' }, { id: 'other' })
    assert.deepEqual(statesIn(store), [
      ['old', 'current'],
      ['new', 'pending'],
      ['other', 'current'],
    ])
    store.used(tokenOf(store, 'new'), arrival(), NOW)
    assert.deepEqual(statesIn(store)[1], ['new', 'current'])
  })

  it('is not pending where the older one is retiring, over or not valid yet', () => {
    for (const field of ['retiringAt', 'revokedAt', 'expiresAt']) {
      const store = storeOf(
        { id: 'old', holder: 'h', [field]: '2026-01-01' },
        { id: 'new', holder: 'h' },
      )
      assert.deepEqual(statesIn(store)[1], ['new', 'current'], field)
    }
  })

  it('goes by createdAt where all tokens of the holder have one', () => {
    const store = storeOf(
      { id: 'new', holder: 'h', createdAt: '2026-02-01' },
      { id: 'old', holder: 'h', createdAt: '2026-01-01' },
    )
    assert.deepEqual(statesIn(store), [
      ['new', 'pending'],
      ['old', 'current'],
    ])
  })
})

describe('a set that is not complete', () => {
  it('takes the tokens it has and judges no other', () => {
    const store = new TokenStore({ defaultLimits: UNLIMITED })
    store.swap(setOf({ id: 'a' }), { isComplete: false })
    assert.deepEqual(verdict(store, bearer('a')), { id: 'a' })
    assert.equal(verdict(store, bearer('b')), 'tokens_unavailable')
    assert.equal(verdict(store, undefined), 'token_missing')
    store.swap(setOf({ id: 'a' }))
    assert.equal(verdict(store, bearer('b')), 'token_unknown')
  })

  it('may be empty', () => {
    const store = new TokenStore({ defaultLimits: UNLIMITED })
    store.swap({ records: [] }, { isComplete: false })
    assert.equal(verdict(store, bearer('b')), 'tokens_unavailable')
  })
})
