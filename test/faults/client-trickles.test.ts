/** Clients that take their time: each step has a limit, and none of them keeps others waiting. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { assertAccepted } from '../support/answers.ts'
import { frame as grpcFrame, WAYS } from '../support/client.ts'
import { eventually } from '../support/eventually.ts'
import { sumOf } from '../support/exposition.ts'
import { startGateway, type TestGateway, TOKEN } from '../support/gateway.ts'
import { FLAG, FRAME, frame, grpcFields, headerBlock, RawHttp2 } from '../support/raw-http2.ts'
import { openTcp, openTls, textUntilClosed } from '../support/raw-socket.ts'

/** Shorter than the default of every limit by far, longer than a busy machine takes. */
const AT_MOST_MS = 8000

/** Writes a byte every 20 ms until the other side hangs up, and resolves with how long that took. */
async function trickle(
  socket: Awaited<ReturnType<typeof openTcp>>,
  bytes: Buffer,
): Promise<number> {
  const startMs = performance.now()
  const closed = once(socket, 'close')
  let isOver = false
  closed.then(() => {
    isOver = true
  })
  socket.resume()
  for (let at = 0; !isOver && performance.now() - startMs < AT_MOST_MS * 2; at += 1) {
    socket.write(bytes.subarray(at % bytes.length, (at % bytes.length) + 1))
    await Promise.race([pause(20), closed])
  }
  return performance.now() - startMs
}

async function refused(gateway: TestGateway, reason: string): Promise<void> {
  await gateway.until(
    (page) => sumOf(page, 'tollgate_connections_refused_total', { reason }) === 1,
    `a connection ended: ${reason}`,
  )
}

test('no handshake: the connection ends after TOLLGATE_HANDSHAKE_TIMEOUT', async (t) => {
  const gateway = await startGateway(t, { env: { HANDSHAKE_TIMEOUT: '300ms' } })
  const socket = await openTcp(gateway.addresses.grpc)
  assert.equal(await textUntilClosed(socket), '')
  await refused(gateway, 'handshake_timeout')
})

test('a handshake byte by byte ends at the same time', async (t) => {
  const gateway = await startGateway(t, { env: { HANDSHAKE_TIMEOUT: '300ms' } })
  const hello = Buffer.concat([Buffer.from([0x16, 3, 1, 0x0f, 0xff]), Buffer.alloc(4000, 1)])
  const tookMs = await trickle(await openTcp(gateway.addresses.grpc), hello)
  assert.ok(tookMs < AT_MOST_MS, `${tookMs} ms`)
})

test('HTTP/1.1: headers byte by byte', async (t) => {
  const gateway = await startGateway(t, { env: { HEADER_TIMEOUT: '300ms' } })
  const socket = await openTls(gateway, 'http')
  const head = Buffer.from(`POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nX: ${'x'.repeat(4000)}`)
  const tookMs = await trickle(socket, head)
  assert.ok(tookMs < AT_MOST_MS, `${tookMs} ms`)
  await refused(gateway, 'slow_headers')
})

test('HTTP/2: no preface, and SETTINGS without an answer', async (t) => {
  const gateway = await startGateway(t, { env: { HEADER_TIMEOUT: '300ms' } })
  const silent = await openTls(gateway, 'grpc')
  await textUntilClosed(silent)
  const rude = new RawHttp2(await openTls(gateway, 'grpc'), { keepsSettings: true })
  await rude.ended()
  await gateway.until(
    (page) => sumOf(page, 'tollgate_connections_refused_total', { reason: 'no_hello' }) === 2,
    'both ended',
  )
})

test('HTTP/2: no request is idle, as agents that connect ahead are', async (t) => {
  const gateway = await startGateway(t, { env: { HEADER_TIMEOUT: '300ms', IDLE_TIMEOUT: '1s' } })
  const client = new RawHttp2(await openTls(gateway, 'grpc'))
  assert.equal(await client.ended(), 0)
})

test('HTTP/2: a header block that never ends', async (t) => {
  const gateway = await startGateway(t, { env: { HEADER_TIMEOUT: '300ms' } })
  const client = new RawHttp2(await openTls(gateway, 'grpc'))
  await client.write(frame(FRAME.HEADERS, FLAG.NONE, 1, headerBlock(grpcFields(TOKEN))))
  await client.ended()
  assert.equal(sumOf(await gateway.metrics(), 'tollgate_arrivals_total'), 0)
})

for (const way of WAYS) {
  test(`${way}: a body that stops`, async (t) => {
    const gateway = await startGateway(t, { env: { BODY_TIMEOUT: '300ms' } })
    const call = gateway.connect(way).open({}, 1000)
    await call.write(
      way === 'gRPC' ? grpcFrame(Buffer.alloc(1000)).subarray(0, 100) : Buffer.alloc(100),
    )
    await gateway.until(
      (page) => sumOf(page, 'tollgate_outcomes_total', { outcome: 'client_gone' }) === 1,
      'the call ended',
    )
    assert.equal(gateway.collector.reached.length, 0)
    assertAccepted(await gateway.connect(way).send())
    await gateway.assertInvariant()
  })

  test(`${way}: a body byte by byte is too slow`, async (t) => {
    const gateway = await startGateway(t, { env: { BODY_TIMEOUT: '500ms' } })
    const call = gateway.connect(way).open({}, 100_000)
    if (way === 'gRPC') await call.write(grpcFrame(Buffer.alloc(100_000)).subarray(0, 5))
    let isOver = false
    call.answer.then(
      () => {
        isOver = true
      },
      () => {
        isOver = true
      },
    )
    await eventually(async () => {
      await call.write(Buffer.alloc(1)).catch(() => {})
      return isOver
    }, 'the end of the call')
    assert.deepEqual(await gateway.outcomes(), { client_gone: 1 })
    await gateway.assertInvariant()
  })

  test(`${way}: an idle connection is closed, one with a call in flight is not`, async (t) => {
    const gateway = await startGateway(t, { speaks: 'grpc', env: { IDLE_TIMEOUT: '1s' } })
    const { collector } = gateway
    const idle = gateway.connect(way)
    assertAccepted(await idle.send())
    const busy = gateway.connect(way)
    collector.script({ kind: 'ok', delayMs: 3000 })
    const call = busy.send()
    await collector.hasReached(2)
    await gateway.until((page) => sumOf(page, 'tollgate_connections') === 1, 'the idle one closed')
    assertAccepted(await call)
  })

  test(`${way}: an answer that is read slowly arrives whole, and holds up nobody`, async (t) => {
    const gateway = await startGateway(t)
    const message = Buffer.alloc(3 * 1024 * 1024, 'answer')
    gateway.collector.script({ kind: 'ok', message })
    const slow = gateway.connect(way)
    const call = slow.send()
    await gateway.until((page) => sumOf(page, 'tollgate_arrivals_total') === 1, 'the call')
    slow.socket?.pause()
    await gateway.until((page) => sumOf(page, 'tollgate_in_flight') === 0, 'it answered')
    assertAccepted(await gateway.connect(way).send())
    slow.socket?.resume()
    const answer = await call
    assert.ok(answer.body?.equals(message))
  })
}
