import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  allowedAt,
  limitsOf,
  remembered,
  renewalAt,
  renewalWithin,
  waitMsAfter,
} from '../../../src/acme/schedule.ts'

const MINUTE = 60_000
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR
const LIFE = { notBeforeMs: 1_000_000, notAfterMs: 1_000_000 + 90 * DAY }
const LETS_ENCRYPT = 'https://acme-v02.api.letsencrypt.org/directory'

test('it is renewed after two thirds of its life, give or take a fiftieth of it', () => {
  assert.equal(renewalAt(LIFE, 0.5), LIFE.notBeforeMs + 60 * DAY)
  assert.equal(Math.round((renewalAt(LIFE, 0) - LIFE.notBeforeMs) / MINUTE), 83_808)
  assert.equal(Math.round((renewalAt(LIFE, 1) - LIFE.notBeforeMs) / MINUTE), 88_992)
})

test('the window of the directory goes before that, but never the last tenth of the life', () => {
  const window = { startMs: LIFE.notBeforeMs + 10 * DAY, endMs: LIFE.notBeforeMs + 12 * DAY }
  assert.equal(renewalWithin(window, LIFE, 0), window.startMs)
  assert.equal(renewalWithin(window, LIFE, 0.5), LIFE.notBeforeMs + 11 * DAY)
  const late = { startMs: LIFE.notAfterMs + DAY, endMs: LIFE.notAfterMs + 2 * DAY }
  assert.equal(renewalWithin(late, LIFE, 0), LIFE.notBeforeMs + 81 * DAY)
})

test('five failed validations never fall into one hour', () => {
  for (const random of [0, 1]) {
    const times = [0]
    for (let failures = 1; failures < 30; failures += 1)
      times.push((times.at(-1) ?? 0) + waitMsAfter('validation', failures, random))
    for (const [at, begun] of times.entries())
      assert.ok(
        (times[at + 4] ?? Number.POSITIVE_INFINITY) - begun > HOUR,
        `from attempt ${at + 1}`,
      )
  }
})

test('waits grow, and end at a length that is still of use', () => {
  for (const kind of ['away', 'local', 'validation', 'refused', 'rate_limited'] as const) {
    const waits = Array.from({ length: 20 }, (_, at) => waitMsAfter(kind, at + 1, 0))
    assert.deepEqual(
      waits,
      waits.toSorted((a, b) => a - b),
    )
    assert.ok((waits.at(-1) ?? 0) <= 12 * HOUR, kind)
  }
})

test("Let's Encrypt is asked less often than it would put up with, whatever else is forgotten", () => {
  const limits = limitsOf(LETS_ENCRYPT)
  const none = { failuresMs: [], issuesMs: [] }
  assert.equal(allowedAt(limits, none), 0)
  assert.equal(allowedAt(limits, { ...none, failuresMs: [10, 20, 30] }), 0)
  assert.equal(allowedAt(limits, { ...none, failuresMs: [10, 20, 30, 40] }), 10 + HOUR)
  assert.equal(allowedAt(limits, { ...none, failuresMs: [5, 10, 20, 30, 40] }), 10 + HOUR)
  assert.equal(allowedAt(limits, { ...none, issuesMs: [10, 20, 30, 40] }), 10 + 7 * DAY)
})

test('other directories have limits of their own and say so', () => {
  const directories = ['acme-staging-v02.api.letsencrypt.org', 'ca.example.com']
  for (const host of directories) assert.equal(limitsOf(`https://${host}/directory`), undefined)
  assert.equal(allowedAt(undefined, { failuresMs: [1, 2, 3, 4, 5], issuesMs: [1, 2, 3, 4, 5] }), 0)
})

test('what no longer counts is forgotten, and there is a bound', () => {
  const nowMs = 30 * DAY
  const past = remembered(
    {
      failuresMs: [nowMs - 2 * HOUR, nowMs - MINUTE, ...Array<number>(50).fill(nowMs)],
      issuesMs: [nowMs - 8 * DAY, nowMs - DAY],
    },
    nowMs,
  )
  assert.deepEqual(past.issuesMs, [nowMs - DAY])
  assert.deepEqual(past.failuresMs, Array<number>(20).fill(nowMs))
})
