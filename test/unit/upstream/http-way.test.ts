import assert from 'node:assert/strict'
import { afterEach, test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { BodyRefused } from '../../../src/pipeline/fault.ts'
import { startCollector } from '../../support/collector.ts'
import { alsoClose, closePairs, fault, httpPair, until } from '../../support/collector-pair.ts'
import { streamedBody, wholeBody } from '../../support/parcel.ts'

afterEach(closePairs)

test('JSON arrives once, as it was written, under the path of the address', async () => {
  const { far, send } = await httpPair({ path: '/otlp' })
  far.behave({ kind: 'ok', message: Buffer.from('{}') })
  const answer = await send({
    format: 'json',
    signal: 'profiles',
    encoding: 'gzip',
    body: wholeBody(Buffer.from('{"a"'), Buffer.from(':1}')),
    headers: { 'user-agent': 'OTel/1', 'x-forwarded-for': '192.0.2.9' },
    acceptEncoding: 'gzip, br',
  })
  assert.deepEqual(answer, {
    protocol: 'http',
    status: 200,
    contentType: 'application/json',
    encoding: undefined,
    retryAfter: undefined,
    body: Buffer.from('{}'),
  })
  assert.equal(far.reached.length, 1)
  const [reached] = far.reached
  assert.equal(reached?.path, '/otlp/v1development/profiles')
  assert.equal(reached?.bytes().toString(), '{"a":1}')
  const headers = { ...reached?.headers }
  delete headers.connection
  assert.deepEqual(headers, {
    host: `127.0.0.1:${far.httpPort}`,
    'content-type': 'application/json',
    'content-encoding': 'gzip',
    'content-length': '7',
    'accept-encoding': 'gzip',
    'user-agent': 'OTel/1',
    'x-forwarded-for': '192.0.2.9',
  })
})

test('protobuf goes over HTTP where there is no gRPC address, and asks for no coding unbidden', async () => {
  const { far, near, send } = await httpPair()
  assert.deepEqual([near.accepts('protobuf'), near.accepts('json')], [true, true])
  assert.equal((await send()).status, 200)
  assert.equal(far.reached[0]?.headers['content-type'], 'application/x-protobuf')
  assert.equal(far.reached[0]?.headers['accept-encoding'], 'identity')
})

test('a body of unknown length is sent in chunks', async () => {
  const { far, send } = await httpPair()
  const body = streamedBody(undefined, async function* () {
    yield Buffer.from('bo')
    yield Buffer.from('dy')
  })
  assert.equal((await send({ body })).status, 200)
  assert.equal(far.reached[0]?.bytes().toString(), 'body')
  assert.equal(far.reached[0]?.headers['transfer-encoding'], 'chunked')
})

test('a refusal comes back with status, body, type and Retry-After; a redirect is not followed', async () => {
  const { far, send } = await httpPair()
  const body = Buffer.from('\u0008\u000e')
  far.behave({ kind: 'refuse', httpStatus: 503, body, headers: { 'retry-after': '2' } })
  const refused = await send()
  assert.deepEqual([refused.status, refused.retryAfter, refused.body], [503, '2', body])
  assert.equal(refused.contentType, 'application/x-protobuf')
  far.behave({ kind: 'refuse', httpStatus: 307, headers: { location: '/elsewhere' } })
  assert.equal((await send()).status, 307)
  assert.equal(far.reached.length, 2)
})

test('a gzip answer is passed on as it is', async () => {
  const { far, send } = await httpPair()
  const message = gzipSync('answer')
  far.behave({ kind: 'ok', message, encoding: 'gzip' })
  const answer = await send({ acceptEncoding: 'gzip' })
  assert.deepEqual([answer.body, answer.encoding], [message, 'gzip'])
})

test('an answer beyond the limit is final, since the data may have been taken', async () => {
  const { far, send } = await httpPair()
  far.behave({ kind: 'ok', message: Buffer.alloc(4 * 1024 * 1024 + 1) })
  const answer = await send()
  assert.deepEqual([answer.status, answer.body.length], [500, 0])
  far.behave({ kind: 'ok', message: Buffer.alloc(4 * 1024 * 1024) })
  assert.equal((await send()).body.length, 4 * 1024 * 1024)
})

for (const when of ['at-once', 'mid-answer'] as const) {
  test(`a connection lost ${when} is a fault that is not repeated by us`, async () => {
    const { far, send } = await httpPair()
    far.script({ kind: 'reset', when })
    await assert.rejects(send(), fault('collector_unavailable', false))
    assert.equal((await send()).status, 200)
    assert.equal(far.reached.length, 2)
  })
}

test('nobody there: nothing is read, and the call may come again when the port is back', async () => {
  const { far, near, changes, send } = await httpPair()
  const { httpPort } = far
  await far.die()
  let isRead = false
  const body = streamedBody(1, async function* () {
    isRead = true
    yield Buffer.from('x')
  })
  await assert.rejects(send({ body }), fault('collector_unavailable', true))
  assert.equal(near.isAvailable(), false)
  await assert.rejects(send({ body }), fault('collector_unavailable', true))
  assert.equal(isRead, false)
  const again = await startCollector({ httpPort })
  alsoClose(() => again.die())
  await until(() => near.isAvailable())
  assert.equal((await send({ body })).status, 200)
  assert.equal(again.reached.length, 1)
  assert.deepEqual(
    changes.map(([isUp]) => isUp),
    [true, false, true],
  )
  assert.match(changes[1]?.[1] ?? '', /connection refused/)
})

test('no answer within our limit: the connection is given up and the call not repeated', async () => {
  const { far, send } = await httpPair({ timeoutMs: 1000 })
  far.behave({ kind: 'stall' })
  await assert.rejects(send(), fault('collector_timeout', false))
  await far.until(() => far.reached[0]?.resetCode !== undefined)
})

test("no answer within the client's deadline", async () => {
  const { far, send } = await httpPair()
  await send()
  far.behave({ kind: 'stall' })
  const deadlineMs = performance.now() + 50
  await assert.rejects(send({ deadlineMs }), fault('collector_timeout', false))
  await far.until(() => far.reached[1]?.resetCode !== undefined)
})

test('a client that goes away ends its call', async () => {
  const { far, send } = await httpPair()
  far.behave({ kind: 'stall' })
  let leave = () => {}
  const sent = send({
    onGone(listener) {
      leave = listener
    },
  })
  await Promise.all([
    assert.rejects(sent, fault('client_gone', false)),
    far.hasReached(1).then(() => leave()),
  ])
  await far.until(() => far.reached[0]?.resetCode !== undefined)
})

test('a client that is gone already is not sent at all', async () => {
  const { far, send } = await httpPair()
  await assert.rejects(send({ onGone: (listener) => listener() }), fault('client_gone', false))
  await send()
  assert.equal(far.reached.length, 1)
})

for (const lengthBytes of [100, undefined]) {
  test(`what ends a body of ${lengthBytes} bytes early comes back as thrown, and never a whole request`, async () => {
    const { far, send } = await httpPair()
    const refused = new BodyRefused({ reason: 'too_large' })
    const body = streamedBody(lengthBytes, async function* () {
      yield Buffer.alloc(10)
      await far.until(() => far.reached[0]?.bytes().length === 10)
      throw refused
    })
    await assert.rejects(send({ body }), (error) => error === refused)
    await far.until(() => far.reached[0]?.resetCode !== undefined)
    assert.equal(far.reached[0]?.isComplete, false)
  })
}

test('an answer before the end of the body stops the reading of it', async () => {
  const { far, send } = await httpPair()
  far.behave({ kind: 'refuse', httpStatus: 413, isEarly: true })
  let isReturned = false
  const body = streamedBody(2 ** 30, async function* () {
    try {
      for (;;) yield Buffer.alloc(16 * 1024)
    } finally {
      isReturned = true
    }
  })
  assert.equal((await send({ body })).status, 413)
  await until(() => isReturned)
})

test('a collector that does not read holds the body back', async () => {
  const { far, send } = await httpPair()
  far.behave({ kind: 'slow' })
  const total = 512 * 64 * 1024
  let handedOver = 0
  const body = streamedBody(total, async function* () {
    while (handedOver < total) {
      handedOver += 64 * 1024
      yield Buffer.alloc(64 * 1024)
    }
  })
  const sent = send({ body })
  await far.hasReached(1)
  // The kernel's buffers of both sides take some; then it stands still.
  for (let before = -1; before !== handedOver; ) {
    before = handedOver
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  assert.ok(handedOver < total / 2, `${handedOver} bytes were taken from the client`)
  far.resumeReading()
  assert.equal((await sent).status, 200)
  assert.equal(far.reached[0]?.bytes().length, total)
})

test('more calls at once than connections all get through', async () => {
  const { far, send } = await httpPair()
  const answers = await Promise.all(Array.from({ length: 300 }, () => send()))
  assert.equal(answers.filter(({ status }) => status === 200).length, 300)
  assert.equal(far.reached.length, 300)
})
