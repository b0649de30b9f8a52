/** Four SDKs, each protocol, all three signals: everything sent arrives at a real collector, once. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Received, startOtelcol } from '../support/otelcol.ts'
import { type Gateway, spawnGateway, TOKEN } from '../support/spawn-gateway.ts'
import { hasTools } from '../support/tools.ts'
import { allOnce, tally } from './count.ts'
import { KINDS, type Kind, SENDER_TOOLS, startSender, titleOf } from './senders/run.ts'

const LOAD = { items: 60, seconds: 1.5 }

/** How the gateway reaches the collector, and which port clients use. */
const WAYS = [
  { title: 'to a collector with both protocols', collector: ['grpc', 'http'], isCrossed: false },
  { title: 'to a collector with gRPC alone', collector: ['grpc'], isCrossed: false },
  {
    title: 'to a collector with HTTP alone, on the other port',
    collector: ['http'],
    isCrossed: true,
  },
] as const

for (const { title, collector, isCrossed } of WAYS) {
  test(`everything arrives once: ${title}`, async (t) => {
    if (!hasTools(t, 'otelcol', 'openssl', ...SENDER_TOOLS)) return
    await using backend = await startOtelcol()
    await using gateway = await spawnGateway({
      collector: Object.fromEntries(collector.map((protocol) => [protocol, backend[protocol]])),
      // All of them come from one address.
      env: { TOLLGATE_RATE: 'off' },
    })
    const kinds = KINDS.filter(
      // JSON is not translated: a collector with gRPC alone does not take it.
      ({ protocol }) => protocol !== 'http/json' || collector.some((name) => name === 'http'),
    )
    const reports = await Promise.all(
      kinds.map((kind) => startSender(kind, targetOf(gateway, kind, isCrossed), LOAD).done),
    )
    await gateway.assertInvariant()
    const outcomes = await gateway.outcomes()
    // What the file exporter still holds is on the disk when it has stopped.
    await backend.stop()
    for (const [index, kind] of kinds.entries()) {
      await t.test(titleOf(kind), async () => {
        const report = reports[index]
        assert.ok(report !== undefined)
        const received: Received = await backend.received(report.run)
        assert.deepEqual(
          tally(received, report.sent),
          allOnce(LOAD.items),
          report.logged.join('\n'),
        )
        assert.deepEqual(report.logged, [])
      })
    }
    await t.test('every request was accepted', () => {
      assert.deepEqual(Object.keys(outcomes), ['accepted'])
    })
  })
}

function targetOf({ grpc, http, certificate }: Gateway, { protocol }: Kind, isCrossed: boolean) {
  const address = (protocol === 'grpc') === isCrossed ? http : grpc
  // By name: that is what the certificate is checked against.
  return { endpoint: address.replace(/^.*:/, 'https://localhost:'), token: TOKEN, certificate }
}
