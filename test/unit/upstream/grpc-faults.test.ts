import assert from 'node:assert/strict'
import { constants } from 'node:http2'
import { afterEach, test } from 'node:test'
import type { Fault } from '../../../src/pipeline/fault.ts'
import { startCollector } from '../../support/collector.ts'
import { alsoClose, closePairs, fault, grpcPair, until } from '../../support/collector-pair.ts'
import { streamedBody } from '../../support/parcel.ts'

afterEach(closePairs)

test('a reset in the middle of the answer is a fault that is not repeated by us', async () => {
  const { far, send } = await grpcPair()
  far.behave({ kind: 'reset', when: 'mid-answer' })
  await assert.rejects(send(), fault('collector_unavailable', false))
  assert.equal(far.reached.length, 1)
})

test('REFUSED_STREAM may be sent again where the message is at hand', async () => {
  const { far, send } = await grpcPair()
  const code = constants.NGHTTP2_REFUSED_STREAM
  far.behave({ kind: 'reset', when: 'at-once', code })
  await assert.rejects(send(), fault('collector_unavailable', true))
  const body = streamedBody(7, async function* () {
    yield Buffer.from('message')
  })
  await assert.rejects(send({ body }), fault('collector_unavailable', false))
})

for (const code of [constants.NGHTTP2_NO_ERROR, constants.NGHTTP2_ENHANCE_YOUR_CALM]) {
  test(`a stream that GOAWAY (${code}) disowns may be sent again, over a new connection`, async () => {
    const { far, near, send } = await grpcPair()
    await send()
    far.script({ kind: 'goaway', takesThis: false, code })
    await assert.rejects(send(), fault('collector_unavailable', true))
    await until(() => near.isAvailable())
    assert.equal((await send()).status, 0)
    assert.equal(far.connections, 2)
  })
}

test('GOAWAY lets what is under way end, and later calls go over a new connection', async () => {
  let aheadMs = 0
  const { far, changes, send } = await grpcPair({ now: () => performance.now() + aheadMs })
  await send()
  // A connection of less than a second counts as failed, so this one has to have lasted.
  aheadMs = 1000
  far.script({ kind: 'goaway', takesThis: true })
  assert.equal((await send()).status, 0)
  const afterwards = await Promise.all([send(), send()])
  assert.deepEqual(
    afterwards.map(({ status }) => status),
    [0, 0],
  )
  assert.equal(far.connections, 2)
  assert.deepEqual(
    changes.map(([isUp]) => isUp),
    [true],
  )
})

test('a connection lost after sending is a fault, not repeated by us; the next connection serves', async () => {
  const { far, near, changes, send } = await grpcPair()
  far.script({ kind: 'die' })
  await assert.rejects(send(), fault('collector_unavailable', false))
  await until(() => near.isAvailable())
  assert.equal((await send()).status, 0)
  assert.equal(far.reached.length, 2)
  assert.deepEqual(
    changes.map(([isUp]) => isUp),
    [true, false, true],
  )
})

test('nobody there: nothing is read or sent, and the call may come again when the port is back', async () => {
  const { far, near, changes, send } = await grpcPair()
  const { grpcPort } = far
  await far.die()
  await until(() => !near.isAvailable())
  let isRead = false
  const body = streamedBody(1, async function* () {
    isRead = true
    yield Buffer.from('x')
  })
  await assert.rejects(send({ body }), fault('collector_unavailable', true))
  assert.equal(isRead, false)
  await until(() => near.state()[0]?.lastError === 'connection refused')
  const again = await startCollector({ grpcPort })
  alsoClose(() => again.die())
  await until(() => near.isAvailable())
  assert.equal((await send({ body })).status, 0)
  assert.equal(again.reached.length, 1)
  assert.deepEqual(
    changes.map(([isUp]) => isUp),
    [true, false, true],
  )
})

test('no answer within our limit: the call is cancelled and not repeated', async () => {
  const { far, send } = await grpcPair({ timeoutMs: 200 })
  far.behave({ kind: 'stall' })
  await assert.rejects(send(), fault('collector_timeout', false))
  await far.until(() => far.reached[0]?.resetCode === constants.NGHTTP2_CANCEL)
})

test("no answer within the client's deadline: the call is cancelled", async () => {
  const { far, send } = await grpcPair()
  far.behave({ kind: 'stall' })
  const deadlineMs = performance.now() + 50
  await assert.rejects(send({ deadlineMs }), fault('collector_timeout', false))
  await far.until(() => far.reached[0]?.resetCode === constants.NGHTTP2_CANCEL)
})

test('a client that goes away cancels its call', async () => {
  const { far, send } = await grpcPair()
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
  await far.until(() => far.reached[0]?.resetCode === constants.NGHTTP2_CANCEL)
})

test('a client that is gone already is not sent at all', async () => {
  const { far, send } = await grpcPair()
  await assert.rejects(send({ onGone: (listener) => listener() }), fault('client_gone', false))
  await send()
  assert.equal(far.reached.length, 1)
})

test('a call that waits for its turn when the connection is lost was not sent', async () => {
  const { far, send } = await grpcPair({ settings: { maxConcurrentStreams: 1 } })
  far.script({ kind: 'die' })
  const results = await Promise.allSettled([send(), send()])
  const repeatable = results.map(
    (result) => result.status === 'rejected' && (result.reason as Fault).canSendAgain,
  )
  assert.deepEqual(repeatable, [false, true])
  assert.equal(far.reached.length, 1)
})
