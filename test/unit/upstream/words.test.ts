import assert from 'node:assert/strict'
import { test } from 'node:test'
import { BodyRefused, Fault } from '../../../src/pipeline/fault.ts'
import { authorityOf, originOf, pathUnder } from '../../../src/upstream/address.ts'
import { pauseMs } from '../../../src/upstream/backoff.ts'
import { faultFrom, wordsOf } from '../../../src/upstream/fault.ts'
import { grpcTimeout } from '../../../src/upstream/grpc-headers.ts'
import { takesGzip } from '../../../src/upstream/takes-gzip.ts'

function named(code: string, message = 'raw text'): Error {
  return Object.assign(new Error(message), { code })
}

test('errors are said in words, those behind others too', () => {
  assert.equal(wordsOf(named('ECONNREFUSED')), 'connection refused')
  assert.equal(wordsOf(new AggregateError([named('EHOSTUNREACH')])), 'no route to the host')
  assert.equal(
    wordsOf(new Error('outer', { cause: named('ENOTFOUND') })),
    'the name does not resolve',
  )
  assert.equal(wordsOf(named('EWHATEVER')), 'EWHATEVER')
  assert.equal(wordsOf(new Error('plain')), 'plain')
  assert.equal(wordsOf('not an error'), 'unknown error')
})

test('faults and refusals of the body pass, misuse is our own fault, the rest is the collector', () => {
  const fault = new Fault('client_gone', 'client')
  const refused = new BodyRefused({ reason: 'too_large' })
  assert.equal(faultFrom(fault, true), fault)
  assert.equal(faultFrom(refused, true), refused)
  for (const bug of [new TypeError('x'), named('UND_ERR_REQ_CONTENT_LENGTH_MISMATCH')]) {
    const own = faultFrom(bug, true)
    assert.ok(own instanceof Fault)
    assert.deepEqual([own.reason, own.source, own.canSendAgain], ['internal', 'gateway', false])
  }
  const lost = faultFrom(named('ECONNRESET'), true)
  assert.ok(lost instanceof Fault)
  assert.deepEqual(
    [lost.reason, lost.source, lost.canSendAgain],
    ['collector_unavailable', 'collector', true],
  )
})

test('pauses grow to 250 ms, and to 2 s when it lasts; up to a fifth shorter at random', () => {
  const longest = [0, 1, 2, 3, 40, 41, 42, 43, 5000].map((attempts) => pauseMs(attempts, () => 0))
  assert.deepEqual(longest, [0, 100, 200, 250, 250, 500, 1000, 2000, 2000])
  assert.equal(
    pauseMs(1, () => 1),
    80,
  )
})

test('an address in its written forms', () => {
  const address = { protocol: 'https:', host: '::1', port: 4318, path: '/otlp/' } as const
  assert.equal(authorityOf(address), '[::1]:4318')
  assert.equal(authorityOf({ ...address, host: '[::1]' }), '[::1]:4318')
  assert.equal(originOf({ ...address, host: 'collector' }), 'https://collector:4318')
  assert.equal(pathUnder(address, '/v1/logs'), '/otlp/v1/logs')
  assert.equal(pathUnder({ ...address, path: '' }, '/v1/logs'), '/v1/logs')
  assert.equal(pathUnder({ ...address, path: '/' }, '/v1/logs'), '/v1/logs')
})

test('grpc-timeout has at most eight digits, and is never nothing', () => {
  assert.deepEqual([0.4, 9999.9, 99_999_999, 100_000_000, 1e15].map(grpcTimeout), [
    '1m',
    '9999m',
    '99999999m',
    '100000S',
    '99999999S',
  ])
})

test('whether a client takes gzip', () => {
  for (const yes of ['gzip', 'identity, deflate, gzip', 'br;q=1, GZIP; q=0.5'])
    assert.equal(takesGzip(yes), true, yes)
  for (const no of [undefined, '', 'identity', 'x-gzip', 'gzip;q=0', 'gzip; q=0.000'])
    assert.equal(takesGzip(no), false, String(no))
})
