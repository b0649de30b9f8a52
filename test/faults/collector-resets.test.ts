/** The answer breaks off in the middle: it is no answer, and the call is not sent again. */
import assert from 'node:assert/strict'
import { constants } from 'node:http2'
import { test } from 'node:test'
import { assertAccepted, assertComeBack } from '../support/answers.ts'
import { WAYS } from '../support/client.ts'
import { startGateway } from '../support/gateway.ts'

const CODES = [
  constants.NGHTTP2_NO_ERROR,
  constants.NGHTTP2_PROTOCOL_ERROR,
  constants.NGHTTP2_INTERNAL_ERROR,
  constants.NGHTTP2_CANCEL,
  constants.NGHTTP2_ENHANCE_YOUR_CALM,
]

for (const way of WAYS) {
  test(`${way} to grpc: reset after half an answer`, async (t) => {
    // Two places on the connection: one that was not given back would show.
    const gateway = await startGateway(t, {
      speaks: 'grpc',
      collectorSettings: { settings: { maxConcurrentStreams: 2 } },
    })
    const client = gateway.connect(way)
    for (const code of CODES) {
      gateway.collector.script({ kind: 'reset', when: 'mid-answer', code })
      assertComeBack(await client.send())
    }
    assertAccepted(await client.send())
    assert.equal(gateway.collector.reached.length, CODES.length + 1)
    assert.equal(gateway.collector.connections, 1, 'a reset stream does not cost the connection')
    assert.deepEqual(await gateway.outcomes(), { collector_unavailable: 5, accepted: 1 })
    await gateway.assertInvariant()
  })

  test(`${way} to http: connection closed after half an answer`, async (t) => {
    const gateway = await startGateway(t, { speaks: 'http' })
    const client = gateway.connect(way)
    gateway.collector.script({ kind: 'reset', when: 'mid-answer' })
    assertComeBack(await client.send())
    assertAccepted(await client.send())
    assert.equal(gateway.collector.reached.length, 2)
    assert.deepEqual(await gateway.outcomes(), { collector_unavailable: 1, accepted: 1 })
    await gateway.assertInvariant()
  })
}
