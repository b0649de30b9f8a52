import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { CONNECTION_REFUSALS } from '../../../src/observe/connections.ts'
import { LOG_EVENTS } from '../../../src/observe/log.ts'
import { Metrics } from '../../../src/observe/metrics.ts'
import { OUTCOMES } from '../../../src/pipeline/outcome.ts'
import { ROOT } from '../../support/tools.ts'
import { restingReadings } from './fixtures.ts'

const METRICS = readFileSync(join(ROOT, 'docs/metrics.md'), 'utf8')
const LOGS = readFileSync(join(ROOT, 'docs/logs.md'), 'utf8')

/** Names in backticks in the first column of a table with this heading. */
function firstColumn(page: string, heading: string): string[] {
  const table = page.slice(page.indexOf(`\n| ${heading} |`)).split('\n\n')[0] ?? ''
  return table
    .split('\n')
    .slice(3)
    .flatMap((row) => [...(row.split('|')[1] ?? '').matchAll(/`([^`]+)`/g)])
    .flatMap(([, name]) => name ?? [])
}

test('docs/metrics.md has every metric with its type and labels, and no other', async () => {
  const metrics = new Metrics({
    version: 'test',
    readings: restingReadings(),
    hasProcessMetrics: false,
  })
  const page = await metrics.page()
  const actual = metrics.families().map(({ name }) => {
    const type = new RegExp(`^# TYPE ${name} (\\w+)$`, 'm').exec(page)?.[1]
    const series = new RegExp(`^${name}(?:_count)?(?:\\{(.*)\\})? `, 'm').exec(page)
    assert.ok(series !== null, `${name} has a series`)
    const labels = [...(series[1] ?? '').matchAll(/(\w+)="/g)].map(([, label]) => label)
    return [name, type, labels.join(', ')].join(' | ')
  })
  const documented = [...METRICS.matchAll(/^\| `(tollgate_\w+)` \| (\w+) \| ([\w, ]*) ?\| /gm)].map(
    ([, name, type, labels]) => [name, type, labels?.trim()].join(' | '),
  )
  assert.deepEqual(documented.toSorted(), actual.toSorted())
})

test('docs/metrics.md has every outcome and every reason of a refused connection', () => {
  assert.deepEqual(firstColumn(METRICS, 'outcome').toSorted(), OUTCOMES.toSorted())
  const reasons = METRICS.split('\n\n').find((part) => part.startsWith('The reasons:')) ?? ''
  for (const reason of CONNECTION_REFUSALS) assert.ok(reasons.includes(`\`${reason}\``), reason)
})

test('docs/logs.md has every event, and no other', () => {
  assert.deepEqual(firstColumn(LOGS, 'event').toSorted(), LOG_EVENTS.toSorted())
})
