import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseGrpcTimeout } from '../../../src/edge/grpc-timeout.ts'

const TIMEOUTS: Readonly<Record<string, number>> = {
  '1H': 3_600_000,
  '99999999H': 359_999_996_400_000,
  '3M': 180_000,
  '5S': 5000,
  '4990m': 4990,
  '9992802u': 9992.802,
  '250000n': 0.25,
  '0S': 0,
  '00000001S': 1000,
}

for (const [text, ms] of Object.entries(TIMEOUTS)) {
  test(`${text} is ${ms} ms`, () => {
    assert.ok(Math.abs((parseGrpcTimeout(text) ?? Number.NaN) - ms) < 1e-6)
  })
}

for (const text of [
  '',
  'S',
  '10',
  '10s',
  '123456789S',
  '-1S',
  '+1S',
  '1.5S',
  '1 S',
  ' 1S',
  '1S ',
  '1SS',
  '１S',
])
  test(`${JSON.stringify(text)} is no deadline`, () => {
    assert.equal(parseGrpcTimeout(text), undefined)
  })

test('none is none', () => {
  assert.equal(parseGrpcTimeout(undefined), undefined)
})
