import assert from 'node:assert/strict'
import { test } from 'node:test'
import { median, minimum } from '../goals.ts'
import { parseSummary, percentiles } from '../h2load.ts'
import { cpuBetweenUs } from '../processes.ts'
import { selfTimes } from '../self-times.ts'

const SUMMARY = `
finished in 92.11ms, 10856.27 req/s, 622.22KB/s
requests: 1000 total, 1000 started, 1000 done, 990 succeeded, 10 failed, 3 errored, 0 timeout
status codes: 985 2xx, 1 3xx, 7 4xx, 2 5xx
traffic: 57.31KB (58690) total, 5.02KB (5140) headers (space savings 94.98%), 4.88KB (5000) data
`

test('reads the summary of h2load', () => {
  assert.deepEqual(parseSummary(SUMMARY), {
    requestsPerSecond: 10856.27,
    succeeded: 990,
    failed: 10,
    status2xx: 985,
    status4xx: 7,
  })
  assert.throws(() => parseSummary('h2load: command line option error'), /printed no/)
})

test('takes percentiles from the log of h2load, whatever the order of its lines', () => {
  const times = Array.from({ length: 200 }, (_, index) => index + 1).reverse()
  const log = times.map((time) => `1700000000\t200\t${time}\n`).join('')
  assert.deepEqual(percentiles(log), { p50Us: 101, p99Us: 199 })
  assert.ok(Number.isNaN(percentiles('').p50Us))
})

test('minimum and median', () => {
  assert.equal(minimum([3, 1, 2]), 1)
  assert.equal(median([9, 1, 3]), 3)
  assert.equal(median([4, 1, 3, 2]), 2.5)
  assert.ok(Number.isNaN(median([])))
})

test('believes the clock with ticks where a thread took its time with it', () => {
  const before = { ticksUs: 1_000_000, threadsUs: 1_004_321 }
  assert.equal(cpuBetweenUs(before, { ticksUs: 1_500_000, threadsUs: 1_507_654 }), 503_333)
  assert.equal(cpuBetweenUs(before, { ticksUs: 1_500_000, threadsUs: 1_204_321 }), 500_000)
})

test('adds up the samples of a profile within a window, without idle time', () => {
  const node = (id: number, functionName: string, url = '') => ({
    id,
    callFrame: { functionName, url, lineNumber: 9 },
  })
  const profile = {
    startTime: 1000,
    nodes: [node(1, '(idle)'), node(2, 'frame', 'node:net'), node(3, '', 'node:net')],
    samples: [2, 2, 1, 3, 2],
    timeDeltas: [0, 100, 50, 25, 10],
  }
  const { busyUs, byFunction, byFile } = selfTimes(profile, 1100, 1175)
  assert.equal(busyUs, 60)
  assert.deepEqual(Object.fromEntries(byFunction), {
    'frame  node:net:10': 50,
    '(anonymous)  node:net:10': 10,
  })
  assert.deepEqual(Object.fromEntries(byFile), { 'node:net': 60 })
})
