/** The alerts in docker/prometheus: good rules, each tested, each with a section in docs/alerts.md. */
import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it, test } from 'node:test'
import { Metrics } from '../../../src/observe/metrics.ts'
import { OUTCOMES } from '../../../src/pipeline/outcome.ts'
import { boundsOf, PROMETHEUS, readRules, selectorsOf } from '../../support/alert-rules.ts'
import { runToEnd } from '../../support/child.ts'
import { hasTools, ROOT, tool } from '../../support/tools.ts'
import { restingReadings } from './fixtures.ts'

const RUNBOOK = readFileSync(join(ROOT, 'docs/alerts.md'), 'utf8')
const { alerts, records } = readRules()

/** Metrics of others. test/real/prometheus-rules.test.ts finds those of the first four on their pages. */
const OTHERS: Readonly<Record<string, readonly string[]>> = {
  Prometheus: [
    'prometheus_config_last_reload_successful',
    'prometheus_rule_evaluation_failures_total',
  ],
  'every scrape': ['up'],
  'blackbox exporter': ['probe_success'],
  'node exporter': [
    'node_filesystem_avail_bytes',
    'node_filesystem_size_bytes',
    'node_filesystem_files',
    'node_filesystem_files_free',
    'node_filesystem_readonly',
    'node_memory_MemAvailable_bytes',
    'node_memory_MemTotal_bytes',
    'node_timex_offset_seconds',
    'node_timex_sync_status',
    'node_nf_conntrack_entries',
    'node_nf_conntrack_entries_limit',
  ],
  'the backup': [
    'tollgate_backup_last_success_timestamp_seconds',
    'tollgate_backup_last_attempt_success',
    'tollgate_backup_last_size_bytes',
    'tollgate_backup_last_verify_success_timestamp_seconds',
  ],
}

describe('promtool', () => {
  const files = globSync('tests/*.yml', { cwd: PROMETHEUS })

  it('takes the configuration and every rule', async (t) => {
    if (!hasTools(t, 'promtool')) return
    const config = join(PROMETHEUS, 'prometheus.yml')
    const { code, stdout, stderr } = await runToEnd(tool('promtool'), ['check', 'config', config])
    assert.equal(code, 0, stdout + stderr)
    const counted = [...stdout.matchAll(/SUCCESS: (\d+) rules found/g)].map(([, n]) => Number(n))
    assert.equal(
      counted.reduce((sum, n) => sum + n, 0),
      alerts.length + records.length,
      'as many as this test has read',
    )
  })

  for (const file of files)
    it(`agrees with ${file}`, async (t) => {
      if (!hasTools(t, 'promtool')) return
      const path = join(PROMETHEUS, file)
      const { code, stdout, stderr } = await runToEnd(tool('promtool'), ['test', 'rules', path])
      assert.equal(code, 0, stdout + stderr)
    })

  for (const { alert, file, holds } of alerts)
    it(`${alert} is seen silent, firing and resolved`, () => {
      const text = readFileSync(join(PROMETHEUS, `tests/${file}.yml`), 'utf8')
      const scenes = text.split(/^ {2}- name: /m).filter((scene) => scene.startsWith(`${alert}\n`))
      assert.ok(scenes.length > 0, `tests/${file}.yml has no test of it`)
      for (const scene of scenes) {
        const seen = scene
          .split(/^ {6}- eval_time: /m)
          .slice(1)
          .filter((look) => look.includes(`alertname: ${alert}\n`))
          .map((look) => (/exp_alerts: \[\]/.test(look) ? 'silent' : 'firing'))
        const first = seen.indexOf('firing')
        assert.ok(first > 0, `silent, then firing: ${seen}`)
        assert.equal(seen.at(-1), 'silent', `resolved: ${seen}`)
        if (holds !== undefined) assert.ok(first > 1, `silent before it has held: ${seen}`)
      }
    })
})

