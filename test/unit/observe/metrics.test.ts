import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { CONNECTION_REFUSALS as EDGE_REFUSALS } from '../../../src/edge/listener.ts'
import { CONNECTION_REFUSALS } from '../../../src/observe/connections.ts'
import { Metrics } from '../../../src/observe/metrics.ts'
import { MAX_TOKENS_SHOWN } from '../../../src/observe/token-numbers.ts'
import { OUTCOMES } from '../../../src/pipeline/outcome.ts'
import { runToEnd } from '../../support/child.ts'
import { hasTools, tool } from '../../support/tools.ts'
import { arrival, ending, restingReadings, samples, sum, usageOf } from './fixtures.ts'

function metricsWith(changes: Parameters<typeof restingReadings>[0] = {}): Metrics {
  return new Metrics({
    version: '0.0.0-test',
    readings: restingReadings(changes),
    hasProcessMetrics: false,
  })
}

test('the page is written in the format that Prometheus 3 insists on', () => {
  assert.equal(metricsWith().contentType, 'text/plain; version=0.0.4; charset=utf-8')
})

test('every family has a help text and a type', async () => {
  const page = await metricsWith().page()
  const named = (kind: string) =>
    [...page.matchAll(new RegExp(`^# ${kind} (\\S+) \\S+`, 'gm'))].map(([, name]) => name)
  assert.ok(named('HELP').length > 25)
  assert.deepEqual(named('TYPE'), named('HELP'))
  assert.equal(new Set(named('HELP')).size, named('HELP').length)
})

test('series of closed sets are there from the start, at 0', async () => {
  const page = samples(await metricsWith().page())
  for (const outcome of OUTCOMES)
    for (const protocol of ['grpc', 'http'])
      for (const signal of ['traces', 'metrics', 'logs', 'profiles', 'none'])
        assert.equal(
          page.get(
            `tollgate_outcomes_total{protocol="${protocol}",signal="${signal}",outcome="${outcome}"}`,
          ),
          0,
        )
  assert.equal(page.get('tollgate_held_ended_total{reason="rate_limited",how="saved"}'), 0)
  assert.equal(page.get('tollgate_strikes_total{reason="token_unknown"}'), 0)
  assert.equal(page.get('tollgate_connections_refused_total{reason="banned"}'), 0)
  assert.equal(page.get('tollgate_bans_total'), 0)
  assert.equal(
    page.get('tollgate_request_duration_seconds_count{protocol="http",group="failed"}'),
    0,
  )
})

test('arrivals = outcomes + in flight, whatever has arrived and ended', async () => {
  const step = fc.record({
    protocol: fc.constantFrom('grpc' as const, 'http' as const),
    signal: fc.constantFrom('traces' as const, 'logs' as const, 'none' as const),
    outcome: fc.option(fc.constantFrom(...OUTCOMES)),
  })
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
      const metrics = metricsWith()
      for (const { protocol, signal, outcome } of steps) {
        const request = arrival({ protocol, signal })
        metrics.requests.arrived(request)
        if (outcome !== null) metrics.requests.ended(request, ending(outcome))
      }
      const page = await metrics.page()
      const inFlight = steps.filter(({ outcome }) => outcome === null).length
      assert.equal(sum(page, 'tollgate_arrivals_total'), steps.length)
      assert.equal(sum(page, 'tollgate_in_flight'), inFlight)
      assert.equal(
        sum(page, 'tollgate_arrivals_total'),
        sum(page, 'tollgate_outcomes_total') + sum(page, 'tollgate_in_flight'),
      )
    }),
    { numRuns: 30 },
  )
})

test('two pages asked for at once each hold together', async () => {
  const metrics = metricsWith()
  metrics.requests.arrived(arrival())
  const first = metrics.page()
  metrics.requests.ended(arrival(), ending('accepted'))
  metrics.requests.arrived(arrival())
  metrics.requests.arrived(arrival())
  const pages = await Promise.all([first, metrics.page()])
  const numbers = pages.map((page) =>
    ['arrivals_total', 'outcomes_total', 'in_flight'].map((name) => sum(page, `tollgate_${name}`)),
  )
  assert.deepEqual(numbers, [
    [1, 0, 1],
    [3, 1, 2],
  ])
})

