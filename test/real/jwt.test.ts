/** OpenTelemetry's own exporters for JavaScript with JWTs that live for seconds: they renew, and nothing is lost. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import * as grpc from '@grpc/grpc-js'
import { OTLPTraceExporter as GrpcExporter } from '@opentelemetry/exporter-trace-otlp-grpc'
import { OTLPTraceExporter as HttpExporter } from '@opentelemetry/exporter-trace-otlp-proto'
import { BatchSpanProcessor, TracerProvider } from '@opentelemetry/sdk-trace'
import { startCollector } from '../support/collector.ts'
import { sumOf } from '../support/exposition.ts'
import { untilMetrics } from '../support/metrics.ts'
import { AUDIENCE, type OidcServer, startOidcServer } from '../support/oidc-server.ts'
import { signingKey } from '../support/signing.ts'
import { spawnGateway } from '../support/spawn-gateway.ts'
import { hasTools } from '../support/tools.ts'

const LIFE_SECONDS = 4
/** A JWT is renewed this long before its end, not after a refusal. */
const EARLY_MS = 2000

test('exporters renew JWTs that live for four seconds, and every span arrives', async (t) => {
  if (!hasTools(t, 'openssl')) return
  await using provider = await startOidcServer([await signingKey('key-1')], {
    lifeSeconds: LIFE_SECONDS,
  })
  const collector = await startCollector()
  t.after(() => collector.die())
  await using gateway = await spawnGateway({
    collector: { grpc: `127.0.0.1:${collector.grpcPort}` },
    env: {
      TOLLGATE_JWT_ISSUERS: provider.issuer,
      TOLLGATE_JWT_AUDIENCE: AUDIENCE,
      TOLLGATE_JWT_LEEWAY: '0s',
    },
  })
  await untilMetrics(
    gateway.metrics,
    (page) => sumOf(page, 'tollgate_collector_up') === 1,
    'a collector',
  )
  const ca = readFileSync(gateway.certificate)
  const overHttp = renewing(provider, 'shop')
  const overGrpc = renewing(provider, 'robot')
  const exporters = [
    new HttpExporter({
      url: `https://${gateway.http}/v1/traces`,
      headers: async () => ({ Authorization: `Bearer ${await overHttp()}` }),
      httpAgentOptions: { ca },
    }),
    new GrpcExporter({
      url: `https://${gateway.grpc}`,
      credentials: grpc.credentials.combineChannelCredentials(
        grpc.credentials.createSsl(ca),
        grpc.credentials.createFromMetadataGenerator((_call, done) => {
          overGrpc().then((token) => {
            const metadata = new grpc.Metadata()
            metadata.set('authorization', `Bearer ${token}`)
            done(null, metadata)
          }, done)
        }),
      ),
    }),
  ]
  let exported = 0
  const failures: unknown[] = []
  const providers = exporters.map((exporter) => {
    const counting: ConstructorParameters<typeof BatchSpanProcessor>[0]['exporter'] = {
      export: (spans, done) =>
        exporter.export(spans, (result) => {
          if (result.code === 0) exported += spans.length
          else failures.push(result.error)
          done(result)
        }),
      shutdown: () => exporter.shutdown(),
      forceFlush: () => exporter.forceFlush(),
    }
    const processor = new BatchSpanProcessor({ exporter: counting, scheduledDelayMillis: 100 })
    return new TracerProvider({ spanProcessors: [processor] })
  })
  let made = 0
  const checked = async () =>
    sumOf(await gateway.metrics(), 'tollgate_jwt_checks_total', { verdict: 'verified' })
  // Each is at its third JWT by then, and the first has ended.
  while ((await checked()) < 6) {
    for (const each of providers) {
      each.getTracer('jwt').startSpan(`span ${made}`).end()
      made += 1
    }
    await pause(50)
  }
  for (const each of providers) await each.shutdown()
  assert.deepEqual(failures, [])
  assert.equal(exported, made)
  assert.deepEqual(Object.keys(await gateway.outcomes()), ['accepted'])
  await gateway.assertInvariant()
})

/** The JWT of now, renewed in time. */
function renewing(provider: OidcServer, client: string): () => Promise<string> {
  let renewAtMs = 0
  let token: Promise<string> | undefined
  return () => {
    const nowMs = Date.now()
    if (token === undefined || nowMs >= renewAtMs) {
      renewAtMs = nowMs + LIFE_SECONDS * 1000 - EARLY_MS
      token = provider.token(client)
    }
    return token
  }
}
