/** The dashboards: as their source makes them, readable, and asking only for what there is. */
import assert from 'node:assert/strict'
import { existsSync, globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import type { GridPos } from '@grafana/schema'
import { dashboards } from '../../../docker/grafana/source/all.ts'
import { NOT_AGENTS } from '../../../docker/grafana/source/selectors.ts'
import { Metrics } from '../../../src/observe/metrics.ts'
import { PROMETHEUS, readRules } from '../../support/alert-rules.ts'
import {
  fillIn,
  GRAFANA,
  panelsOf,
  questionsOf,
  type Read,
  readDashboard,
  readsOf,
  rowsOf,
} from '../../support/dashboards.ts'
import { ROOT } from '../../support/tools.ts'
import { restingReadings } from '../observe/fixtures.ts'

const made = dashboards()
const files = globSync('*.json', { cwd: join(GRAFANA, 'dashboards') }).toSorted()
const { alerts, records } = readRules()

/** What begins the names of each job's metrics. That they are there is asked in test/stack. */
const OTHERS: Readonly<Record<string, RegExp>> = {
  node: /^node_/,
  collector: /^otelcol_/,
  prometheus: /^(?:prometheus|process)_/,
  'blackbox-tls': /^probe_/,
  'blackbox-grpc': /^probe_/,
  backup: /^tollgate_backup_/,
}
/** Prometheus alone writes these, and takes them from no page. */
const ITS_OWN = /^(?:up|scrape_\w+|ALERTS|ALERTS_FOR_STATE)$/

const ours = new Set(
  new Metrics({ version: 'test', readings: restingReadings(), hasProcessMetrics: true })
    .families()
    .map(({ name }) => name),
)
const recorded = new Set(records.map(({ record }) => record))
const config = readFileSync(join(PROMETHEUS, 'prometheus.yml'), 'utf8')
const jobs = [...config.matchAll(/^ {2}- job_name: (\S+)$/gm)].map(([, job]) => job ?? '')

it('every dashboard of the source is a file, and every file is made by it', () => {
  assert.deepEqual(files, Object.keys(made).toSorted())
})

it('the dashboards have uids and titles of their own', () => {
  const all = files.map(readDashboard)
  assert.equal(new Set(all.map(({ uid }) => uid)).size, files.length)
  assert.equal(new Set(all.map(({ title }) => title)).size, files.length)
  for (const { uid = '' } of all) assert.match(uid, /^[a-z-]{8,40}$/)
})

it('what is not an agent is said as in prometheus.yml', () => {
  const others = [...new Set([...jobs, 'backup'])].filter((job) => job !== 'agents')
  assert.deepEqual(NOT_AGENTS.split('|').toSorted(), others.toSorted())
})

for (const file of files)
  describe(file, () => {
    const dashboard = readDashboard(file)
    const panels = panelsOf(dashboard)

    it('is what the source makes: npm run dashboards', () => {
      assert.deepEqual(dashboard, JSON.parse(JSON.stringify(made[file])))
    })

    it('has the frame of all of them', () => {
      assert.equal(dashboard.schemaVersion, 42, 'of @grafana/schema 13.2')
      assert.equal(dashboard.refresh, '30s')
      assert.equal(dashboard.timezone, 'browser')
      assert.deepEqual(dashboard.tags, ['tollgate'])
      assert.deepEqual(
        dashboard.links?.map(({ type, tags }) => ({ type, tags })),
        [{ type: 'dashboards', tags: ['tollgate'] }],
      )
    })

    it('numbers its panels and puts none on another', () => {
      const placed = [...rowsOf(dashboard), ...panels]
      assert.equal(new Set(placed.map(({ id }) => id)).size, placed.length)
      const taken = new Set<string>()
      for (const { title, gridPos } of placed) {
        assert.ok(gridPos !== undefined, title)
        assert.ok(gridPos.x + gridPos.w <= 24, `${title} fits`)
        for (const cell of cellsOf(gridPos)) {
          assert.ok(!taken.has(cell), `${title} lies on another panel`)
          taken.add(cell)
        }
      }
    })

    it('asks the data source that is chosen at the top', () => {
      const [first] = dashboard.templating?.list ?? []
      assert.equal(first?.type, 'datasource')
      assert.equal(first.current?.value, 'tollgate-prometheus')
      const uids = [...JSON.stringify(dashboard).matchAll(/"uid":"([^"]+)"/g)].map(([, uid]) => uid)
      // biome-ignore lint/suspicious/noTemplateCurlyInString: Grafana fills it in.
      assert.deepEqual(new Set(uids), new Set(['${datasource}', dashboard.uid]))
    })

    for (const panel of panels)
      it(`${panel.title}: a unit, what it means, and where the runbook is`, () => {
        const { description = '', fieldConfig, targets = [] } = panel
        const withUnit = fieldConfig?.overrides.filter(({ properties }) =>
          properties.some(({ id }) => id === 'unit'),
        )
        if (panel.type === 'table') assert.ok((withUnit?.length ?? 0) > 0)
        else assert.match(fieldConfig?.defaults.unit ?? '', /./)
        assert.ok(description.length > 40, 'says what it means')
        assert.ok(targets.length > 0)
        for (const [, page = '', anchor] of description.matchAll(
          /`(docs\/[\w-]+\.md)(?:#([\w-]+))?`/g,
        )) {
          assert.ok(existsSync(join(ROOT, page)), page)
          if (anchor !== undefined) assert.ok(anchorsOf(page).has(anchor), `${page}#${anchor}`)
        }
        const [, fires = ''] = description.split('If it fires: ')
        for (const [, anchor] of fires.matchAll(/#(\w+)/g))
          assert.ok(
            alerts.some(({ alert }) => alert.toLowerCase() === anchor),
            anchor,
          )
      })

    for (const { where, expr } of questionsOf(dashboard))
      it(`${where} reads what there is, from jobs that no agent can be`, () => {
        const reads = readsOf(
          fillIn(expr, { ...NAMES, __rate_interval: '1m', __range: '1h', __interval: '15s' }),
        )
        assert.ok(reads.length > 0)
        for (const read of reads) assertKnown(read)
      })
  })

/** Names stand for themselves where only the form counts. */
const NAMES = Object.fromEntries(
  ['instance', 'node', 'holder', 'device', 'job', 'metric'].map((name) => [name, `$${name}`]),
)

function assertKnown({ metric, matchers }: Read): void {
  const isNamedTwice = metric !== '' && matchers.some(({ label }) => label === '__name__')
  assert.ok(!isNamedTwice, `${metric}: Prometheus takes a name before the braces or in them`)
  if (recorded.has(metric) || ITS_OWN.test(metric)) return
  const job = matchers.find(({ label, operator }) => label === 'job' && operator.startsWith('='))
  const isOfAgents = job?.value === '$job' || matchers.some(({ value }) => value === NOT_AGENTS)
  if (isOfAgents) {
    // Agents name their metrics as they like; this one the collector writes for each of them.
    assert.ok(metric === '' || metric === 'target_info', metric)
    return
  }
  assert.ok(job !== undefined, `${metric} says no job`)
  for (const name of job.value.split('|')) {
    assert.ok([...jobs, 'backup'].includes(name), `${metric}: no job ${name}`)
    const family = metric.replace(/_(?:bucket|sum|count)$/, '')
    const isKnown =
      name === 'tollgate'
        ? ours.has(metric) || ours.has(family)
        : metric.startsWith('tollgate_backup_') || OTHERS[name]?.test(metric)
    assert.ok(isKnown, `${metric} is no metric of ${name}`)
  }
}

function* cellsOf({ x, y, w, h }: GridPos): Iterable<string> {
  for (let column = x; column < x + w; column += 1)
    for (let line = y; line < y + h; line += 1) yield `${column} ${line}`
}

function anchorsOf(page: string): Set<string> {
  const headings = readFileSync(join(ROOT, page), 'utf8').matchAll(/^#+ (.+)$/gm)
  return new Set(
    [...headings].map(([, heading = '']) =>
      heading
        .toLowerCase()
        .replace(/[^\w -]/g, '')
        .replaceAll(' ', '-'),
    ),
  )
}
