/** Which backups are kept, by examples and by properties over made-up histories. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { type Dated, removable } from '../../../docker/backup/src/retention.ts'
import type { KeepSettings } from '../../../docker/backup/src/settings.ts'

const DAY_MS = 86_400_000
const NOW_MS = Date.parse('2026-11-30T12:00:00Z')
const NONE: KeepSettings = { days: 1, daily: 0, weekly: 0, monthly: 0 }

const daily = (count: number): Dated[] =>
  Array.from({ length: count }, (_, age) => ({ timeMs: NOW_MS - age * DAY_MS, isWhole: true }))

const keptOf = (all: readonly Dated[], keep: KeepSettings) => {
  const gone = new Set(removable(all, keep, NOW_MS))
  return all.filter((each) => !gone.has(each))
}

const dayOf = ({ timeMs }: Dated) => new Date(timeMs).toISOString().slice(0, 10)

describe('removable', () => {
  it('keeps those of the last days, and no older one', () => {
    assert.equal(keptOf(daily(100), { ...NONE, days: 30 }).length, 30)
    assert.deepEqual(removable(daily(30), { ...NONE, days: 30 }, NOW_MS), [])
  })

  it('keeps the newest of days, weeks and months besides', () => {
    const kept = keptOf(daily(100), { days: 1, daily: 3, weekly: 3, monthly: 3 }).map(dayOf)
    assert.deepEqual(kept, [
      '2026-11-30',
      '2026-11-29',
      '2026-11-28',
      // Sundays, the last of their weeks; 29 November is one already.
      '2026-11-22',
      '2026-10-31',
      '2026-09-30',
    ])
  })

  it('of several of one day keeps the newest', () => {
    const hours = [1, 5, 9].map((hour) => ({ timeMs: NOW_MS - 3 * DAY_MS + hour, isWhole: true }))
    const kept = keptOf([...hours, ...daily(1)], { ...NONE, daily: 7 })
    assert.deepEqual(kept, [hours[2], ...daily(1)])
  })

  it('takes away what was never finished after a day, where a newer good one is there', () => {
    const broken = { timeMs: NOW_MS - 2 * DAY_MS, isWhole: false }
    assert.deepEqual(removable([broken, ...daily(1)], NONE, NOW_MS), [broken])
    const fresh = { timeMs: NOW_MS - DAY_MS / 2, isWhole: false }
    assert.deepEqual(removable([fresh, ...daily(1)], NONE, NOW_MS), [])
  })

  const histories = fc.array(
    fc.record({
      timeMs: fc.integer({ min: NOW_MS - 800 * DAY_MS, max: NOW_MS + 3 * DAY_MS }),
      isWhole: fc.boolean(),
    }),
    { maxLength: 200 },
  )
  const policies = fc.record({
    days: fc.integer({ min: 1, max: 60 }),
    daily: fc.integer({ min: 0, max: 40 }),
    weekly: fc.integer({ min: 0, max: 20 }),
    monthly: fc.integer({ min: 0, max: 24 }),
  })

  it('never takes the newest good one, nor one of the last days, whatever there is', () => {
    fc.assert(
      fc.property(histories, policies, (all, keep) => {
        const gone = new Set(removable(all, keep, NOW_MS))
        const whole = all.filter(({ isWhole }) => isWhole)
        const newestMs = Math.max(...whole.map(({ timeMs }) => timeMs))
        if (whole.length === 0) assert.equal(gone.size, 0)
        else assert.ok(whole.some((each) => each.timeMs === newestMs && !gone.has(each)))
        for (const each of whole)
          if (each.timeMs > NOW_MS - keep.days * DAY_MS) assert.ok(!gone.has(each))
      }),
    )
  })

  it('keeps no more than the rules ask for', () => {
    fc.assert(
      fc.property(histories, policies, (all, keep) => {
        const kept = keptOf(all, keep).filter(({ isWhole }) => isWhole)
        const old = kept.filter(({ timeMs }) => timeMs <= NOW_MS - keep.days * DAY_MS)
        assert.ok(old.length <= keep.daily + keep.weekly + keep.monthly + 1)
      }),
    )
  })

  it('has nothing more to do when it has been done', () => {
    fc.assert(
      fc.property(histories, policies, (all, keep) => {
        assert.deepEqual(removable(keptOf(all, keep), keep, NOW_MS), [])
      }),
    )
  })

  it('with more to keep, keeps all that it would have kept with less', () => {
    fc.assert(
      fc.property(histories, policies, (all, keep) => {
        const more = new Set(keptOf(all, { ...keep, weekly: keep.weekly + 3, days: keep.days + 5 }))
        for (const each of keptOf(all, keep)) assert.ok(more.has(each))
      }),
    )
  })
})
