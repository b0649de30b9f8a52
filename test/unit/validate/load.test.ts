/** Reports of ghz 0.93.0, and what counts of them. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { judgeAdded, judgeLoad } from '../../../docker/validate/checks/load.ts'
import { loadByHand, loadMessage, readLoadReport } from '../../../docker/validate/ghz.ts'

const LOAD = { callsPerSecond: 1000, pointsPerCall: 1, calls: 5000 }

function report(p95Ms: number, statuses: Record<string, number> = { OK: 5000 }, rps = 998) {
  return readLoadReport(
    JSON.stringify({
      count: 5000,
      total: 5_009_000_000,
      average: 1_200_000,
      rps,
      statusCodeDistribution: statuses,
      latencyDistribution: [
        { percentage: 90, latency: 100_000 },
        { percentage: 95, latency: p95Ms * 1e6 },
        { percentage: 99, latency: 900_000_000 },
      ],
    }),
  )
}

test('all calls well, at the pace, under 200 ms is good', () => {
  const row = judgeLoad(LOAD, report(14.1), '', '')
  assert.equal(row.status, 'pass')
  assert.equal(row.figure, 'p95 14.1 ms at 998 requests/s')
})

test('too slow, refused, or not at the pace fails', () => {
  assert.equal(judgeLoad(LOAD, report(200), '', '').status, 'fail')
  assert.equal(judgeLoad(LOAD, report(10, { OK: 5000 }, 640), '', '').status, 'fail')
  const refused = judgeLoad(LOAD, report(10, { OK: 4000, ResourceExhausted: 1000 }), '', '')
  assert.equal(refused.status, 'fail')
  assert.equal(refused.figure, '4000 of 5000 went well: 1000 × ResourceExhausted')
})

test('a report without latencies is no proof', () => {
  const none = readLoadReport(
    '{"count":5000,"rps":1000,"statusCodeDistribution":{"OK":5000},"latencyDistribution":null}',
  )
  assert.equal(judgeLoad(LOAD, none, '', '').status, 'fail')
})

test('what the gateway adds is the best of its rounds less the best of the others', () => {
  const row = judgeAdded([report(9), report(4.5)], [report(2), report(1.5)], '')
  assert.equal(row.status, 'pass')
  assert.match(row.figure, /^3\.0 ms/)
  assert.equal(judgeAdded([report(7)], [report(1.5)], '').status, 'fail')
  assert.equal(judgeAdded([], [], '').status, 'fail')
})

test('the command for doing it by hand does not show the token', () => {
  const tls = { name: 'localhost', ca: '/ca.pem', token: 'tg_secret' }
  const command = loadByHand(LOAD, { address: '127.0.0.1:4317', tls })
  assert.doesNotMatch(command, /tg_secret/)
  assert.match(command, /-n 5000 -r 1000 /)
})

test('a message has as many data points as were asked for', () => {
  const message = JSON.parse(loadMessage(20, 1_700_000_000_000))
  const [{ gauge }] = message.resource_metrics[0].scope_metrics[0].metrics
  assert.equal(gauge.data_points.length, 20)
  assert.equal(gauge.data_points[0].time_unix_nano, '1700000000000000000')
})