test('durations and sizes fall into their buckets', async () => {
  const metrics = metricsWith()
  for (const [durationMs, bytesIn] of [
    [1, 256],
    [1.1, 257],
    [60_000, 0],
  ] as const) {
    metrics.requests.arrived(arrival())
    metrics.requests.ended(arrival(), ending('accepted', { durationMs, bytesIn, bytesOut: 5 }))
  }
  const page = samples(await metrics.page())
  const duration = (suffix: string, le = '') =>
    page.get(
      `tollgate_request_duration_seconds_${suffix}{protocol="grpc",group="answered"${le && `,le="${le}"`}}`,
    )
  assert.equal(duration('bucket', '0.001'), 1)
  assert.equal(duration('bucket', '0.0025'), 2)
  assert.equal(duration('bucket', '30'), 2)
  assert.equal(duration('bucket', '+Inf'), 3)
  assert.equal(duration('count'), 3)
  assert.equal(duration('sum')?.toFixed(4), '60.0021')
  assert.equal(page.get('tollgate_request_bytes_bucket{protocol="grpc",le="256"}'), 1)
  assert.equal(page.get('tollgate_request_bytes_count{protocol="grpc"}'), 2)
  assert.equal(page.get('tollgate_received_bytes_total{protocol="grpc"}'), 513)
  assert.equal(page.get('tollgate_sent_bytes_total{protocol="grpc"}'), 15)
})

test('waiting requests are counted, also where they wait for something else in the end', async () => {
  const metrics = metricsWith()
  metrics.requests.held('rate_limited')
  metrics.requests.held('rate_limited')
  metrics.requests.unheld('collector_unavailable', 'saved', 300)
  const page = samples(await metrics.page())
  assert.equal(page.get('tollgate_held'), 1)
  assert.equal(page.get('tollgate_held_total{reason="rate_limited"}'), 2)
  assert.equal(page.get('tollgate_held_ended_total{reason="collector_unavailable",how="saved"}'), 1)
  assert.equal(page.get('tollgate_hold_seconds_sum'), 0.3)
})

test('strikes are the refusals that count towards a ban', async () => {
  const metrics = metricsWith()
  for (const outcome of [
    'token_missing',
    'token_unknown',
    'token_unknown',
    'token_expired',
  ] as const)
    metrics.requests.ended(arrival(), ending(outcome))
  const page = await metrics.page()
  assert.equal(sum(page, 'tollgate_strikes_total'), 3)
})

test('a token shows by id and holder, and goes when it leaves the set', async () => {
  let usage = [
    usageOf({ id: 'a"\\', holder: 'new\nline', lastUsedMs: 1_800_000_000_500, requests: 3 }),
    usageOf({ id: 'unused', holder: 'x', lastUsedMs: undefined, requests: 0 }),
  ]
  const metrics = metricsWith({ tokenUsage: () => usage })
  const page = samples(await metrics.page())
  const escaped = 'token="a\\"\\\\",holder="new\\nline"'
  assert.equal(page.get(`tollgate_token_requests_total{${escaped}}`), 3)
  assert.equal(page.get(`tollgate_token_last_used_timestamp_seconds{${escaped}}`), 1_800_000_000.5)
  assert.equal(page.get('tollgate_token_requests_total{token="unused",holder="x"}'), 0)
  assert.equal(
    page.has('tollgate_token_last_used_timestamp_seconds{token="unused",holder="x"}'),
    false,
  )
  usage = []
  assert.equal((await metrics.page()).includes('token="'), false)
})

test('more tokens than can be shown are summed under other', async () => {
  const usage = Array.from({ length: MAX_TOKENS_SHOWN + 3 }, (_, index) =>
    usageOf({ id: `t${index}`, holder: `h${index}`, lastUsedMs: 1_000 * index, requests: 2 }),
  )
  const page = samples(await metricsWith({ tokenUsage: () => usage }).page())
  const shown = [...page.keys()].filter((key) => key.startsWith('tollgate_token_requests_total'))
  assert.equal(shown.length, MAX_TOKENS_SHOWN + 1)
  assert.equal(page.get('tollgate_token_requests_total{token="other",holder="other"}'), 6)
  assert.equal(
    page.get('tollgate_token_last_used_timestamp_seconds{token="other",holder="other"}'),
    MAX_TOKENS_SHOWN + 2,
  )
  assert.equal(
    page.get('tollgate_token_refusals_total{token="other",holder="other",reason="rate_limited"}'),
    3,
  )
  assert.equal(page.get('tollgate_holder_refusals_total{holder="other"}'), 3)
  assert.equal(page.get('tollgate_holder_refusals_total{holder="h0"}'), 1)
  assert.equal(
    [...page.keys()].some((key) => /^tollgate_token_state.*token="other"/.test(key)),
    false,
  )
})

