/** The collector reads and never answers: the client hears of it in time, and the collector of the end. */
import assert from 'node:assert/strict'
import { constants } from 'node:http2'
import { test } from 'node:test'
import { assertAccepted, assertComeBack } from '../support/answers.ts'
import { frame, WAYS } from '../support/client.ts'
import { sumOf } from '../support/exposition.ts'
import { startGateway } from '../support/gateway.ts'

for (const way of WAYS) {
  for (const speaks of ['grpc', 'http'] as const) {
    test(`${way} to ${speaks}: TOLLGATE_COLLECTOR_TIMEOUT`, async (t) => {
      const gateway = await startGateway(t, { speaks, env: { COLLECTOR_TIMEOUT: '300ms' } })
      const { collector } = gateway
      const client = gateway.connect(way)
      collector.script({ kind: 'stall' })
      assertComeBack(await client.send(), 504)
      await collector.until(() => collector.reached[0]?.resetCode === constants.NGHTTP2_CANCEL)
      assertAccepted(await client.send())
      assert.equal(collector.reached.length, 2)
      assert.deepEqual(await gateway.outcomes(), { collector_timeout: 1, accepted: 1 })
      await gateway.assertInvariant()
    })
  }
}

test("gRPC: the client's own deadline, which travels on", async (t) => {
  const gateway = await startGateway(t, { speaks: 'grpc' })
  const { collector } = gateway
  const client = gateway.connect('gRPC')
  collector.script({ kind: 'stall' })
  const startMs = performance.now()
  const answer = await client.send({ headers: { 'grpc-timeout': '500m' } })
  // DEADLINE_EXCEEDED or UNAVAILABLE: OTLP has clients come back after either.
  assert.ok(answer.grpcStatus === 4 || answer.grpcStatus === 14, `status ${answer.grpcStatus}`)
  assert.ok(answer.endsOnHeaders, 'Trailers-Only')
  const tookMs = performance.now() - startMs
  assert.ok(tookMs >= 450 && tookMs < 10_000, `answered after ${tookMs} ms`)
  await collector.until(() => collector.reached[0]?.resetCode === constants.NGHTTP2_CANCEL)
  const told = /^(\d+)m$/.exec(String(collector.reached[0]?.headers['grpc-timeout']))?.[1]
  assert.ok(Number(told) <= 500, `grpc-timeout: ${told}`)
  assertAccepted(await client.send())
  assert.deepEqual(await gateway.outcomes(), { collector_timeout: 1, accepted: 1 })
})

test('a stalled call does not keep others from being answered', async (t) => {
  const gateway = await startGateway(t)
  const { collector } = gateway
  collector.behave({ kind: 'stall' })
  const stalled = WAYS.map((way) => gateway.connect(way).open({}, 0))
  for (const [index, call] of stalled.entries()) {
    if (WAYS[index] === 'gRPC') await call.write(frame(Buffer.alloc(0)))
    call.end()
  }
  await collector.hasReached(WAYS.length)
  collector.behave({ kind: 'ok' })
  for (const way of WAYS) assertAccepted(await gateway.connect(way).send())
  await gateway.assertInvariant()
  for (const call of stalled) call.cancel()
  await gateway.until(
    (page) => sumOf(page, 'tollgate_outcomes_total', { outcome: 'client_gone' }) === WAYS.length,
    'the stalled calls ended',
  )
})
