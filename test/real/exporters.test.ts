/** Four SDKs, each protocol, all three signals: everything sent arrives at a real collector, once. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { runToEnd } from '../support/child.ts'
import { type Received, startOtelcol } from '../support/otelcol.ts'
import { type Gateway, spawnGateway, TOKEN } from '../support/spawn-gateway.ts'
import { hasTools, tool } from '../support/tools.ts'
import { allOnce, tally } from './count.ts'
import { KINDS, type Kind, SENDER_TOOLS, startSender, type Target, titleOf } from './senders/run.ts'

const LOAD = { items: 60, seconds: 1.5 }

interface Way {
  readonly title: string
  /** What the collector speaks. */
  readonly collector: readonly ('grpc' | 'http')[]
  /** Whether gRPC goes to the port for HTTP and the other way round. */
  readonly isCrossed?: boolean
  readonly compression?: 'gzip'
  readonly asksCertificate?: boolean
}

const WAYS: readonly Way[] = [
  { title: 'to a collector with both protocols', collector: ['grpc', 'http'] },
  { title: 'to a collector with gRPC alone', collector: ['grpc'] },
  { title: 'to a collector with gRPC alone, compressed', collector: ['grpc'], compression: 'gzip' },
  { title: 'to a collector with HTTP alone', collector: ['http'], isCrossed: true },
  { title: 'to a collector with HTTP alone, compressed', collector: ['http'], compression: 'gzip' },
  { title: 'with a client certificate', collector: ['grpc', 'http'], asksCertificate: true },
]

for (const way of WAYS) {
  test(`everything arrives once: ${way.title}`, async (t) => {
    if (!hasTools(t, 'otelcol', 'openssl', 'curl', ...SENDER_TOOLS)) return
    await using backend = await startOtelcol()
    await using gateway = await spawnGateway({
      collector: Object.fromEntries(way.collector.map((protocol) => [protocol, backend[protocol]])),
      // All of them come from one address.
      env: { TOLLGATE_RATE: 'off' },
      asksCertificate: way.asksCertificate ?? false,
    })
    const kinds = KINDS.filter(
      // JSON is not translated: a collector with gRPC alone does not take it.
      ({ protocol }) => protocol !== 'http/json' || way.collector.some((name) => name === 'http'),
    )
    const reports = await Promise.all(
      kinds.map((kind) => startSender(kind, targetOf(gateway, kind, way), LOAD).done),
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
    if (way.asksCertificate) {
      await t.test('without one there is no connection', async () => {
        const { http, certificate } = gateway
        const url = `${http.replace(/^.*:/, 'https://localhost:')}/v1/traces`
        const curl = await runToEnd(tool('curl'), ['--silent', '--cacert', certificate, url])
        assert.notEqual(curl.code, 0)
      })
    }
    await t.test('every request was accepted', () => {
      assert.deepEqual(Object.keys(outcomes), ['accepted'])
    })
  })
}

function targetOf(gateway: Gateway, { protocol }: Kind, way: Way): Target {
  const { grpc, http, certificate, clientCertificate, clientKey } = gateway
  const address = (protocol === 'grpc') === (way.isCrossed ?? false) ? http : grpc
  return {
    // By name: that is what the certificate is checked against.
    endpoint: address.replace(/^.*:/, 'https://localhost:'),
    token: TOKEN,
    certificate,
    ...(way.asksCertificate ? { clientCertificate, clientKey } : {}),
    ...(way.compression === undefined ? {} : { compression: way.compression }),
  }
}
