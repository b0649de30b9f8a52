/** What is admitted reaches the collector unchanged, and nothing travels on that should not. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { gzipSync, zstdCompressSync } from 'node:zlib'
import { GRPC_PATHS, HTTP_PATHS, SIGNALS } from '../../src/otlp/signal.ts'
import { type Answer, type Export, WAYS } from '../support/client.ts'
import type { ScriptedCollector } from '../support/collector.ts'
import type { Reached } from '../support/collector-script.ts'
import { startGateway } from '../support/gateway.ts'

const SIZES_BYTES = [0, 5, 70_000, 300_000, 5_000_000]
const CODINGS = { identity: (bytes: Buffer) => bytes, gzip: gzipSync, zstd: zstdCompressSync }
const SPEAKS = ['grpc', 'http'] as const

for (const way of WAYS) {
  for (const speaks of SPEAKS) {
    test(`${way}: bytes arrive unchanged at a collector that takes ${speaks}`, async (t) => {
      const gateway = await startGateway(t, { speaks })
      const client = gateway.connect(way)
      let sent = 0
      for (const [coding, compress] of Object.entries(CODINGS)) {
        for (const size of SIZES_BYTES) {
          // Without a length a large body has to be collected for gRPC, and may be streamed for HTTP.
          for (const isChunked of way === 'gRPC' ? [false] : [false, true]) {
            const message = compress(randomBytes(size))
            const encoding = coding === 'identity' ? {} : { encoding: coding }
            assertTaken(await client.send({ message, ...encoding, isChunked }))
            assertReached(gateway.collector, { message, ...encoding }, speaks)
            sent += 1
          }
        }
      }
      assert.deepEqual(await gateway.outcomes(), { accepted: sent })
    })
  }

  test(`${way}: each signal goes to its own place`, async (t) => {
    for (const speaks of SPEAKS) {
      const gateway = await startGateway(t, { speaks })
      const client = gateway.connect(way)
      const paths = speaks === 'grpc' ? GRPC_PATHS : HTTP_PATHS
      for (const signal of SIGNALS) {
        assertTaken(await client.send({ signal, message: Buffer.from(signal) }))
        assert.equal(gateway.collector.reached.at(-1)?.path, paths[signal])
      }
      await gateway.stop()
    }
  })

  test(`${way}: what travels on of the headers, and what does not`, async (t) => {
    for (const speaks of SPEAKS) {
      const gateway = await startGateway(t, { speaks, env: { FORWARD_HEADERS: 'x-tenant' } })
      const headers = {
        'user-agent': 'OTel-OTLP-Exporter-Test/1.0',
        traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
        tracestate: 'a=b',
        baggage: 'c=d',
        'x-tenant': 'blue',
        'x-other': 'stays here',
        cookie: 'session=stays-here',
        'proxy-authorization': 'Basic c3RheXMtaGVyZQ==',
        'x-forwarded-for': '198.51.100.9',
        forwarded: 'for=198.51.100.9',
      }
      assertTaken(await gateway.connect(way).send({ message: Buffer.from('message'), headers }))
      const arrived = Object.fromEntries(
        Object.entries(gateway.collector.reached[0]?.headers ?? {}).filter(
          ([name]) => !name.startsWith(':') && !OWN_FIELDS.has(name),
        ),
      )
      assert.deepEqual(arrived, {
        'user-agent': headers['user-agent'],
        traceparent: headers.traceparent,
        tracestate: headers.tracestate,
        baggage: headers.baggage,
        'x-tenant': 'blue',
        'x-forwarded-for': '127.0.0.1',
      })
      await gateway.stop()
    }
  })

  test(`${way}: nothing is acknowledged that the collector has not taken`, async (t) => {
    const gateway = await startGateway(t)
    gateway.collector.behave({ kind: 'slow' })
    const call = gateway.connect(way).open({}, 1)
    let isAnswered = false
    const answer = call.answer.finally(() => {
      isAnswered = true
    })
    await call.write(way === 'gRPC' ? Buffer.from([0, 0, 0, 0, 1, 9]) : Buffer.from([9]))
    call.end()
    await gateway.collector.hasReached(1)
    // A round trip through the gateway later there is still no answer.
    await gateway.metrics()
    assert.equal(isAnswered, false)
    gateway.collector.resumeReading()
    assertTaken(await answer)
  })

  test(`${way}: a client that goes away takes its call back from the collector`, async (t) => {
    const gateway = await startGateway(t)
    gateway.collector.behave({ kind: 'stall' })
    const call = gateway.connect(way).open({}, 1)
    await call.write(way === 'gRPC' ? Buffer.from([0, 0, 0, 0, 1, 9]) : Buffer.from([9]))
    call.end()
    await gateway.collector.until(() => gateway.collector.reached[0]?.isComplete === true)
    call.cancel()
    await assert.rejects(call.answer)
    await gateway.collector.until(() => gateway.collector.reached[0]?.resetCode !== undefined)
    await gateway.until(
      (page) => (page.get('tollgate_in_flight') ?? []).every((at) => at.value === 0),
      'the end',
    )
    assert.deepEqual(await gateway.outcomes(), { client_gone: 1 })
  })

  test(`${way}: many at once on one connection, each with its own answer`, async (t) => {
    const gateway = await startGateway(t)
    const client = gateway.connect(way)
    const messages = Array.from({ length: 50 }, (_, index) => randomBytes(index * 1000))
    const answers = await Promise.all(messages.map((message) => client.send({ message })))
    for (const answer of answers) assertTaken(answer)
    const hex = (bytes: Buffer) => bytes.toString('hex')
    const arrived = gateway.collector.reached.map((reached) => hex(messageOf(reached)))
    assert.deepEqual(arrived.sort(), messages.map(hex).sort())
  })
}

test('JSON reaches the collector over HTTP as it was written', async (t) => {
  const gateway = await startGateway(t)
  const message = Buffer.from('{"resourceSpans": [ ]}')
  for (const way of ['HTTP/1.1', 'HTTP/2'] as const) {
    gateway.collector.behave({ kind: 'ok', message: Buffer.from('{"partialSuccess":{}}') })
    const answer = await gateway.connect(way).send({ message, format: 'json' })
    assert.equal(answer.headers['content-type'], 'application/json')
    assert.equal(String(answer.body), '{"partialSuccess":{}}')
    const reached = gateway.collector.reached.at(-1)
    assert.equal(reached?.protocol, 'http')
    assert.equal(reached?.headers['content-type'], 'application/json')
    assert.deepEqual(reached?.bytes(), message)
  }
})

test('the query of an OTLP/HTTP path is nobody’s business', async (t) => {
  const gateway = await startGateway(t)
  assertTaken(await gateway.connect('HTTP/1.1').send({ path: '/v1/logs?source=cli' }))
  assert.equal(gateway.collector.reached[0]?.path, GRPC_PATHS.logs)
})

test('either port takes every way', async (t) => {
  const gateway = await startGateway(t)
  for (const way of WAYS) {
    for (const address of [gateway.addresses.grpc, gateway.addresses.http]) {
      assertTaken(await gateway.connect(way, { address }).send())
    }
  }
  assert.deepEqual(await gateway.outcomes(), { accepted: 6 })
})

/** What the gateway writes by itself. */
const OWN_FIELDS = new Set([
  'accept-encoding',
  'connection',
  'content-length',
  'content-type',
  'grpc-accept-encoding',
  'grpc-timeout',
  'host',
  'te',
  'transfer-encoding',
])

function assertTaken(answer: Answer): void {
  assert.equal(answer.httpStatus, 200, String(answer.body))
  if (answer.way === 'gRPC') assert.equal(answer.grpcStatus, 0, answer.grpcMessage)
  else assert.equal(answer.headers['content-type'], 'application/x-protobuf')
}

function assertReached(
  { reached }: ScriptedCollector,
  { message = Buffer.alloc(0), encoding }: Export,
  protocol: 'grpc' | 'http',
): void {
  const last = reached.at(-1)
  assert.ok(last !== undefined)
  assert.equal(last.protocol, protocol)
  assert.ok(last.isComplete)
  assert.ok(messageOf(last).equals(Buffer.from(message)), 'the bytes changed')
  if (protocol === 'http') assert.equal(last.headers['content-encoding'], encoding)
  else {
    assert.equal(last.headers['grpc-encoding'], encoding)
    assert.equal(last.bytes()[0], encoding === undefined ? 0 : 1)
  }
}

/** Without the five bytes of gRPC. */
function messageOf({ protocol, bytes }: Reached): Buffer {
  return protocol === 'grpc' ? bytes().subarray(5) : bytes()
}
