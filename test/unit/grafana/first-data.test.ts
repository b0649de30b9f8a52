/** The dashboard in the template for Dokploy, by the same rules as those in docker/grafana/. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { it } from 'node:test'
import type { Dashboard } from '@grafana/schema'
import { parse } from 'yaml'
import { Metrics } from '../../../src/observe/metrics.ts'
import { panelsOf, readsOf } from '../../support/dashboards.ts'
import { readTemplate } from '../../support/dokploy-template.ts'
import { ROOT } from '../../support/tools.ts'
import { restingReadings } from '../observe/fixtures.ts'

const template = readTemplate(readFileSync(join(ROOT, 'docker/dokploy/template.toml'), 'utf8'))

function mounted(path: string): string {
  const mount = template.config.mounts?.find(({ filePath }) => filePath === path)
  assert.ok(mount !== undefined, path)
  return mount.content
}

const dashboard = JSON.parse(mounted('grafana/dashboards/first-data.json')) as Dashboard

it('asks the data source that is provisioned, in panels that do not overlap', () => {
  const { datasources } = parse(mounted('grafana/provisioning/datasources/prometheus.yaml'))
  const taken = new Set<string>()
  for (const { title, datasource, gridPos } of panelsOf(dashboard)) {
    assert.equal(datasource?.uid, datasources[0].uid, title)
    assert.ok(gridPos !== undefined && gridPos.x + gridPos.w <= 24, title)
    for (let x = gridPos.x; x < gridPos.x + gridPos.w; x += 1)
      for (let y = gridPos.y; y < gridPos.y + gridPos.h; y += 1) {
        assert.ok(!taken.has(`${x} ${y}`), title)
        taken.add(`${x} ${y}`)
      }
  }
})

it('lies where the provider that is provisioned looks', () => {
  const { providers } = parse(mounted('grafana/provisioning/dashboards/files.yaml'))
  const compose = readFileSync(join(ROOT, 'docker/dokploy/docker-compose.yml'), 'utf8')
  assert.ok(compose.includes(`- ../files/grafana/dashboards:${providers[0].options.path}:ro`))
})

it('asks for metrics that the gateway has', () => {
  const metrics = new Metrics({
    version: 'test',
    readings: restingReadings(),
    hasProcessMetrics: false,
  })
  const families = new Set(metrics.families().map(({ name }) => name))
  const expressions = panelsOf(dashboard).flatMap(({ targets = [] }) =>
    targets.map(({ expr }) => String(expr)),
  )
  const reads = expressions.flatMap((expr) =>
    readsOf(expr.replaceAll('$__rate_interval', '1m')).map(({ metric }) => metric),
  )
  const own = reads.filter((name) => name.startsWith('tollgate_'))
  assert.ok(own.length >= 5)
  for (const name of own) assert.ok(families.has(name), name)
})
