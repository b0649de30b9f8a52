import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { MAX_LEFT } from '../../../src/stores/ledger.ts'
import { pagePieces, type TokenPage } from '../../../src/stores/token-page.ts'
import { TokenStore } from '../../../src/stores/tokens.ts'
import {
  arrival,
  bearer,
  ending,
  NOW,
  peer,
  setOf,
  storeOf,
  tokenOf,
  UNLIMITED,
} from './token-fixtures.ts'

const DAY_MS = 86_400_000

const pageOf = (store: TokenStore, at = NOW): TokenPage =>
  JSON.parse([...pagePieces([], store.statuses(at))].join(''))

const rowsOf = (store: TokenStore) => new Map(pageOf(store).tokens.map((row) => [row.id, row]))

describe('the ledger', () => {
  it('says when, from where and with what each token was used', () => {
    const store = storeOf(
      { id: 'a', holder: 'h', createdAt: '2026-01-01', expiresAt: '2027-01-01' },
      { id: 'b', holder: 'h', createdAt: '2026-05-01', notBefore: '2026-05-01' },
    )
    const token = tokenOf(store, 'a')
    store.used(token, arrival(), NOW)
    const other = { key: '2001:db8::/64', address: '2001:db8::1' }
    const userAgent = `OTel-OTLP-Exporter-Python/1.45.0 ${'x'.repeat(1000)}`
    const last = arrival({ peer: other, protocol: 'http', signal: 'logs', userAgent })
    store.used(token, last, NOW + 5)
    store.ended(last, ending({ token, bytesIn: 227 }), NOW + 9)
    const { tokens } = pageOf(store)
    assert.deepEqual(tokens[0], {
      id: 'a',
      holder: 'h',
      fingerprint: setOf({ id: 'a' }).records[0]?.sha256.slice(0, 8),
      state: 'current',
      isAccepted: true,
      createdAt: '2026-01-01T00:00:00.000Z',
      notBefore: null,
      expiresAt: '2027-01-01T00:00:00.000Z',
      retiringAt: null,
      revokedAt: null,
      replacedBy: null,
      firstUsedAt: new Date(NOW).toISOString(),
      lastUsedAt: new Date(NOW + 5).toISOString(),
      requests: 2,
      bytes: 227,
      graceUses: 0,
      refusals: {},
      lastRefusedAt: null,
      lastUse: {
        address: '2001:db8::1',
        signal: 'logs',
        protocol: 'http',
        userAgent: userAgent.slice(0, 200),
        sdk: { name: 'Python', version: '1.45.0' },
      },
      lastRefusal: null,
    })
    assert.equal(tokens[1]?.state, 'pending')
    assert.equal(tokens[1]?.lastUsedAt, null)
    assert.equal(tokens[1]?.lastUse, null)
  })

  it('does not count what was only verified, nor bytes of what was refused', () => {
    const store = storeOf({ id: 'a' })
    const token = tokenOf(store, 'a')
    store.ended(arrival(), ending({ outcome: 'too_large', token, bytesIn: 99 }), NOW)
    const row = rowsOf(store).get('a')
    assert.deepEqual([row?.requests, row?.bytes, row?.refusals], [0, 0, { too_large: 1 }])
  })

  it('books refusals to the token that was shown, accepted or not, by reason', () => {
    const store = storeOf({ id: 'a' }, { id: 'late', expiresAt: '2026-05-01' })
    const show = (id: string, outcome: 'token_expired' | 'rate_limited' | 'banned', at: number) => {
      const refused = arrival({ authorization: bearer(id), userAgent: 'curl/8.5.0' })
      store.verify(bearer(id), peer, at)
      return store.ended(refused, ending({ outcome }), at)?.id
    }
    assert.equal(show('late', 'token_expired', NOW), 'late')
    assert.equal(show('late', 'token_expired', NOW + 1), 'late')
    assert.equal(show('late', 'banned', NOW + 2), 'late')
    assert.equal(show('a', 'rate_limited', NOW), 'a')
    assert.equal(show('stranger', 'banned', NOW), undefined)
    const late = rowsOf(store).get('late')
    assert.deepEqual(late?.refusals, { token_expired: 2, banned: 1 })
    assert.equal(late?.lastRefusedAt, new Date(NOW + 2).toISOString())
    assert.deepEqual(late?.lastRefusal, {
      address: '203.0.113.7',
      reason: 'banned',
      userAgent: 'curl/8.5.0',
      sdk: { name: 'curl', version: '8.5.0' },
    })
    assert.deepEqual(rowsOf(store).get('a')?.refusals, { rate_limited: 1 })
  })

  it('does not blame a token for what the collector or the client did', () => {
    const store = storeOf({ id: 'a' })
    const token = tokenOf(store, 'a')
    for (const outcome of ['collector_refused', 'collector_timeout', 'client_gone'] as const)
      store.ended(arrival(), ending({ outcome, token, bytesIn: 10 }), NOW)
    const row = rowsOf(store).get('a')
    assert.deepEqual([row?.bytes, row?.refusals], [30, {}])
  })

  it('counts requests of a token that is retiring', () => {
    const store = storeOf({ id: 'a', retiringAt: '2026-06-01' })
    const token = tokenOf(store, 'a')
    store.used(token, arrival(), NOW - 1)
    store.used(token, arrival(), NOW)
    const [status] = store.statuses(NOW)
    assert.equal(status?.account.retiringUses, 1)
  })

  it('remembers tokens that left the set for 90 days, and begins anew for another secret', () => {
    const store = storeOf({ id: 'stays' }, { id: 'goes' }, { id: 'unused' })
    for (const id of ['stays', 'goes']) store.used(tokenOf(store, id), arrival(), NOW)
    const known = (at: number) => [...store.accounts(at)].map(([id]) => id)
    store.swap(setOf({ id: 'stays' }))
    assert.deepEqual(known(NOW), ['stays', 'goes'])
    store.swap(setOf({ id: 'stays' }, { id: 'goes' }))
    assert.equal(rowsOf(store).get('goes')?.requests, 1)
    store.swap(setOf({ id: 'stays' }, { id: 'goes', secret: 'another-secret-secret' }))
    assert.equal(rowsOf(store).get('goes')?.requests, 0)
    store.swap(setOf({ id: 'other' }))
    assert.deepEqual(known(NOW), ['stays', 'other'])
    assert.deepEqual(known(NOW + 90 * DAY_MS - 1), ['stays', 'other'])
    assert.deepEqual(known(NOW + 90 * DAY_MS), ['other'])
  })

  it('remembers at most 100 000 tokens that left', () => {
    const store = new TokenStore({ defaultLimits: UNLIMITED })
    const swapTo = (from: number, count: number) => {
      const records = Array.from({ length: count }, (_, index) => {
        const id = `t${from + index}`
        return { id, holder: 'h', sha256: String(from + index).padStart(64, '0') }
      })
      store.swap({ records })
      for (const { account } of store.statuses(NOW)) account.used(arrival(), NOW)
    }
    for (let round = 0; round < 3; round += 1) swapTo(round * 60_000, 60_000)
    assert.equal([...store.accounts(NOW)].length, MAX_LEFT + 60_000)
  })

  it('tells of the first change, and again when it was asked what there is', () => {
    const store = storeOf({ id: 'a' })
    const token = tokenOf(store, 'a')
    let told = 0
    void [...store.accounts(NOW)]
    store.watch(() => {
      told += 1
    })
    for (let use = 0; use < 3; use += 1) store.used(token, arrival(), NOW)
    assert.equal(told, 1)
    void [...store.accounts(NOW)]
    store.ended(arrival(), ending({ token, bytesIn: 1 }), NOW)
    assert.equal(told, 2)
  })

  it('tells at once of what happened before anybody listened', () => {
    const store = storeOf({ id: 'a' })
    let told = 0
    store.watch(() => {
      told += 1
    })
    store.used(tokenOf(store, 'a'), arrival(), NOW)
    assert.equal(told, 1)
  })
})

describe('the page of tokens', () => {
  it('is JSON however many there are, and holds no digest', () => {
    for (const count of [0, 1, 199, 200, 201, 1000]) {
      const store = new TokenStore({ defaultLimits: UNLIMITED })
      const records = Array.from({ length: count }, (_, index) => {
        return { id: `t${index}`, holder: 'h', sha256: String(index).padEnd(64, 'a') }
      })
      store.swap({ records })
      const text = [...pagePieces([], store.statuses(NOW))].join('')
      assert.equal(JSON.parse(text).tokens.length, count)
      assert.ok(!text.includes('aaaaaaaaa'))
    }
  })
})
