/** What the collector answers reaches the client: unchanged where both speak the same protocol. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { decodeRpcStatus, encodeRpcStatus } from '../../src/edge/rpc-status.ts'
import { startGateway } from '../support/gateway.ts'

/** ExportTracePartialSuccess { rejected_spans = 3, error_message = "no" } in its response. */
const PARTIAL_SUCCESS = Buffer.from([0x0a, 0x06, 0x08, 0x03, 0x12, 0x02, 0x6e, 0x6f])
const STATUS = { code: 8, message: 'slow down, bitte: ü', retryAfterSeconds: 3 }
const DETAILS = encodeRpcStatus(STATUS)

test('gRPC to gRPC: message, headers, trailers and compression', async (t) => {
  const gateway = await startGateway(t, { speaks: 'grpc' })
  gateway.collector.behave({
    kind: 'ok',
    message: PARTIAL_SUCCESS,
    headers: { 'x-from': 'head', 'grpc-accept-encoding': 'gzip' },
    trailers: { 'x-end': 'tail', 'x-bin-bin': 'AAEC' },
  })
  const answer = await gateway.connect('gRPC').send()
  assert.equal(answer.grpcStatus, 0)
  assert.deepEqual(answer.body, PARTIAL_SUCCESS)
  assert.equal(answer.headers['x-from'], 'head')
  assert.equal(answer.headers['content-type'], 'application/grpc')
  assert.equal(answer.trailers['x-end'], 'tail')
  assert.equal(answer.trailers['x-bin-bin'], 'AAEC')
  assert.equal(answer.endsOnHeaders, false)

  const compressed = gzipSync(PARTIAL_SUCCESS)
  gateway.collector.behave({ kind: 'ok', message: compressed, encoding: 'gzip' })
  const takes = { headers: { 'grpc-accept-encoding': 'identity,gzip' } }
  const passed = await gateway.connect('gRPC').send(takes)
  assert.deepEqual(passed.body, compressed)
  assert.equal(passed.headers['grpc-encoding'], 'gzip')
  const unpacked = await gateway.connect('gRPC').send()
  assert.deepEqual(unpacked.body, PARTIAL_SUCCESS)
  assert.equal(unpacked.headers['grpc-encoding'], undefined)
})

for (const isTrailersOnly of [true, false]) {
  const how = isTrailersOnly ? 'in its headers alone' : 'in its trailers'
  test(`gRPC to gRPC: a refusal of the collector ${how} reaches the client in the headers alone`, async (t) => {
    const gateway = await startGateway(t, { speaks: 'grpc' })
    gateway.collector.behave({
      kind: 'refuse',
      status: 8,
      message: encodeURIComponent(STATUS.message),
      detailsBin: DETAILS.toString('base64'),
      trailers: { 'google.rpc.retryinfo-bin': 'CgIIAw', 'x-end': 'tail' },
      isTrailersOnly,
    })
    const answer = await gateway.connect('gRPC').send({ message: Buffer.from('message') })
    assert.ok(answer.endsOnHeaders)
    assert.equal(answer.grpcStatus, 8)
    assert.equal(answer.grpcMessage, STATUS.message)
    const details = Buffer.from(String(answer.headers['grpc-status-details-bin']), 'base64')
    assert.deepEqual(details, DETAILS)
    assert.equal(answer.headers['google.rpc.retryinfo-bin'], 'CgIIAw')
    assert.equal(answer.headers['x-end'], 'tail')
    assert.deepEqual(await gateway.outcomes(), { collector_refused: 1 })
  })
}

