/** REFUSED_STREAM says that nothing was processed (RFC 9113 section 8.7): the call may go again, not for ever. */
import assert from 'node:assert/strict'
import { constants } from 'node:http2'
import { test } from 'node:test'
import { assertAccepted, assertComeBack } from '../support/answers.ts'
import { frame, WAYS } from '../support/client.ts'
import { startGateway } from '../support/gateway.ts'

const REFUSED = {
  kind: 'reset',
  when: 'at-once',
  code: constants.NGHTTP2_REFUSED_STREAM,
} as const
const LARGE_BYTES = 1024 * 1024

for (const way of WAYS) {
  test(`${way}: sent again`, async (t) => {
    const gateway = await startGateway(t, { speaks: 'grpc' })
    gateway.collector.script(REFUSED, REFUSED)
    assertAccepted(await gateway.connect(way).send({ message: Buffer.from('again') }))
    assert.equal(gateway.collector.reached.length, 3)
    assert.equal(gateway.collector.connections, 1)
    assert.deepEqual(await gateway.outcomes(), { accepted: 1 })
    await gateway.assertInvariant()
  })

  test(`${way}: sent again five times at most`, async (t) => {
    const gateway = await startGateway(t, { speaks: 'grpc' })
    gateway.collector.behave(REFUSED)
    assertComeBack(await gateway.connect(way).send())
    assert.equal(gateway.collector.reached.length, 5)
    assert.deepEqual(await gateway.outcomes(), { collector_unavailable: 1 })
    await gateway.assertInvariant()
  })

  test(`${way}: not again where the body has gone by`, async (t) => {
    const gateway = await startGateway(t, { speaks: 'grpc' })
    const { collector } = gateway
    collector.script({ kind: 'slow' })
    const call = gateway.connect(way).open({}, LARGE_BYTES)
    const bytes = Buffer.alloc(LARGE_BYTES)
    const sent = way === 'gRPC' ? frame(bytes) : bytes
    call.write(sent.subarray(0, LARGE_BYTES / 2)).catch(() => {})
    collector.resumeReading()
    await collector.hasReached(1)
    collector.resumeReading()
    await collector.until(() => (collector.reached[0]?.bytes().length ?? 0) > 0)
    for (const session of collector.sessions)
      session.destroy(undefined, constants.NGHTTP2_REFUSED_STREAM)
    assertComeBack(await call.answer)
    assert.equal(collector.reached.length, 1)
    await gateway.assertInvariant()
  })
}
