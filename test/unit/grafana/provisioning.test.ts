/** The files that provision Grafana have the fields that Grafana documents, and fit the stack. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { parse } from 'yaml'
import { PROVISIONED } from '../../../docker/grafana/source/dashboard.ts'
import { PROMETHEUS } from '../../support/alert-rules.ts'
import { GRAFANA } from '../../support/dashboards.ts'
import { ROOT } from '../../support/tools.ts'

/** As documented under Administration, Provision Grafana, Data sources. */
const OF_A_DATA_SOURCE = [
  ...['name', 'type', 'uid', 'orgId', 'access', 'url', 'user', 'database', 'basicAuth'],
  ...['basicAuthUser', 'withCredentials', 'isDefault', 'jsonData', 'secureJsonData', 'version'],
  'editable',
]
/** As documented for Prometheus, and for all data sources that alerts may use. */
const OF_PROMETHEUS = [
  ...['httpMethod', 'timeInterval', 'queryTimeout', 'prometheusType', 'prometheusVersion'],
  ...['customQueryParameters', 'defaultEditor', 'disableMetricsLookup', 'incrementalQuerying'],
  ...['incrementalQueryOverlapWindow', 'disableRecordingRules', 'cacheLevel', 'manageAlerts'],
  ...['allowAsRecordingRulesTarget', 'alertmanagerUid', 'exemplarTraceIdDestinations'],
]
/** As documented under Administration, Provision Grafana, Dashboards. */
const OF_A_PROVIDER = [
  ...['name', 'orgId', 'folder', 'folderUid', 'type', 'disableDeletion', 'updateIntervalSeconds'],
  ...['allowUiUpdates', 'options'],
]

function read(path: string): Readonly<Record<string, unknown>> {
  return parse(readFileSync(join(GRAFANA, 'provisioning', path), 'utf8'))
}

function assertFields(of: object, documented: readonly string[]): void {
  for (const field of Object.keys(of)) assert.ok(documented.includes(field), `no field ${field}`)
}

test('the data source is the Prometheus of the stack, under the uid of the dashboards', () => {
  const { datasources, ...rest } = read('datasources/prometheus.yml')
  assert.deepEqual(rest, { apiVersion: 1, prune: true })
  assert.ok(Array.isArray(datasources) && datasources.length === 1)
  const [{ jsonData, ...source }] = datasources
  assertFields({ jsonData, ...source }, OF_A_DATA_SOURCE)
  assertFields(jsonData, OF_PROMETHEUS)
  assert.deepEqual(source, {
    name: 'Prometheus',
    type: 'prometheus',
    uid: PROVISIONED,
    orgId: 1,
    access: 'proxy',
    url: 'http://prometheus:9090',
    isDefault: true,
    editable: false,
  })
  const { global } = parse(readFileSync(join(PROMETHEUS, 'prometheus.yml'), 'utf8'))
  assert.equal(jsonData.timeInterval, global.scrape_interval)
})

test('the dashboards are read from one folder, and are not saved over from the browser', () => {
  const { providers, ...rest } = read('dashboards/tollgate.yml')
  assert.deepEqual(rest, { apiVersion: 1 })
  assert.ok(Array.isArray(providers) && providers.length === 1)
  const [provider] = providers
  assertFields(provider, OF_A_PROVIDER)
  assertFields(provider.options, ['path', 'foldersFromFilesStructure'])
  assert.equal(provider.type, 'file')
  assert.equal(provider.allowUiUpdates, false)
  assert.equal(provider.options.path, '/etc/grafana/dashboards')
})

test('the stack mounts both folders, in the Grafana whose types the dashboards have', () => {
  const { services } = parse(readFileSync(join(ROOT, 'docker/compose.yml'), 'utf8'))
  const { image, volumes } = services.grafana
  assert.ok(volumes.includes('./grafana/provisioning:/etc/grafana/provisioning:ro'))
  assert.ok(volumes.includes('./grafana/dashboards:/etc/grafana/dashboards:ro'))
  const schema = join(ROOT, 'node_modules/@grafana/schema/package.json')
  const { version } = JSON.parse(readFileSync(schema, 'utf8'))
  assert.equal(image, `grafana/grafana:${version}`)
})