for (const way of ['HTTP/1.1', 'HTTP/2'] as const) {
  test(`${way} to HTTP: status, body, Retry-After and compression`, async (t) => {
    const gateway = await startGateway(t, { speaks: 'http' })
    const client = gateway.connect(way)
    gateway.collector.behave({ kind: 'ok', message: PARTIAL_SUCCESS })
    const taken = await client.send()
    assert.deepEqual(taken.body, PARTIAL_SUCCESS)
    assert.equal(taken.headers['content-type'], 'application/x-protobuf')

    const compressed = gzipSync(PARTIAL_SUCCESS)
    gateway.collector.behave({ kind: 'ok', message: compressed, encoding: 'gzip' })
    const passed = await client.send({ headers: { 'accept-encoding': 'gzip' } })
    assert.deepEqual(passed.body, compressed)
    assert.equal(passed.headers['content-encoding'], 'gzip')

    const headers = { 'retry-after': '7', 'x-internal': 'stays here' }
    gateway.collector.behave({ kind: 'refuse', httpStatus: 429, body: DETAILS, headers })
    const refused = await client.send()
    assert.equal(refused.httpStatus, 429)
    assert.deepEqual(refused.body, DETAILS)
    assert.equal(refused.headers['retry-after'], '7')
    assert.equal(refused.headers['x-internal'], undefined)
    assert.deepEqual(await gateway.outcomes(), { accepted: 2, collector_refused: 1 })
  })

  test(`${way} to HTTP: an answer that is no OTLP becomes one`, async (t) => {
    const gateway = await startGateway(t, { speaks: 'http' })
    const client = gateway.connect(way)
    gateway.collector.behave({ kind: 'bare', httpStatus: 502, body: '<h1>Bad Gateway</h1>' })
    for (const format of ['protobuf', 'json'] as const) {
      const answer = await client.send({ format })
      assert.equal(answer.httpStatus, 502)
      assert.doesNotMatch(String(answer.body), /<h1>/)
      const body = answer.body ?? Buffer.alloc(0)
      const status = format === 'json' ? JSON.parse(String(body)) : decodeRpcStatus(body)
      assert.equal(status.message, 'The collector answered with HTTP status 502.')
    }
    gateway.collector.behave({ kind: 'bare', httpStatus: 302 })
    assert.equal((await client.send()).httpStatus, 503, 'some clients take a redirect for success')
  })

  test(`${way} to gRPC: message and status in HTTP's words`, async (t) => {
    const gateway = await startGateway(t, { speaks: 'grpc' })
    const client = gateway.connect(way)
    gateway.collector.behave({ kind: 'ok', message: PARTIAL_SUCCESS })
    const taken = await client.send()
    assert.equal(taken.httpStatus, 200)
    assert.deepEqual(taken.body, PARTIAL_SUCCESS)
    assert.equal(taken.headers['content-type'], 'application/x-protobuf')

    const detailsBin = DETAILS.toString('base64')
    gateway.collector.behave({ kind: 'refuse', status: 8, message: 'slow', detailsBin })
    const refused = await client.send()
    assert.equal(refused.httpStatus, 429)
    assert.equal(refused.headers['retry-after'], '3')
    assert.deepEqual(refused.body, DETAILS)

    gateway.collector.behave({ kind: 'refuse', status: 3, message: 'bad span' })
    const invalid = await client.send()
    assert.equal(invalid.httpStatus, 400)
    assert.equal(invalid.headers['retry-after'], undefined)
    assert.equal(decodeRpcStatus(invalid.body ?? Buffer.alloc(0))?.message, 'bad span')
  })
}

test('gRPC to HTTP: message and status in gRPC’s words', async (t) => {
  const gateway = await startGateway(t, { speaks: 'http' })
  const client = gateway.connect('gRPC')
  gateway.collector.behave({ kind: 'ok', message: PARTIAL_SUCCESS })
  const taken = await client.send()
  assert.equal(taken.grpcStatus, 0)
  assert.deepEqual(taken.body, PARTIAL_SUCCESS)

  const headers = { 'retry-after': '4' }
  gateway.collector.behave({ kind: 'refuse', httpStatus: 503, body: Buffer.alloc(0), headers })
  const refused = await client.send()
  assert.ok(refused.endsOnHeaders)
  assert.equal(refused.grpcStatus, 14)
  const details = Buffer.from(String(refused.headers['grpc-status-details-bin']), 'base64')
  assert.equal(decodeRpcStatus(details)?.retryAfterSeconds, 4)

  gateway.collector.behave({ kind: 'refuse', httpStatus: 429, body: DETAILS })
  const limited = await client.send()
  assert.equal(limited.grpcStatus, 8)
  assert.equal(limited.grpcMessage, STATUS.message)
})
