import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { getHeapSpaceStatistics } from 'node:v8'
import { tuneGarbageCollection } from '../../../src/commands/garbage.ts'

const MB = 1024 * 1024

function youngBytes(): number {
  const young = getHeapSpaceStatistics().find(({ space_name }) => space_name === 'new_space')
  assert.ok(young !== undefined)
  return young.space_size
}

/** Allocates about 600 MB of objects of which the last 60 thousand live: V8 would grow to 128 MB. */
async function churn(): Promise<void> {
  let kept: { value: number; values: number[] }[] = []
  for (let turns = 0; turns < 600; turns += 1) {
    for (let value = 0; value < 10_000; value += 1) kept.push({ value, values: [value] })
    if (kept.length >= 60_000) kept = []
    await turn()
  }
}

test('keeps the young generation small', async () => {
  tuneGarbageCollection()
  await churn()
  assert.ok(youngBytes() >= 4 * MB, `it has grown as it may: ${youngBytes() / MB} MB`)
  assert.ok(youngBytes() <= 64 * MB, `it has ${youngBytes() / MB} MB`)
})