test('a holder was last used when the last of its tokens was, and is refused with any', async () => {
  const usage = [
    usageOf({ id: 'old', holder: 'a', lastUsedMs: 3_000, state: 'retiring', retiringUses: 2 }),
    usageOf({ id: 'new', holder: 'a', lastUsedMs: undefined, state: 'pending' }),
    usageOf({ id: 'b', holder: 'b', lastUsedMs: undefined, refusals: new Map() }),
  ]
  const page = samples(await metricsWith({ tokenUsage: () => usage }).page())
  assert.equal(page.get('tollgate_holder_last_used_timestamp_seconds{holder="a"}'), 3)
  assert.equal(page.has('tollgate_holder_last_used_timestamp_seconds{holder="b"}'), false)
  assert.equal(page.get('tollgate_holder_refusals_total{holder="a"}'), 2)
  assert.equal(page.get('tollgate_holder_refusals_total{holder="b"}'), 0)
  assert.equal(page.get('tollgate_token_state{token="old",holder="a",state="retiring"}'), 1)
  assert.equal(page.get('tollgate_token_state{token="new",holder="a",state="pending"}'), 1)
  assert.equal(page.get('tollgate_token_retiring_requests_total{token="old",holder="a"}'), 2)
})

test('with TLS off there is nothing about a certificate', async () => {
  const page = samples(
    await metricsWith({
      certificates: () => undefined,
      acme: () => undefined,
    }).page(),
  )
  assert.deepEqual(
    [...page.keys()].filter((key) => key.startsWith('tollgate_certificate')),
    [],
  )
})

test('connections: open = accepted - closed; an unknown reason counts as other', async () => {
  const metrics = metricsWith()
  metrics.connections.opened('grpc')
  metrics.connections.opened('grpc')
  metrics.connections.closed('grpc')
  metrics.connections.refused('banned')
  metrics.connections.refused('203.0.113.9')
  const page = samples(await metrics.page())
  assert.equal(page.get('tollgate_connections{port="grpc"}'), 1)
  assert.equal(page.get('tollgate_connections_total{port="grpc"}'), 2)
  assert.equal(page.get('tollgate_connections_refused_total{reason="banned"}'), 1)
  assert.equal(page.get('tollgate_connections_refused_total{reason="other"}'), 1)
})

test('every reason of the listener has a series of its own', () => {
  const known: readonly string[] = CONNECTION_REFUSALS
  assert.deepEqual(
    EDGE_REFUSALS.filter((reason) => !known.includes(reason)),
    [],
  )
})

test('no address and no user agent reaches the page', async () => {
  const metrics = metricsWith()
  const request = arrival({ authorization: 'Bearer tg_k7f3_sosecretthatitmustnotshow' })
  metrics.requests.arrived(request)
  metrics.requests.ended(request, ending('token_unknown'))
  const page = await metrics.page()
  for (const private_ of ['203.0.113.9', 'Python', 'tg_', 'Bearer'])
    assert.equal(page.includes(private_), false, private_)
})

test('promtool accepts the whole page', async (t) => {
  if (!hasTools(t, 'promtool')) return
  const metrics = new Metrics({ version: '0.0.0-test', readings: restingReadings() })
  metrics.requests.arrived(arrival())
  metrics.requests.ended(arrival(), ending('accepted', { bytesIn: 227, durationMs: 3 }))
  const page = await metrics.page()
  assert.match(page, /^nodejs_eventloop_lag_p99_seconds /m)
  assert.match(page, /^process_resident_memory_bytes /m)
  const checked = await runToEnd(tool('promtool'), ['check', 'metrics'], { input: page })
  assert.deepEqual(checked, { code: 0, signal: null, stdout: '', stderr: '' })
})
