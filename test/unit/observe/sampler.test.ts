import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Sampler } from '../../../src/observe/sampler.ts'

test('lets one of a kind through in each interval and tells how many it kept back', () => {
  const sampler = new Sampler(1000)
  const taken = [0, 1, 999, 1000, 1500, 2000].map((nowMs) => sampler.take('a', nowMs))
  assert.deepEqual(taken, [0, undefined, undefined, 2, undefined, 1])
  assert.equal(sampler.take('b', 2000), 0)
})

test('tells at the end what was kept back, once', () => {
  const sampler = new Sampler(1000)
  for (const kind of ['a', 'a', 'a', 'b']) sampler.take(kind, 5)
  assert.deepEqual(sampler.drain(), [{ kind: 'a', suppressed: 2 }])
  assert.deepEqual(sampler.drain(), [])
})
