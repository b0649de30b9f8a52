/** Verdicts on answers: of strangers' requests, of exports, of what is over the rate. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  judgeMetricsPage,
  judgeRedirects,
  judgeSecrets,
  judgeWithoutToken,
} from '../../../docker/validate/checks/answers.ts'
import { judgeExport, judgeLabels } from '../../../docker/validate/checks/arrival.ts'
import { judgeRate, judgeRefusals } from '../../../docker/validate/checks/rate.ts'
import { judgeClock, judgeFamily, judgeWays } from '../../../docker/validate/checks/reach.ts'
import type { Answer } from '../../support/client.ts'

const FAULT = { fault: 'read ECONNRESET', elapsedMs: 1 }

function http(httpStatus: number, headers: Answer['headers'] = {}, body = '') {
  const answer: Answer = {
    ...{ way: 'HTTP/1.1', httpStatus, grpcStatus: undefined, grpcMessage: undefined },
    ...{ headers, trailers: {}, body: Buffer.from(body), endsOnHeaders: false, wasReused: false },
  }
  return { answer, elapsedMs: 4 }
}

function grpc(grpcStatus: number, headers: Answer['headers'] = {}) {
  const answer: Answer = {
    ...{ way: 'gRPC', httpStatus: 200, grpcStatus, grpcMessage: undefined, headers },
    ...{ trailers: {}, body: Buffer.alloc(0), endsOnHeaders: true, wasReused: false },
  }
  return { answer, elapsedMs: 4 }
}

const asked = (outcome: ReturnType<typeof http> | typeof FAULT) => [{ what: 'it', outcome }]

test('without a token: 401 says how to come back, gRPC says UNAUTHENTICATED', () => {
  const challenge = { 'www-authenticate': 'Bearer realm="otlp"' }
  assert.equal(judgeWithoutToken(http(401, challenge), '').status, 'pass')
  assert.equal(judgeWithoutToken(grpc(16), '').status, 'pass')
  for (const bad of [http(401), http(200), http(403, challenge), grpc(0), grpc(7), FAULT])
    assert.equal(judgeWithoutToken(bad, '').status, 'fail')
})

test('one redirect is one too many, and no answer at all is no proof', () => {
  assert.equal(judgeRedirects(asked(http(404)), '').status, 'pass')
  assert.equal(judgeRedirects(asked(http(308, { location: '/' })), '').status, 'fail')
  assert.equal(judgeRedirects(asked(FAULT), '').status, 'fail')
})

test('a page of metrics fails, whatever its status says', () => {
  assert.equal(judgeMetricsPage(asked(http(404)), '').status, 'pass')
  assert.equal(judgeMetricsPage(asked(http(200)), '').status, 'fail')
  assert.equal(judgeMetricsPage(asked(FAULT), '').status, 'fail')
  const page = http(404, {}, '# HELP up Whether.\n')
  assert.equal(judgeMetricsPage(asked(page), '').status, 'fail')
})

test('an address of the inside in head or body is found', () => {
  const quiet = http(503, {}, 'the collector is away')
  assert.equal(judgeSecrets(asked(quiet), ['collector:4317'], '').status, 'pass')
  assert.equal(judgeSecrets(asked(FAULT), [], '').status, 'fail')
  const told = http(502, {}, 'connect ECONNREFUSED 10.0.3.7:4317')
  assert.equal(judgeSecrets(asked(told), [], '').status, 'fail')
  const named = http(502, { via: 'collector:4317' })
  assert.equal(judgeSecrets(asked(named), ['collector:4317'], '').status, 'fail')
})

test('an export counts when the collector took all of it', () => {
  assert.equal(judgeExport('traces', 'HTTP', http(200), '').status, 'pass')
  // ExportTracePartialSuccess with one rejected span.
  const partial = http(200, {}, '\u000a\u0002\u0008\u0001')
  const row = judgeExport('traces', 'HTTP', partial, '')
  assert.equal(row.status, 'fail')
  assert.match(row.figure, /^1 rejected/)
  for (const bad of [http(503), grpc(14), FAULT])
    assert.equal(judgeExport('traces', 'HTTP', bad, '').status, 'fail')
})

test('in Prometheus both points are needed, with the labels that dashboards use', () => {
  const sample = (way: string, more = {}) => ({
    metric: { way, job: 'tollgate-validate', device: 'web-1', ...more },
    value: [1, '1'] as const,
  })
  const both = [sample('gRPC'), sample('HTTP/1.1')]
  assert.equal(judgeLabels(both, 'web-1', '').status, 'pass')
  assert.equal(judgeLabels(both.slice(1), 'web-1', '').status, 'fail')
  assert.equal(judgeLabels([], 'web-1', '').status, 'fail')
  const exported = [sample('gRPC', { job: 'agents' }), sample('HTTP/1.1')]
  assert.equal(judgeLabels(exported, 'web-1', '').status, 'fail')
  assert.equal(judgeLabels(both, 'web-2', '').status, 'fail')
})

test('the rate is held within 5 %, in both directions', () => {
  const at = (count: number) => judgeRate({ count, elapsedMs: 5000, refused: 0 }, 100, '').status
  assert.deepEqual([at(475), at(500), at(525)], ['pass', 'pass', 'pass'])
  assert.deepEqual([at(470), at(530), at(0)], ['fail', 'fail', 'fail'])
  assert.equal(judgeRate({ count: 0, elapsedMs: 0, refused: 40 }, 100, '').status, 'fail')
})

test('a refusal has to say when to come back', () => {
  const details = Buffer.from('\b\b\u0012type.googleapis.com/google.rpc.RetryInfo').toString(
    'base64',
  )
  const good = [
    http(429, { 'retry-after': '1' }),
    http(503, { 'retry-after': '5' }),
    grpc(8, { 'grpc-status-details-bin': details }),
    http(200),
  ]
  assert.equal(judgeRefusals(good, 'HTTP', '').status, 'pass')
  const bad = [
    http(429),
    http(503, { 'retry-after': '0' }),
    http(403, { 'retry-after': '1' }),
    grpc(8),
    FAULT,
  ]
  for (const outcome of bad)
    assert.equal(judgeRefusals([http(200), outcome], 'HTTP', '').status, 'fail')
})

test('that nothing is refused fails: there is no limit', () => {
  assert.equal(judgeRefusals([http(200), http(200)], 'HTTP', '').status, 'fail')
})

test('every protocol is wanted on every port', () => {
  const good = { way: 'HTTP/1.1', port: 4317, outcome: http(200) } as const
  assert.equal(judgeWays([good], '').status, 'pass')
  const row = judgeWays([good, { way: 'gRPC', port: 4318, outcome: grpc(12) }], '')
  assert.equal(row.status, 'fail')
  assert.equal(row.figure, 'gRPC on 4318: gRPC 12')
  assert.equal(judgeFamily('IPv6', FAULT, '').status, 'fail')
})

test('clocks may be five seconds apart; without a Date header nobody knows', () => {
  const date = 'Mon, 30 Nov 2026 09:00:00 GMT'
  const at = (offMs: number) => judgeClock(date, Date.parse(date) + offMs, 0, '')
  assert.equal(at(500).status, 'pass')
  assert.equal(at(4_000).status, 'pass')
  assert.equal(at(6_000).status, 'fail')
  assert.equal(at(6_000).figure, '-5.5 s')
  assert.equal(at(-6_000).status, 'fail')
  assert.equal(judgeClock(undefined, 0, 0, '').status, 'skip')
})
