/**
 * A real Prometheus with the configuration as it is shipped: it scrapes a gateway, a collector about
 * itself, the exporters and itself, works out every rule, and an alert fires and resolves.
 *
 * What agents sent is a stand-in, because it has to be hostile too: agents that call themselves by our
 * jobs and write what only rules write. A real collector's page is in stack/dashboards.test.ts.
 */
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { PROMETHEUS, readRules, selectorsOf } from '../support/alert-rules.ts'
import { spawnBackup } from '../support/backup-tool.ts'
import { startCollector } from '../support/collector.ts'
import { eventually } from '../support/eventually.ts'
import { freePorts } from '../support/otelcol.ts'
import {
  ask,
  layOutPrometheus,
  query,
  rewrite,
  startPage,
  startProgram,
  startPrometheus,
} from '../support/prometheus.ts'
import { spawnGateway } from '../support/spawn-gateway.ts'
import { hasTools } from '../support/tools.ts'

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

interface Rule {
  readonly name: string
  readonly type: string
  readonly health: string
  readonly lastError?: string
  readonly state?: string
}

test('a real Prometheus scrapes it all, the rules work, and an alert fires and resolves', async (t) => {
  const wanted = ['prometheus', 'prometheus-node-exporter', 'prometheus-blackbox-exporter']
  if (!hasTools(t, ...wanted, 'otelcol', 'openssl')) return
  const folder = await mkdtemp(join(tmpdir(), 'tollgate-prometheus-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  const ports = await freePorts(6)
  const [own, node, blackbox, telemetry, otlp, backup] = ports.map((port) => `127.0.0.1:${port}`)
  assert.ok(own !== undefined && node !== undefined && blackbox !== undefined)

  const behind = await startCollector()
  t.after(() => behind.die())
  const gateway = await spawnGateway({ collector: { grpc: `127.0.0.1:${behind.grpcPort}` } })
  t.after(() => gateway[Symbol.asyncDispose]())
  startProgram(t, 'prometheus-node-exporter', [`--web.listen-address=${node}`])
  startProgram(t, 'prometheus-blackbox-exporter', [
    `--web.listen-address=${blackbox}`,
    `--config.file=${join(PROMETHEUS, 'blackbox.yml')}`,
  ])
  const collectorConfig = join(folder, 'collector.json')
  await writeFile(collectorConfig, collectorAbout(Number(ports[3]), String(otlp)))
  startProgram(t, 'otelcol', ['--config', collectorConfig])

  // It makes no backup: this Prometheus gives no snapshot.
  const tool = spawnBackup(['run'], {
    TOLLGATE_BACKUP_LISTEN: String(backup),
    TOLLGATE_BACKUP_DIR: join(folder, 'backups'),
    TOLLGATE_BACKUP_WORK_DIR: join(folder, 'work'),
    TOLLGATE_BACKUP_PROMETHEUS_URL: `http://${own}`,
    TOLLGATE_BACKUP_PROMETHEUS_DIR: join(folder, 'data'),
    TOLLGATE_BACKUP_GATEWAY_DIR: 'off',
  })
  t.after(async () => {
    tool.kill('SIGTERM')
    await tool.exit
  })

  const targets: Readonly<Record<string, string>> = {
    'tollgate:9464': gateway.admin,
    'tollgate:4318': gateway.http,
    'tollgate:4317': gateway.grpc,
    'collector:8888': String(telemetry),
    'collector:8889': await startPage(t, AGENTS),
    'localhost:9090': own,
    'node-exporter:9100': node,
    'blackbox-exporter:9115': blackbox,
    'backup:9466': String(backup),
  }
  await layOutPrometheus(folder, targets)
  const gatewayRules = join(folder, 'rules/gateway.yml')
  await rewrite(gatewayRules, gatewayRules, (text) => {
    const changed = text.replace(/(alert: TollgateCollectorDown\n.*\n {8}for:) 1m/, '$1 2s')
    assert.notEqual(changed, text)
    return changed
  })
  startPrometheus(t, folder, own)

  await t.test('every target is up, and so are the probes', async () => {
    const up = await eventually(async () => {
      const found = await query(own, 'up').catch(() => [])
      return found.length === 8 && found.every(({ value }) => value[1] === '1') && found
    }, 'eight targets up')
    const jobs = up.map(({ metric }) => metric.job).toSorted()
    const expected = [
      'agents',
      'backup',
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
