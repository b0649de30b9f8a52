/** The table of outcomes on the wire, written down a second time: whoever changes one has to mean it. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { httpStatusFor, retryAfterSeconds, wireOf, wordsOf } from '../../../src/edge/wire.ts'
import { FAULT_REASONS, REFUSAL_REASONS, type Reason } from '../../../src/pipeline/outcome.ts'

type Row = readonly [http: number, grpc: number, asksToComeBack: boolean, closes: boolean]

const TABLE: Readonly<Record<Reason, Row>> = {
  banned: [403, 7, false, true],
  rate_limited: [429, 8, true, false],
  token_missing: [401, 16, false, false],
  token_unknown: [401, 16, false, false],
  token_expired: [401, 16, false, false],
  token_not_yet_valid: [401, 16, false, false],
  tokens_unavailable: [503, 14, true, false],
  scope_denied: [403, 7, false, false],
  certificate_unknown: [401, 16, false, false],
  too_large: [413, 8, false, false],
  malformed: [400, 3, false, false],
  unknown_path: [404, 12, false, false],
  bad_method: [405, 12, false, false],
  bad_content_type: [415, 12, false, false],
  unsupported_encoding: [415, 12, false, false],
  overloaded: [503, 14, true, false],
  draining: [503, 14, true, true],
  collector_unavailable: [503, 14, true, false],
  collector_timeout: [504, 14, true, false],
  internal: [503, 14, true, false],
  client_gone: [499, 1, false, true],
}

for (const reason of [...REFUSAL_REASONS, ...FAULT_REASONS]) {
  test(reason, () => {
    const { http, grpc, retry, closes = false } = wireOf(reason)
    assert.deepEqual([http, grpc, retry, closes], TABLE[reason])
    assert.equal(retryAfterSeconds({ reason }) !== undefined, retry)
    assert.match(wordsOf({ reason }), /^[A-Z].*[^.]\.$/)
    assert.match(wordsOf({ reason, detail: 'so and so' }), /: so and so\.$/)
  })
}

test('what OTLP clients retry is exactly what asks them to come back', () => {
  for (const [reason, [http, grpc]] of Object.entries(TABLE)) {
    if (reason === 'client_gone') continue
    const retriedOverHttp = [429, 502, 503, 504].includes(http)
    // RESOURCE_EXHAUSTED is retried with RetryInfo only.
    const retriedOverGrpc = grpc === 8 ? wireOf(reason as Reason).retry : grpc === 14
    assert.equal(retriedOverHttp, retriedOverGrpc, reason)
  }
})

test('a hint is a whole number of seconds from one to five', () => {
  const hint = (retryAfterMs: number | undefined) =>
    retryAfterSeconds(
      retryAfterMs === undefined
        ? { reason: 'rate_limited' }
        : { reason: 'rate_limited', retryAfterMs },
    )
  assert.equal(hint(undefined), 2)
  assert.equal(hint(Number.POSITIVE_INFINITY), 2)
  assert.equal(hint(Number.NaN), 2)
  assert.equal(hint(-5), 1)
  assert.equal(hint(0), 1)
  assert.equal(hint(1), 1)
  assert.equal(hint(1000), 1)
  assert.equal(hint(1001), 2)
  assert.equal(hint(5000), 5)
  assert.equal(hint(1e9), 5)
  assert.equal(retryAfterSeconds({ reason: 'banned', retryAfterMs: 1000 }), undefined)
})

const AGENTS: readonly (readonly [string | undefined, number])[] = [
  [undefined, 429],
  ['', 429],
  ['OTel-OTLP-Exporter-Python/1.44.0', 503],
  ['OTel-OTLP-Exporter-Python/1.44', 503],
  ['OTel-OTLP-Exporter-Python/1.9.1', 503],
  ['OTel-OTLP-Exporter-Python/1.39.0', 503],
  ['OTel-OTLP-Exporter-Python/0.9', 503],
  ['OTel-OTLP-Exporter-Python/1.45.0', 429],
  ['OTel-OTLP-Exporter-Python/1.45', 429],
  ['OTel-OTLP-Exporter-Python/1.440', 429],
  ['OTel-OTLP-Exporter-Python/1.100.0', 429],
  ['OTel-OTLP-Exporter-Python/2.0.0', 429],
  ['OTel-OTLP-Exporter-JavaScript/0.301.0', 429],
  ['OTel OTLP Exporter Go/1.31.0', 429],
]

for (const [agent, status] of AGENTS) {
  test(`rate_limited is ${status} for ${JSON.stringify(agent)}`, () => {
    assert.equal(httpStatusFor('rate_limited', agent), status)
    assert.equal(httpStatusFor('token_unknown', agent), 401)
  })
}
