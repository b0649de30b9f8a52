import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Remembered } from '../../../src/oidc/remembered.ts'
import { Subjects } from '../../../src/oidc/subjects.ts'
import { tokenOf } from '../pipeline/world.ts'

test('the oldest goes when there is no room', () => {
  const table = new Remembered<{ untilMs: number }>(3)
  for (const key of ['a', 'b', 'c', 'd']) table.set(key, { untilMs: 100 }, 0)
  assert.equal(table.size, 3)
  assert.equal(table.evictions, 1)
  assert.equal(table.get('a'), undefined)
  assert.deepEqual(table.get('d'), { untilMs: 100 })
})

test('what is over goes first, and is no loss', () => {
  const table = new Remembered<{ untilMs: number }>(3)
  for (const key of ['a', 'b', 'c']) table.set(key, { untilMs: 10 }, 0)
  table.set('d', { untilMs: 100 }, 10)
  assert.equal(table.size, 2)
  assert.equal(table.evictions, 0)
  table.clear()
  assert.equal(table.size, 0)
})

test('a key that is set again is the newest', () => {
  const table = new Remembered<{ untilMs: number }>(2)
  for (const key of ['a', 'b', 'a', 'c']) table.set(key, { untilMs: 100 }, 0)
  assert.equal(table.get('b'), undefined)
  assert.notEqual(table.get('a'), undefined)
})

test('of too many subjects the one goes whose last JWT is the oldest', () => {
  const subjects = new Subjects(2)
  for (const id of ['a', 'b', 'a', 'c']) subjects.seen(tokenOf(id))
  subjects.used(tokenOf('a'), 1)
  subjects.used(tokenOf('b'), 1)
  subjects.ended(tokenOf('a'), { outcome: 'accepted', bytesIn: 7 })
  subjects.ended(tokenOf('a'), { outcome: 'rate_limited', bytesIn: 0 })
  assert.deepEqual(
    [...subjects.usage()].map(({ id, requests, bytes, refusals }) => [
      id,
      requests,
      bytes,
      Object.fromEntries(refusals),
    ]),
    [
      ['a', 1, 7, { rate_limited: 1 }],
      ['c', 0, 0, {}],
    ],
  )
  assert.equal(subjects.evictions, 1)
})
