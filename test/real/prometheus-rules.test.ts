/**
 * A real Prometheus with the configuration as it is shipped: it scrapes a gateway, a collector about
 * itself, the exporters and itself, works out every rule, and an alert fires and resolves.
 *
 * What agents sent is a stand-in: the collector that tests build has no Prometheus exporter. Its page
 * is as the README of that exporter describes it, with host.name as a constant label.
 */
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { PROMETHEUS, readRules, selectorsOf } from '../support/alert-rules.ts'
import { Child } from '../support/child.ts'
import { startCollector } from '../support/collector.ts'
import { eventually } from '../support/eventually.ts'
import { freePorts } from '../support/otelcol.ts'
import { spawnGateway } from '../support/spawn-gateway.ts'
import { hasTools, tool } from '../support/tools.ts'

const AGENTS = `# TYPE orders counter
orders_total{host_name="web-1",instance="i-1",job="shop"} 7
# TYPE latency histogram
latency_bucket{host_name="web-1",instance="i-1",job="shop",le="1"} 3
latency_bucket{host_name="web-1",instance="i-1",job="shop",le="+Inf"} 4
latency_sum{host_name="web-1",instance="i-1",job="shop"} 5
latency_count{host_name="web-1",instance="i-1",job="shop"} 4
# TYPE target_info gauge
target_info{host_name="web-1",instance="i-1",job="shop",service_version="2"} 1
tollgate_collector_up{instance="i-2",job="tollgate"} 0
up{instance="i-2",job="node"} 0
tollgate:outcomes:rate5m{instance="i-2",job="shop"} 1
`

interface Sample {
  readonly metric: Readonly<Record<string, string>>
  readonly value: readonly [number, string]
}

interface Rule {
  readonly name: string
  readonly type: string
  readonly health: string
  readonly lastError?: string
  readonly state?: string
}

/** Asks the API of a Prometheus. */
async function ask<T>(prometheus: string, path: string): Promise<T> {
  const answer = await fetch(`http://${prometheus}/api/v1/${path}`)
  assert.equal(answer.status, 200, path)
  const { data } = (await answer.json()) as { readonly data: T }
  return data
}

async function query(prometheus: string, expr: string): Promise<readonly Sample[]> {
  const path = `query?query=${encodeURIComponent(expr)}`
  return (await ask<{ readonly result: readonly Sample[] }>(prometheus, path)).result
}