describe('docs/alerts.md', () => {
  it('has a section for every alert, and no other', () => {
    const sections = [...RUNBOOK.matchAll(/^### (\w+)$/gm)].map(([, name]) => name)
    assert.deepEqual(sections.toSorted(), alerts.map(({ alert }) => alert).toSorted())
  })

  for (const { alert, expr, holds, severity, runbook } of alerts)
    it(`${alert}: severity, time and bounds as in the rule`, () => {
      assert.equal(runbook, `docs/alerts.md#${alert.toLowerCase()}`)
      assert.ok(severity !== undefined && ['critical', 'warning', 'info'].includes(severity))
      const bounds = boundsOf(expr)
      assert.ok(bounds.length > 0)
      const when = holds === undefined ? 'at once' : `for ${holds}`
      const line = `\`${severity}\`, ${when}: ${bounds.map((bound) => `\`${bound}\``).join(', ')}`
      const [, section = ''] = RUNBOOK.split(new RegExp(`^### ${alert}\\n\\n`, 'm'))
      assert.equal(section.split('\n')[0], line)
      assert.ok(
        (section.split(/^#/m)[0] ?? '').split('\n\n').length > 2,
        'what it means, and what to do',
      )
    })
})

test('docs/operations.md has a line for every alert, and no other', () => {
  const page = readFileSync(join(ROOT, 'docs/operations.md'), 'utf8')
  const rows = [...page.matchAll(/^\| \[(\w+)\]\(alerts\.md#(\w+)\) \| (\w+) \| (.+) \|$/gm)].map(
    ([, name = '', anchor, severity]) => ({ name, anchor, severity }),
  )
  const expected = alerts.map(({ alert, severity }) => ({
    ...{ name: alert, anchor: alert.toLowerCase(), severity },
  }))
  const byName = (a: { name: string }, b: { name: string }) => a.name.localeCompare(b.name)
  assert.deepEqual(rows.toSorted(byName), expected.toSorted(byName))
})

describe('expressions', () => {
  const metrics = new Metrics({
    version: 'test',
    readings: restingReadings(),
    hasProcessMetrics: false,
  })
  const ours = new Set(metrics.families().map(({ name }) => name))
  const others = new Set(Object.values(OTHERS).flat())
  const recorded = new Set(records.map(({ record }) => record))
  const rules = [
    ...alerts.map(({ alert, expr }) => ({ name: alert, expr })),
    ...records.map(({ record, expr }) => ({ name: record, expr })),
  ]

  it('are read as Prometheus reads them', () => {
    assert.deepEqual(
      selectorsOf(
        'sum by (le, x) (rate(a_total{b="{}"}[5m])) / on (y) scalar(c:d) > 1 and time() - e',
      ),
      [
        { metric: 'a_total', matchers: '{b="{}"}' },
        { metric: 'c:d', matchers: undefined },
        { metric: 'e', matchers: undefined },
      ],
    )
  })

  for (const { name, expr } of rules)
    it(`${name} reads what there is, from jobs that no agent can be`, () => {
      const selectors = selectorsOf(expr)
      assert.ok(selectors.length > 0)
      for (const { metric, matchers } of selectors) {
        if (recorded.has(metric)) continue
        const family = metric.replace(/_(?:bucket|sum|count)$/, '')
        assert.ok(
          ours.has(metric) || ours.has(family) || others.has(metric),
          `${metric}: no metric`,
        )
        assert.match(matchers ?? '', /[{,]job=~?"[a-z|-]+"/, `${metric} says no job`)
      }
      for (const [, outcomes = ''] of expr.matchAll(/outcome=~?"([^"]+)"/g))
        for (const outcome of outcomes.split('|'))
          assert.ok((OUTCOMES as readonly string[]).includes(outcome), `${outcome}: no outcome`)
    })

  it('name only jobs of prometheus.yml', () => {
    const config = readFileSync(join(PROMETHEUS, 'prometheus.yml'), 'utf8')
    const jobs = [...config.matchAll(/^ {2}- job_name: (\S+)$/gm)].map(([, job]) => job)
    const named = rules.flatMap(({ expr }) =>
      [...expr.matchAll(/job=~?"([^"]+)"/g)].flatMap(([, job = '']) => job.split('|')),
    )
    for (const job of named) assert.ok(jobs.includes(job), job)
    const kept = /regex: \((tollgate\|[^)]+)\)\n *target_label: job/.exec(config)?.[1]?.split('|')
    assert.deepEqual(kept?.toSorted(), jobs.toSorted(), 'jobs kept from agents')
  })
})
