import assert from 'node:assert/strict'
import { test } from 'node:test'
import { RestartDelay, WELL_AFTER_MS } from '../../../src/parent/restart-delay.ts'

test('early deaths wait longer each time, to 10 s', () => {
  const delay = new RestartDelay()
  const delays = Array.from({ length: 8 }, () => delay.died(1000).delayMs)
  assert.deepEqual(delays, [0, 500, 1000, 2000, 4000, 8000, 10_000, 10_000])
})

test('a gateway that was well for a minute is started again at once', () => {
  const delay = new RestartDelay()
  for (let deaths = 0; deaths < 4; deaths += 1) delay.died(0)
  assert.deepEqual(delay.died(WELL_AFTER_MS), { delayMs: 0, earlyDeaths: 0, deservesWord: false })
  assert.equal(delay.died(0).delayMs, 0)
  assert.equal(delay.died(0).delayMs, 500)
})

test('each fifth early death in a row deserves a word', () => {
  const delay = new RestartDelay()
  const words = Array.from({ length: 11 }, () => delay.died(0).deservesWord)
  assert.deepEqual(
    words.flatMap((deservesWord, at) => (deservesWord ? [at + 1] : [])),
    [5, 10],
  )
})
