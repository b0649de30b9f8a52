/**
 * The two forms of each way behind Traefik, the file and the labels, come to the same; and what must
 * not stand beside them.
 */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { eventually } from '../support/eventually.ts'
import { spawnGateway } from '../support/spawn-gateway.ts'
import { hasTools, ROOT } from '../support/tools.ts'
import { type RawData, startTraefik } from '../support/traefik.ts'
import { clientOf, frontOf, routed, serviceOf, settingsOf, statusOf, WAYS } from './front-scene.ts'

for (const way of WAYS) {
  test(`file and labels say the same: ${way}`, async (t) => {
    if (!hasTools(t, 'traefik')) return
    const { labels } = await serviceOf(way, 'otlp.example.com')
    const text = readFileSync(join(ROOT, `docker/dokploy/traefik/${way}.yml`), 'utf8')
    const address = '192.0.2.7'
    const fromFile = await startTraefik(t, {
      files: { 'tollgate.yml': text.replaceAll('tollgate:431', `${address}:431`) },
    })
    const fromLabels = await startTraefik(t, {
      containers: [{ name: 'tollgate', labels, address, ports: [4317, 4318] }],
    })
    await Promise.all([fromFile, fromLabels].map((traefik) => routed(traefik, way)))
    const wanted = meaningOf(await fromFile.rawData())
    assert.ok(Object.keys(wanted).length >= 3, JSON.stringify(wanted))
    assert.deepEqual(meaningOf(await fromLabels.rawData()), wanted)
  })
}

test('a Domain with HTTPS for the same name takes TLS away from the gateway', async (t) => {
  if (!hasTools(t, 'traefik', 'openssl')) return
  const way = 'passthrough'
  const service = await serviceOf(way, 'localhost')
  await using gateway = await spawnGateway({
    // Nothing gets that far.
    collector: { grpc: '127.0.0.1:9' },
    env: { ...settingsOf(service), TOLLGATE_TRUSTED_PROXIES: '127.0.0.1' },
  })
  const front = frontOf(way, 'file', service, gateway)
  const domain = {
    rule: 'Host(`localhost`)',
    entryPoints: ['websecure'],
    service: 'noop@internal',
    tls: {},
  }
  const files = {
    ...front.files,
    'https.yml': JSON.stringify({ http: { routers: { https: domain } } }),
  }
  const traefik = await startTraefik(t, { files })
  await routed(traefik, way)
  const scene = { t, way, gateway, traefik } as const
  await eventually(async () => (await traefik.rawData()).routers?.['https@file'], 'the Domain')
  assert.equal(await statusOf(clientOf(scene, {})), 418)
  assert.deepEqual(await gateway.outcomes(), {})
})

/** What routers and services amount to, without the names of their providers. */
function meaningOf(data: RawData): Record<string, unknown> {
  const own = (entries: Readonly<Record<string, unknown>> = {}) =>
    Object.entries(entries).filter(([name]) => name.startsWith('tollgate'))
  const bare = (name: string) => name.replace(/@(file|docker)$/, '')
  const meaning: Record<string, unknown> = {}
  for (const kind of ['routers', 'tcpRouters'] as const)
    for (const [name] of own(data[kind])) {
      const { rule, entryPoints, service = '', tls, status, error } = data[kind]?.[name] ?? {}
      assert.equal(error, undefined, name)
      meaning[`${kind} ${bare(name)}`] = { rule, entryPoints, service: bare(service), tls, status }
      const services = kind === 'routers' ? data.services : data.tcpServices
      const of = services?.[name.replace(/^.*@/, `${bare(service)}@`)]
      if (of === undefined) continue
      const { servers, proxyProtocol, serversTransport } = of.loadBalancer as {
        readonly servers: unknown
        readonly proxyProtocol?: { readonly version?: number }
        readonly serversTransport?: string
      }
      // The API does not show transports; the file's own says version 2, and exporters tell above.
      const isProxied = proxyProtocol?.version === 2 || serversTransport === 'tollgate@file'
      meaning[`service of ${bare(name)}`] = { servers, isProxied }
    }
  return meaning
}
