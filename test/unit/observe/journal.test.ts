import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { AuditEntry } from '../../../src/observe/audit.ts'
import { RequestJournal } from '../../../src/observe/journal.ts'
import { Metrics } from '../../../src/observe/metrics.ts'
import { Fault } from '../../../src/pipeline/fault.ts'
import { OUTCOMES, type Outcome } from '../../../src/pipeline/outcome.ts'
import type { Token } from '../../../src/pipeline/ports.ts'
import { arrival, ending, keptLog, restingReadings, sum } from './fixtures.ts'

function house(isDebug = false, late?: Token) {
  const { log, lines } = keptLog(isDebug)
  const entries: AuditEntry[] = []
  const metrics = new Metrics({
    version: 'test',
    readings: restingReadings(),
    hasProcessMetrics: false,
  })
  const now = { ms: 0 }
  const journal = new RequestJournal({
    numbers: metrics.requests,
    tokens: {
      ended: (_arrival, { token }) => token ?? late,
      storyOf: () => late && 'token old expired; its holder has no newer token',
    },
    log,
    audit: { write: (entry) => entries.push(entry) },
    clock: { nowMs: () => now.ms, wallMs: () => 1_800_000_000_000 + now.ms },
  })
  return { journal, lines, entries, metrics, now }
}

test('every outcome but a good one is told in words; refused credentials are audited', () => {
  const { journal, lines, entries } = house(true)
  for (const outcome of OUTCOMES) {
    journal.arrived(arrival())
    journal.ended(arrival(), ending(outcome))
  }
  const told = lines.filter(({ event }) => event !== 'request')
  assert.deepEqual(
    told.map(({ fields }) => fields.reason),
    OUTCOMES.filter((outcome) => outcome !== 'accepted'),
  )
  for (const { message } of told) assert.match(message, /traces over gRPC from 203\.0\.113\.9/)
  assert.equal(lines.length - told.length, OUTCOMES.length, 'debug has a line for each')
  assert.deepEqual(
    entries.map(({ reason }) => reason),
    [
      ...['token_missing', 'token_unknown', 'token_expired', 'token_not_yet_valid'],
      ...['scope_denied', 'certificate_unknown'],
    ],
  )
  assert.deepEqual(entries[0], {
    wallMs: 1_800_000_000_000,
    event: 'auth_refused',
    reason: 'token_missing',
    address: '203.0.113.9',
    protocol: 'grpc',
    signal: 'traces',
    userAgent: 'OTel-OTLP-Exporter-Python/1.44.0',
  })
})

test('a flood of refusals makes a line a second with how many it stands for; the audit has them all', () => {
  const { journal, lines, entries, now } = house()
  for (now.ms = 0; now.ms <= 2000; now.ms += 10) journal.ended(arrival(), ending('token_unknown'))
  assert.deepEqual(
    lines.map(({ fields }) => fields.suppressed),
    [undefined, 99, 99],
  )
  assert.equal(entries.length, 201)
  now.ms = 2500
  journal.ended(arrival(), ending('token_unknown'))
  journal.ended(arrival(), ending('malformed'))
  assert.equal(lines.length, 4, 'one reason does not silence another')
  journal.flush()
  assert.equal(lines.at(-1)?.message, '1 more lines like the last of token_unknown')
})

test('a defect shows its cause with the stack, a fault only the words of it', () => {
  const { journal, lines } = house()
  const bug = new TypeError('BUG: a thing')
  journal.ended(arrival(), ending('internal', { cause: bug }))
  const fault = new Fault('collector_unavailable', 'collector', {
    cause: new Error('connect ECONNREFUSED 10.0.0.1:4317'),
  })
  journal.ended(arrival(), ending('collector_unavailable', { cause: fault }))
  assert.equal(lines[0]?.level, 'error')
  assert.equal(lines[0]?.fields.err, bug)
  assert.equal(lines[1]?.fields.cause, 'collector_unavailable: connect ECONNREFUSED 10.0.0.1:4317')
  assert.equal('err' in (lines[1]?.fields ?? {}), false)
})

test('a line names the token by its id, tells the detail, and never shows the credential', () => {
  const { journal, lines, entries } = house()
  const limits = { requests: undefined, bytes: undefined, inFlight: undefined }
  const request = arrival({ authorization: 'Bearer tg_k7f3_verysecretindeedyes', signal: 'none' })
  journal.ended(
    request,
    ending('too_large', {
      token: { id: 'k7f3', holder: 'laptop', scopes: undefined, limits },
      refusal: { reason: 'too_large', detail: '70 MB\nare more than 64 MiB' },
    }),
  )
  journal.ended(request, ending('token_unknown'))
  assert.match(
    lines[0]?.message ?? '',
    /^Refused a request over gRPC from .* TOLLGATE_MAX_BODY \(70 MB are more than 64 MiB\)$/,
  )
  assert.equal(lines[0]?.fields.token, 'k7f3')
  assert.equal(lines[0]?.fields.holder, 'laptop')
  assert.equal(JSON.stringify([lines, entries]).includes('secret'), false)
})

test('a client that left is not worth a line, unless debugging', () => {
  const quiet = house()
  quiet.journal.ended(arrival(), ending('client_gone'))
  assert.deepEqual(quiet.lines, [])
})

test('counts what it is told', async () => {
  const { journal, metrics } = house()
  const outcomes: Outcome[] = ['accepted', 'rate_limited', 'internal']
  for (const outcome of outcomes) {
    journal.arrived(arrival())
    journal.ended(arrival(), ending(outcome))
  }
  journal.arrived(arrival())
  journal.held(arrival(), 'rate_limited')
  const waiting = await metrics.page()
  assert.equal(sum(waiting, 'tollgate_held'), 1)
  journal.unheld(arrival(), 'rate_limited', 'gone', 12)
  const page = await metrics.page()
  assert.equal(sum(page, 'tollgate_held'), 0)
  assert.equal(sum(page, 'tollgate_arrivals_total'), 4)
  assert.equal(sum(page, 'tollgate_outcomes_total'), 3)
  assert.equal(sum(page, 'tollgate_in_flight'), 1)
})

test('of an expired token the story is told to the operator in place of the answer', () => {
  const late = {
    id: 'old',
    holder: 'web-shop',
    scopes: undefined,
    limits: { requests: undefined, bytes: undefined, inFlight: undefined },
  }
  const { journal, lines } = house(false, late)
  const refusal = { reason: 'token_expired', detail: 'it expired on Monday' } as const
  journal.ended(arrival(), ending('token_expired', { refusal }))
  const [line] = lines
  assert.match(line?.message ?? '', /\(token old expired; its holder has no newer token\)$/)
  assert.equal(line?.fields.token, 'old')
  assert.equal(line?.fields.holder, 'web-shop')
  const denied = { reason: 'scope_denied', detail: 'this token may not export logs' } as const
  journal.ended(arrival(), ending('scope_denied', { refusal: denied }))
  assert.match(lines[1]?.message ?? '', /\(this token may not export logs\)$/)
  assert.equal(lines[1]?.fields.token, 'old')
})
