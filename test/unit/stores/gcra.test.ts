import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { Gcra } from '../../../src/stores/gcra.ts'

const rates = fc.record({
  perSecond: fc.oneof(fc.integer({ min: 1, max: 50 }), fc.integer({ min: 1, max: 10_000_000 })),
  burst: fc.integer({ min: 1, max: 40 }),
})

describe('a budget', () => {
  it('grants the burst at once, then one an interval', () => {
    const gcra = new Gcra()
    const rate = { perSecond: 10, burst: 3 }
    for (let granted = 0; granted < 3; granted += 1) {
      assert.equal(gcra.waitMs('a', rate, 1000), 0)
      gcra.take('a', rate, 1000)
    }
    assert.equal(gcra.waitMs('a', rate, 1000), 100)
    assert.equal(gcra.waitMs('a', rate, 1099), 1)
    assert.equal(gcra.waitMs('a', rate, 1100), 0)
    gcra.take('a', rate, 1100)
    assert.equal(gcra.waitMs('a', rate, 1100), 100)
  })

  it('belongs to one key', () => {
    const gcra = new Gcra()
    const rate = { perSecond: 1, burst: 1 }
    gcra.take('a', rate, 0)
    assert.equal(gcra.waitMs('a', rate, 0), 1000)
    assert.equal(gcra.waitMs('b', rate, 0), 0)
  })

  it('lets a request larger than the burst through when it is full, and makes the next one wait for all of it', () => {
    const gcra = new Gcra()
    const rate = { perSecond: 10, burst: 5 }
    gcra.take('a', rate, 0)
    assert.equal(gcra.waitMs('a', rate, 0, 50), 100, 'not quite full')
    assert.equal(gcra.waitMs('a', rate, 100, 50), 0)
    gcra.take('a', rate, 100, 50)
    assert.equal(gcra.waitMs('a', rate, 100), 4600, '50 taken, 5 of them from the burst, 1 wanted')
  })

  it('may be overdrawn', () => {
    const gcra = new Gcra()
    const rate = { perSecond: 1, burst: 1 }
    gcra.take('a', rate, 0)
    gcra.take('a', rate, 0)
    assert.equal(gcra.waitMs('a', rate, 0), 2000)
    assert.deepEqual(gcra.peek('a', rate, 0), { remaining: 0, resetMs: 2000 })
  })

  it('tells what is left without taking any', () => {
    const gcra = new Gcra()
    const rate = { perSecond: 100, burst: 200 }
    assert.deepEqual(gcra.peek('a', rate, 0), { remaining: 200, resetMs: 0 })
    gcra.take('a', rate, 0)
    assert.deepEqual(gcra.peek('a', rate, 0), { remaining: 199, resetMs: 10 })
    assert.deepEqual(gcra.peek('a', rate, 5), { remaining: 199, resetMs: 5 })
    assert.deepEqual(gcra.peek('a', rate, 10), { remaining: 200, resetMs: 0 })
  })

  it('never grants more than burst + rate × time over any window, under any order of times', () => {
    const asked = fc.record({
      atMs: fc.double({ min: 0, max: 2000, noNaN: true }),
      cost: fc.integer({ min: 1, max: 10 }),
    })
    const many = fc.array(asked, { minLength: 30, maxLength: 100 })
    let refused = 0
    fc.assert(
      fc.property(rates, many, (rate, requests) => {
        const gcra = new Gcra()
        const granted: { atMs: number; cost: number }[] = []
        for (const { atMs, cost } of requests) {
          const fitting = Math.min(cost, rate.burst)
          if (gcra.waitMs('a', rate, atMs, fitting) > 0) {
            refused += 1
            continue
          }
          gcra.take('a', rate, atMs, fitting)
          granted.push({ atMs, cost: fitting })
        }
        for (let from = 0; from < granted.length; from += 1) {
          let total = 0
          let minMs = Number.POSITIVE_INFINITY
          let maxMs = Number.NEGATIVE_INFINITY
          for (const { atMs, cost } of granted.slice(from)) {
            total += cost
            minMs = Math.min(minMs, atMs)
            maxMs = Math.max(maxMs, atMs)
            const most = rate.burst + ((maxMs - minMs) * rate.perSecond) / 1000
            assert.ok(total <= most + 1e-3, `${total} granted, at most ${most} allowed`)
          }
        }
      }),
      { numRuns: 200 },
    )
    assert.ok(refused > 1000, `${refused} refused: the property was hardly tried`)
  })

  it('grants what it has promised: after waitMs the request conforms', () => {
    const costs = fc.array(fc.integer({ min: 1, max: 1000 }), { minLength: 1, maxLength: 50 })
    fc.assert(
      fc.property(rates, costs, fc.integer({ min: 1, max: 1000 }), (rate, taken, cost) => {
        const gcra = new Gcra()
        for (const one of taken) gcra.take('a', rate, 5000, one)
        const waitMs = gcra.waitMs('a', rate, 5000, cost)
        assert.ok(Number.isFinite(waitMs) && waitMs >= 0)
        assert.equal(gcra.waitMs('a', rate, 5000 + waitMs, cost), 0)
      }),
    )
  })

  it('is monotone: later waits less, more taken or more wanted waits longer', () => {
    fc.assert(
      fc.property(
        rates,
        fc.integer({ min: 1, max: 1000 }),
        fc.integer({ min: 1, max: 500 }),
        fc.integer({ min: 0, max: 5000 }),
        (rate, taken, cost, laterMs) => {
          const gcra = new Gcra()
          gcra.take('a', rate, 0, taken)
          const waitMs = gcra.waitMs('a', rate, 0, cost)
          assert.ok(gcra.waitMs('a', rate, laterMs, cost) <= waitMs)
          assert.ok(gcra.waitMs('a', rate, 0, cost + 1) >= waitMs)
          gcra.take('a', rate, 0)
          assert.ok(gcra.waitMs('a', rate, 0, cost) >= waitMs)
        },
      ),
    )
  })
})

