import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import type { Token, TokenLimits } from '../../../src/pipeline/ports.ts'
import { Budgets } from '../../../src/stores/budgets.ts'

const peer = { key: '203.0.113.7', address: '203.0.113.7' }
const other = { key: '203.0.113.8', address: '203.0.113.8' }

function token(id: string, limits: Partial<TokenLimits> = {}): Token {
  const none = { requests: undefined, bytes: undefined, inFlight: undefined }
  return { id, holder: id, scopes: undefined, limits: { ...none, ...limits } }
}

const free = token('free')

describe('budgets', () => {
  it('limit nothing where nothing is set', () => {
    const budgets = new Budgets({ peer: {} })
    for (let at = 0; at < 1000; at += 1) {
      budgets.take(peer, free, 0)
      budgets.chargeBytes(peer, free, 1e9, 0)
    }
    assert.equal(budgets.waitMs(peer, free, 0), 0)
    assert.deepEqual(
      budgets.tables().map(({ size }) => size),
      [0, 0, 0, 0],
    )
  })

  it('count the requests of an address whoever they come from', () => {
    const budgets = new Budgets({ peer: { requests: { perSecond: 10, burst: 2 } } })
    budgets.take(peer, free, 0)
    budgets.take(peer, undefined, 0)
    assert.equal(budgets.waitMs(peer, undefined, 0), 100)
    assert.equal(budgets.waitMs(peer, token('second'), 0), 100)
    assert.equal(budgets.waitMs(other, free, 0), 0)
  })

  it('count the requests of a token wherever they come from, and wait for the longer of the two', () => {
    const budgets = new Budgets({ peer: { requests: { perSecond: 10, burst: 1 } } })
    const slow = token('slow', { requests: { perSecond: 1, burst: 1 } })
    budgets.take(peer, slow, 0)
    assert.equal(budgets.waitMs(peer, undefined, 0), 100)
    assert.equal(budgets.waitMs(peer, slow, 0), 1000)
    assert.equal(budgets.waitMs(other, slow, 0), 1000)
    assert.equal(budgets.waitMs(other, free, 0), 0)
  })

  it('let bytes be overdrawn once, and make what follows wait', () => {
    const budgets = new Budgets({ peer: { bytes: { perSecond: 1000, burst: 1000 } } })
    budgets.take(peer, free, 0)
    assert.equal(budgets.waitMs(peer, free, 0), 0)
    budgets.chargeBytes(peer, free, 5000, 0)
    assert.equal(budgets.waitMs(peer, undefined, 0), 4001, 'until one byte fits again')
    assert.equal(budgets.waitMs(peer, undefined, 4001), 0)
  })

  it('count a token’s bytes apart from its address’s', () => {
    const budgets = new Budgets({ peer: {} })
    const limited = token('limited', { bytes: { perSecond: 1000, burst: 1000 } })
    budgets.chargeBytes(peer, limited, 2000, 0)
    assert.equal(budgets.waitMs(peer, limited, 0), 1001)
    assert.equal(budgets.waitMs(other, limited, 0), 1001)
    assert.equal(budgets.waitMs(peer, free, 0), 0)
  })

  it('wait without end for a place in flight, by address and by token', () => {
    const budgets = new Budgets({ peer: { inFlight: 2 } })
    const single = token('single', { inFlight: 1 })
    budgets.take(peer, single, 0)
    assert.equal(budgets.waitMs(peer, single, 0), Number.POSITIVE_INFINITY)
    assert.equal(budgets.waitMs(other, single, 0), Number.POSITIVE_INFINITY)
    assert.equal(budgets.waitMs(peer, free, 0), 0)
    budgets.take(peer, free, 0)
    assert.equal(budgets.waitMs(peer, undefined, 0), Number.POSITIVE_INFINITY)
    budgets.release(peer, single)
    assert.equal(budgets.waitMs(peer, single, 0), 0)
  })

  it('count places even while a token has no limit, for the one a reload may bring', () => {
    const budgets = new Budgets({ peer: {} })
    budgets.take(peer, token('a'), 0)
    assert.equal(budgets.waitMs(peer, token('a', { inFlight: 1 }), 0), Number.POSITIVE_INFINITY)
  })

  it('forget every peer and token that has nothing in flight', () => {
    const step = fc.record({ peer: fc.nat(3), token: fc.option(fc.nat(3), { nil: undefined }) })
    fc.assert(
      fc.property(fc.array(step), fc.infiniteStream(fc.boolean()), (steps, coin) => {
        const budgets = new Budgets({ peer: {} })
        const open: (() => void)[] = []
        for (const one of steps) {
          const from = { key: `p${one.peer}`, address: `p${one.peer}` }
          const by = one.token === undefined ? undefined : token(`t${one.token}`)
          budgets.take(from, by, 0)
          open.push(() => budgets.release(from, by))
          if (coin.next().value) open.shift()?.()
        }
        for (const release of open) release()
        assert.deepEqual(budgets.inFlight, { peers: 0, tokens: 0 })
      }),
    )
  })

  it('show an address’s state for the standard headers', () => {
    const budgets = new Budgets({ peer: { requests: { perSecond: 100, burst: 200 } } })
    assert.deepEqual(budgets.peek(peer.key, 0), { limit: 200, remaining: 200, resetMs: 0 })
    budgets.take(peer, free, 0)
    assert.deepEqual(budgets.peek(peer.key, 0), { limit: 200, remaining: 199, resetMs: 10 })
    const none = new Budgets({ peer: {} }).peek(peer.key, 0)
    assert.deepEqual(none, {
      limit: Number.POSITIVE_INFINITY,
      remaining: Number.POSITIVE_INFINITY,
      resetMs: 0,
    })
  })

  it('tell how full their tables are', () => {
    const rate = { perSecond: 1, burst: 1 }
    const budgets = new Budgets({ peer: { requests: rate, bytes: rate }, maxKeys: 2 })
    const own = token('own', { requests: rate, bytes: rate })
    for (const key of ['a', 'b', 'c']) {
      budgets.take({ key, address: key }, own, 0)
      budgets.chargeBytes({ key, address: key }, own, 1, 0)
    }
    assert.deepEqual(budgets.tables(), [
      { table: 'peer_requests', size: 2, evictions: 1 },
      { table: 'peer_bytes', size: 2, evictions: 1 },
      { table: 'token_requests', size: 1, evictions: 0 },
      { table: 'token_bytes', size: 1, evictions: 0 },
    ])
  })
})