/** A page that says the same to everybody, on a free port. */
async function startPage(t: TestContext, text: string): Promise<string> {
  const server = createServer((_, answer) => {
    answer.setHeader('content-type', 'text/plain; version=0.0.4; charset=utf-8').end(text)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => server.close())
  const address = server.address()
  assert.ok(address !== null && typeof address === 'object')
  return `127.0.0.1:${address.port}`
}

/** A program that runs until the end of the test. */
function start(t: TestContext, name: string, args: readonly string[]): Child {
  const child = new Child(tool(name), args)
  t.after(async () => {
    child.kill('SIGTERM')
    await child.exit
  })
  return child
}

test('a real Prometheus scrapes it all, the rules work, and an alert fires and resolves', async (t) => {
  const wanted = ['prometheus', 'prometheus-node-exporter', 'prometheus-blackbox-exporter']
  if (!hasTools(t, ...wanted, 'otelcol', 'openssl')) return
  const folder = await mkdtemp(join(tmpdir(), 'tollgate-prometheus-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  const ports = await freePorts(5)
  const [own, node, blackbox, telemetry, otlp] = ports.map((port) => `127.0.0.1:${port}`)
  assert.ok(own !== undefined && node !== undefined && blackbox !== undefined)

  const behind = await startCollector()
  t.after(() => behind.die())
  const gateway = await spawnGateway({ collector: { grpc: `127.0.0.1:${behind.grpcPort}` } })
  t.after(() => gateway[Symbol.asyncDispose]())
  start(t, 'prometheus-node-exporter', [`--web.listen-address=${node}`])
  start(t, 'prometheus-blackbox-exporter', [
    `--web.listen-address=${blackbox}`,
    `--config.file=${join(PROMETHEUS, 'blackbox.yml')}`,
  ])
  const collectorConfig = join(folder, 'collector.json')
  await writeFile(collectorConfig, collectorAbout(Number(ports[3]), String(otlp)))
  start(t, 'otelcol', ['--config', collectorConfig])

  await cp(join(PROMETHEUS, 'rules'), join(folder, 'rules'), { recursive: true })
  const targets: Readonly<Record<string, string>> = {
    'tollgate:9464': gateway.admin,
    'tollgate:4318': gateway.http,
    'tollgate:4317': gateway.grpc,
    'collector:8888': String(telemetry),
    'collector:8889': await startPage(t, AGENTS),
    'localhost:9090': own,
    'node-exporter:9100': node,
    'blackbox-exporter:9115': blackbox,
  }
  await rewrite(join(PROMETHEUS, 'prometheus.yml'), join(folder, 'prometheus.yml'), (text) => {
    let changed = text.replace(
      /^ {2}(scrape_interval|scrape_timeout|evaluation_interval): .*$/gm,
      '  $1: 1s',
    )
    for (const [from, to] of Object.entries(targets)) {
      assert.ok(changed.includes(from), from)
      changed = changed.replaceAll(from, to)
    }
    return changed.replace(/^alerting:\n(?: +.*\n)+/m, '')
  })
  const gatewayRules = join(folder, 'rules/gateway.yml')
  await rewrite(gatewayRules, gatewayRules, (text) => {
    const changed = text.replace(/(alert: TollgateCollectorDown\n.*\n {8}for:) 1m/, '$1 2s')
    assert.notEqual(changed, text)
    return changed
  })
  start(t, 'prometheus', [
    `--config.file=${join(folder, 'prometheus.yml')}`,
    `--storage.tsdb.path=${join(folder, 'data')}`,
    '--storage.tsdb.retention.time=30d',
    '--storage.tsdb.retention.size=8GB',
    `--web.listen-address=${own}`,
  ])

  await t.test('every target is up, and so are the probes', async () => {
    const up = await eventually(async () => {
      const found = await query(own, 'up').catch(() => [])
      return found.length === 7 && found.every(({ value }) => value[1] === '1') && found
    }, 'seven targets up')
    const jobs = up.map(({ metric }) => metric.job).toSorted()
    const expected = [
      'agents',
      'blackbox-grpc',
      'blackbox-tls',
      'collector',
      'node',
      'prometheus',
      'tollgate',
    ]
    assert.deepEqual(jobs, expected)
    await eventually(
      async () => (await query(own, 'probe_success == 1')).length === 2,
      'both probes to succeed',
    )
    const [certificate] = await query(
      own,
      'probe_ssl_earliest_cert_expiry{job="blackbox-tls"} - time()',
    )
    assert.ok(Number(certificate?.value[1]) > 0, 'the probe sees when the certificate ends')
  })

  await t.test('every rule is worked out, and read here as Prometheus reads it', async () => {
    const { alerts, records } = readRules()
    const rules = await eventually(async () => {
      const { groups } = await ask<{ groups: { rules: Rule[] }[] }>(own, 'rules')
      const all = groups.flatMap((group) => group.rules)
      return all.every(({ health }) => health !== 'unknown') && all
    }, 'every rule worked out')
    for (const { name, health, lastError } of rules)
      assert.equal(health, 'ok', `${name}: ${lastError}`)
    assert.deepEqual(
      rules.map(({ name }) => name).toSorted(),
      [...alerts.map(({ alert }) => alert), ...records.map(({ record }) => record)].toSorted(),
    )
    const failures = await query(own, 'sum(prometheus_rule_evaluation_failures_total)')
    assert.equal(failures[0]?.value[1], '0')
  })

  await t.test('every metric of an expression is known where it comes from', async () => {
    const known = new Set(Object.keys(await ask<Record<string, unknown>>(own, 'metadata')))
    for (const name of ['up', 'probe_success']) known.add(name)
    // Only the backup has it.
    known.add('tollgate_backup_last_success_timestamp_seconds')
    // The node exporter has these two only where the kernel tracks connections.
    if (!existsSync('/proc/sys/net/netfilter/nf_conntrack_count'))
      for (const name of ['node_nf_conntrack_entries', 'node_nf_conntrack_entries_limit'])
        known.add(name)
    const { alerts, records } = readRules()
    for (const { record } of records) known.add(record)
    for (const { expr } of [...alerts, ...records])
      for (const { metric } of selectorsOf(expr)) {
        const family = metric.replace(/_(?:bucket|sum|count)$/, '')
        assert.ok(known.has(metric) || known.has(family), metric)
      }
  })

  await t.test(
    'agents keep their names, have a device, and cannot be one of our jobs',
    async () => {
      const [orders] = await query(own, 'orders_total')
      assert.equal(orders?.metric.job, 'shop')
      assert.equal(orders?.metric.instance, 'i-1')
      assert.equal(orders?.metric.device, 'web-1')
      for (const name of [
        'latency_bucket',
        'latency_sum',
        'latency_count',
        'target_info{job="shop"}',
      ])
        assert.notEqual((await query(own, name)).length, 0, name)
      const ours = await query(own, 'tollgate_collector_up{job="tollgate"}')
      assert.deepEqual(
        ours.map(({ value }) => value[1]),
        ['1'],
      )
      assert.equal((await query(own, 'tollgate_collector_up{job="agent-tollgate"}')).length, 1)
      assert.deepEqual(await query(own, '{instance="i-2",__name__=~"up|tollgate:.*"}'), [])
    },
  )

  await t.test(
    'TollgateCollectorDown fires when the collector dies, and resolves when it is back',
    async () => {
      const firing = 'ALERTS{alertname="TollgateCollectorDown",alertstate="firing"}'
      assert.deepEqual(await query(own, firing), [])
      await behind.die()
      const [alert] = await eventually(async () => {
        const found = await query(own, firing)
        return found.length > 0 && found
      }, 'the alert')
      assert.equal(alert?.metric.severity, 'critical')
      assert.equal(alert?.metric.instance, gateway.admin)
      const again = await startCollector({ grpcPort: behind.grpcPort })
      t.after(() => again.die())
      await eventually(async () => (await query(own, firing)).length === 0, 'the alert to resolve')
    },
  )
})

async function rewrite(from: string, to: string, change: (text: string) => string): Promise<void> {
  await writeFile(to, change(await readFile(from, 'utf8')))
}

/** A collector that tells about itself on a port, and does nothing else. */
function collectorAbout(port: number, otlp: string): string {
  const pull = { exporter: { prometheus: { host: '127.0.0.1', port } } }
  return JSON.stringify({
    receivers: { otlp: { protocols: { grpc: { endpoint: otlp } } } },
    exporters: { debug: {} },
    service: {
      telemetry: { metrics: { readers: [{ pull }] } },
      pipelines: { traces: { receivers: ['otlp'], exporters: ['debug'] } },
    },
  })
}