describe('the table of budgets', () => {
  it('stays within its bound under a million addresses, and counts what it had to forget', () => {
    const gcra = new Gcra(10_000)
    const rate = { perSecond: 1, burst: 1 }
    let mostKeys = 0
    for (let at = 0; at < 1_000_000; at += 1) {
      gcra.take(`2001:db8:${at.toString(16)}::/64`, rate, 0)
      mostKeys = Math.max(mostKeys, gcra.size)
    }
    assert.equal(mostKeys, 10_000)
    assert.equal(gcra.size, 10_000)
    assert.equal(gcra.evictions, 990_000)
  })

  it('sheds entries that mean nothing any more before any other, so nothing is evicted', () => {
    const gcra = new Gcra(1000)
    const rate = { perSecond: 1000, burst: 10 }
    for (let at = 0; at < 100_000; at += 1) gcra.take(`peer ${at}`, rate, at / 100)
    assert.equal(gcra.evictions, 0)
    assert.ok(gcra.size <= 1000, `${gcra.size} entries`)
  })

  it('is small again soon after a flood', () => {
    const gcra = new Gcra(100_000)
    const rate = { perSecond: 1, burst: 1 }
    for (let at = 0; at < 50_000; at += 1) gcra.take(`flood ${at}`, rate, 0)
    for (let at = 0; at < 20_000; at += 1) gcra.take(`later ${at}`, rate, 2000 + at)
    assert.ok(gcra.size < 2100, `${gcra.size} entries: about those of the last second`)
  })

  it('keeps a large debt through a flood of addresses that owe little', () => {
    const gcra = new Gcra(1000)
    const rate = { perSecond: 100, burst: 10 }
    gcra.take('debtor', rate, 0, 100_000)
    for (let at = 0; at < 50_000; at += 1) gcra.take(`flood ${at}`, rate, 1)
    assert.ok(gcra.evictions > 0)
    assert.ok(gcra.waitMs('debtor', rate, 1) > 900_000)
  })
})
