import assert from 'node:assert/strict'
import { constants } from 'node:http2'
import { afterEach, test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { BodyRefused } from '../../../src/pipeline/fault.ts'
import { closePairs, fault, grpcPair, until } from '../../support/collector-pair.ts'
import { streamedBody, wholeBody } from '../../support/parcel.ts'

afterEach(closePairs)

test('a message arrives once, with five bytes in front and the headers that travel on', async () => {
  const { far, send } = await grpcPair()
  const answer = await send({
    signal: 'logs',
    encoding: 'gzip',
    body: wholeBody(Buffer.from('ab'), Buffer.from('c')),
    headers: { 'user-agent': 'OTel/1', traceparent: '00-1-2-01' },
    deadlineMs: performance.now() + 5000,
  })
  assert.deepEqual([answer.status, answer.message], [0, ''])
  assert.deepEqual(answer.body, Buffer.alloc(0))
  assert.equal(far.reached.length, 1)
  const [reached] = far.reached
  assert.equal(reached?.path, '/opentelemetry.proto.collector.logs.v1.LogsService/Export')
  assert.deepEqual(reached?.bytes(), Buffer.from('\u0001\0\0\0\u0003abc'))
  const headers = { ...reached?.headers }
  assert.match(String(headers['grpc-timeout']), /^(4\d{3}|5000)m$/)
  assert.equal(headers['content-type'], 'application/grpc')
  assert.equal(headers.te, 'trailers')
  assert.equal(headers['grpc-encoding'], 'gzip')
  assert.equal(headers['grpc-accept-encoding'], undefined)
  assert.equal(headers['user-agent'], 'OTel/1')
  assert.equal(headers.traceparent, '00-1-2-01')
  assert.equal(headers[':authority'], `127.0.0.1:${far.grpcPort}`)
})

test('all signals have their own method, and one connection serves them all', async () => {
  const { far, send } = await grpcPair()
  for (const signal of ['traces', 'metrics', 'logs', 'profiles'] as const) await send({ signal })
  assert.deepEqual(
    far.reached.map(({ path }) => path.split('.').at(-1)),
    [
      'TraceService/Export',
      'MetricsService/Export',
      'LogsService/Export',
      'ProfilesService/Export',
    ],
  )
  assert.equal(far.connections, 1)
})

test('without a client deadline the collector is told our own limit', async () => {
  const { far, send } = await grpcPair({ timeoutMs: 7000 })
  await send()
  assert.equal(far.reached[0]?.headers['grpc-timeout'], '7000m')
})

test('message, metadata and trailers come back unchanged', async () => {
  const { far, send } = await grpcPair()
  far.behave({
    kind: 'ok',
    message: Buffer.from('partial success'),
    headers: { 'x-first': '1', server: 'hidden' },
    trailers: { 'x-last': '2', 'blob-bin': 'AAEC' },
  })
  const answer = await send()
  assert.equal(answer.body?.toString(), 'partial success')
  assert.deepEqual({ ...answer.headers }, { 'x-first': '1' })
  assert.deepEqual({ ...answer.trailers }, { 'x-last': '2', 'blob-bin': 'AAEC' })
})

for (const isTrailersOnly of [true, false]) {
  test(`a refusal comes back with its details (trailers only: ${isTrailersOnly})`, async () => {
    const { far, send } = await grpcPair()
    const detailsBin = Buffer.from('\u0008\u000e details').toString('base64')
    far.behave({
      kind: 'refuse',
      status: 8,
      message: 'zu viel: 100%25 %C3%BC',
      detailsBin,
      trailers: { 'google.rpc.retryinfo-bin': 'CgIIAQ' },
      isTrailersOnly,
    })
    const answer = await send()
    assert.equal(answer.status, 8)
    assert.equal(answer.message, 'zu viel: 100% ü')
    assert.equal(answer.detailsBin, detailsBin)
    assert.equal(answer.body, undefined)
    assert.deepEqual({ ...answer.trailers }, { 'google.rpc.retryinfo-bin': 'CgIIAQ' })
  })
}

test('a gzip answer passes where the client takes it, and is unpacked where not', async () => {
  const { far, send } = await grpcPair()
  const zipped = gzipSync('answer')
  far.behave({ kind: 'ok', message: zipped, encoding: 'gzip' })
  const passed = await send({ acceptEncoding: 'identity, deflate, gzip' })
  assert.deepEqual([passed.body, passed.encoding], [zipped, 'gzip'])
  const unpacked = await send({ acceptEncoding: 'gzip;q=0, br' })
  assert.deepEqual([unpacked.body?.toString(), unpacked.encoding], ['answer', undefined])
  assert.deepEqual(
    far.reached.map(({ headers }) => headers['grpc-accept-encoding']),
    ['gzip', undefined],
  )
})

for (const [httpStatus, status] of [
  [401, 16],
  [404, 12],
  [429, 14],
  [502, 14],
  [500, 14],
  [418, 2],
] as const) {
  test(`HTTP ${httpStatus} without a gRPC status means ${status}`, async () => {
    const { far, send } = await grpcPair()
    far.behave({ kind: 'bare', httpStatus, body: '<html>' })
    const answer = await send()
    assert.equal(answer.status, status)
    assert.match(answer.message, new RegExp(`HTTP ${httpStatus}`))
    assert.equal(answer.body, undefined)
  })
}

test('an answer that ends without a status is no answer', async () => {
  const { far, send } = await grpcPair()
  far.behave({ kind: 'bare', httpStatus: 200 })
  await assert.rejects(send(), fault('collector_unavailable', false))
})

test('an answer beyond the limit is final, since the data may have been taken', async () => {
  const { far, send } = await grpcPair()
  far.behave({ kind: 'ok', message: Buffer.alloc(4 * 1024 * 1024 + 1) })
  const answer = await send()
  assert.equal(answer.status, 8)
  far.behave({ kind: 'ok', message: Buffer.alloc(4 * 1024 * 1024) })
  assert.equal((await send()).body?.length, 4 * 1024 * 1024)
})

test('what ends the body early cancels the call and comes back as it was thrown', async () => {
  const { far, send } = await grpcPair()
  const refused = new BodyRefused({ reason: 'too_large' })
  const body = streamedBody(100, async function* () {
    yield Buffer.alloc(10)
    throw refused
  })
  await assert.rejects(send({ body }), (error) => error === refused)
  await far.until(() => far.reached[0]?.resetCode === constants.NGHTTP2_CANCEL)
  assert.equal(far.reached[0]?.isComplete, false)
})

test('the stream to the collector ends only after the body has passed its last check', async () => {
  const { far, send } = await grpcPair()
  let pass = () => {}
  const passed = new Promise<void>((resolve) => {
    pass = resolve
  })
  const body = streamedBody(4, async function* () {
    yield Buffer.from('body')
    await passed
  })
  const sent = send({ body })
  await far.until(() => far.reached[0]?.bytes().length === 9)
  assert.equal(far.reached[0]?.isComplete, false)
  pass()
  assert.equal((await sent).status, 0)
})

test('a body of another length than announced never becomes a whole message', async () => {
  const { far, send } = await grpcPair()
  for (const length of [3, 5]) {
    const body = streamedBody(length, async function* () {
      yield Buffer.from('body')
    })
    await assert.rejects(send({ body }), fault('internal', false))
  }
  await far.until(() => far.reached.every(({ resetCode }) => resetCode === 8))
  assert.equal(far.reached.filter(({ isComplete }) => isComplete).length, 0)
})

test('a body of unknown length is collected and sent whole', async () => {
  const { far, send } = await grpcPair()
  const body = streamedBody(undefined, async function* () {
    yield Buffer.from('bo')
    yield Buffer.from('dy')
  })
  assert.equal((await send({ body })).status, 0)
  assert.deepEqual(far.reached[0]?.bytes(), Buffer.from('\0\0\0\0\u0004body'))
})

test('an answer before the end of the body stops the reading of it', async () => {
  const { far, send } = await grpcPair()
  far.behave({ kind: 'refuse', status: 3, isEarly: true })
  let isReturned = false
  const body = streamedBody(2 ** 30, async function* () {
    try {
      for (;;) yield Buffer.alloc(16 * 1024)
    } finally {
      isReturned = true
    }
  })
  assert.equal((await send({ body })).status, 3)
  await until(() => isReturned)
})

test('a collector that does not read holds the body back at the windows', async () => {
  const { far, send } = await grpcPair()
  far.behave({ kind: 'slow' })
  const total = 64 * 64 * 1024
  let handedOver = 0
  const body = streamedBody(total, async function* () {
    while (handedOver < total) {
      handedOver += 64 * 1024
      yield Buffer.alloc(64 * 1024)
    }
  })
  const sent = send({ body })
  await far.hasReached(1)
  // The default windows of HTTP/2 and Node's buffers take some; then it stands still.
  for (let before = -1; before !== handedOver; ) {
    before = handedOver
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  assert.ok(handedOver <= 6 * 64 * 1024, `${handedOver} bytes were taken from the client`)
  far.resumeReading()
  assert.equal((await sent).status, 0)
  assert.equal(far.reached[0]?.bytes().length, total + 5)
})

test('32 uploads of 1 MiB at once all arrive and all are answered', async () => {
  const { far, send } = await grpcPair()
  const message = Buffer.alloc(1024 * 1024, 7)
  const answers = await Promise.all(
    Array.from({ length: 96 }, (_, index) => {
      if (index % 3 > 0) return send({ body: wholeBody(message) })
      const body = streamedBody(message.length, async function* () {
        for (let at = 0; at < message.length; at += 65_536) yield message.subarray(at, at + 65_536)
      })
      return send({ body })
    }),
  )
  assert.equal(answers.filter(({ status }) => status === 0).length, 96)
  assert.equal(far.reached.length, 96)
  assert.ok(far.reached.every((reached) => reached.bytes().length === message.length + 5))
})

test('more calls than the collector takes at once wait for their turn, in order', async () => {
  const { far, send } = await grpcPair({ settings: { maxConcurrentStreams: 2 } })
  const sent = Array.from({ length: 20 }, (_, index) =>
    send({ headers: { 'x-number': String(index) } }),
  )
  assert.equal((await Promise.all(sent)).filter(({ status }) => status === 0).length, 20)
  assert.deepEqual(
    far.reached.map(({ headers }) => Number(headers['x-number'])),
    Array.from({ length: 20 }, (_, index) => index),
  )
})
