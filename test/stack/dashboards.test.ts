/**
 * Every question of every dashboard, asked of real Prometheuses as Grafana asks it, while a real
 * gateway with a real collector, SDKs, exporters and strangers is at work.
 *
 * Grafana itself cannot be had here: its part, filling in variables, is done by this test.
 */
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { dashboards } from '../../docker/grafana/source/all.ts'
import { PROMETHEUS } from '../support/alert-rules.ts'
import { spawnBackup } from '../support/backup-tool.ts'
import { fillIn, type Question, questionsOf, readDashboard } from '../support/dashboards.ts'
import { eventually } from '../support/eventually.ts'
import { freePorts } from '../support/otelcol.ts'
import {
  ask,
  layOutPrometheus,
  query,
  startProgram,
  startPrometheus,
} from '../support/prometheus.ts'
import { findTool, hasTools } from '../support/tools.ts'
import { startWatchedGateway } from '../support/watched-gateway.ts'

/** Debian's, which other tests use, and the one of the compose file. */
const PROGRAMS = ['prometheus', 'prometheus-3'] as const
const LONGEST_MS = 90_000

/** What this run cannot bring about, and why. */
const EXCEPTIONS: readonly (readonly [where: string, isExcused: () => boolean, why: string])[] = [
  [
    'Tollgate infrastructure: Connection table of the kernel A',
    () => !existsSync('/proc/sys/net/netfilter/nf_conntrack_count'),
    'the kernel of this machine tracks no connections',
  ],
]

/** Nothing is left out at the top. */
const ALL = {
  ...{ __rate_interval: '4s', __interval: '1s', __range: '300s' },
  ...{ instance: '.+', node: '.+', holder: '.+', device: '.*', job: 'robot|web-shop' },
}

/** Bounds of what the first rows have to say of this run. */
const TOLD: Readonly<Record<string, readonly [least: number, most: number]>> = {
  'overview: Gateway': [1, 1],
  'overview: Public ports': [1, 1],
  'overview: Collector': [1, 1],
  // The certificate of the test ends in two days, and robot-1 in five.
  'overview: Alerts': [2, 20],
  'overview: Certificate': [1.9, 2],
  'overview: First token to end': [4.9, 5],
  'overview: Refused share': [0.2, 0.8],
  'overview: Answered within': [0, 2],
  'infrastructure: Unwatched': [0, 0],
  'infrastructure: Last good backup': [0, 300],
  'infrastructure: CPU busy': [0, 1],
  'infrastructure: Disk free': [0, 1],
  'agents: Silent holders': [0, 0],
  // An expired token of the robot, a signal that the sensor may not send, and too many requests.
  'agents: Refused holders': [3, 3],
  'agents: Holders that send': [5, 5],
  'agents: Devices': [2, 2],
  'agents: Services': [2, 2],
  'agents: Of the limit of series': [0, 0.01],
}

interface Series {
  readonly metric: Readonly<Record<string, string>>
  readonly value?: readonly [number, string]
  readonly values?: readonly (readonly [number, string])[]
}

test('every panel, variable and annotation of every dashboard has something to show', async (t) => {
  const exporters = ['prometheus-node-exporter', 'prometheus-blackbox-exporter']
  if (!hasTools(t, ...PROGRAMS, ...exporters, 'otelcol', 'openssl')) return
  const folder = await mkdtemp(join(tmpdir(), 'tollgate-dashboards-'))
  try {
    await t.test('while everything runs', (t) => watch(t, folder))
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
})

async function watch(t: TestContext, folder: string): Promise<void> {
  const ports = await freePorts(3 + PROGRAMS.length)
  const [node = '', blackbox = '', backup = '', ...owns] = ports.map((port) => `127.0.0.1:${port}`)
  const watched = await startWatchedGateway(t, folder)
  startProgram(t, 'prometheus-node-exporter', [`--web.listen-address=${node}`])
  startProgram(t, 'prometheus-blackbox-exporter', [
    `--web.listen-address=${blackbox}`,
    `--config.file=${join(PROMETHEUS, 'blackbox.yml')}`,
  ])
  const places = PROGRAMS.map((program) => join(folder, program))
  for (const [index, program] of PROGRAMS.entries()) {
    const own = String(owns[index])
    const place = String(places[index])
    await mkdir(place)
    await layOutPrometheus(place, {
      'tollgate:9464': watched.gateway.admin,
      'tollgate:4318': watched.gateway.http,
      'tollgate:4317': watched.gateway.grpc,
      'collector:8888': watched.collectorOwn,
      'collector:8889': watched.collectorAgents,
      'localhost:9090': own,
      'node-exporter:9100': node,
      'blackbox-exporter:9115': blackbox,
      'backup:9466': backup,
    })
    startPrometheus(t, place, own, program)
  }
  await eventually(async () => {
    const up = await query(String(owns[0]), 'up{job="tollgate"} == 1').catch(() => [])
    return up.length > 0
  }, 'Prometheus to read the gateway')
  // It makes its first backup at once, and reads it back.
  const tool = spawnBackup(['run'], {
    TOLLGATE_BACKUP_LISTEN: backup,
    TOLLGATE_BACKUP_DIR: join(folder, 'backups'),
    TOLLGATE_BACKUP_WORK_DIR: join(folder, 'work'),
    TOLLGATE_BACKUP_PROMETHEUS_URL: `http://${owns[0]}`,
    TOLLGATE_BACKUP_PROMETHEUS_DIR: join(String(places[0]), 'data'),
    TOLLGATE_BACKUP_PROMETHEUS_BINARY: findTool(PROGRAMS[0]) ?? '',
    TOLLGATE_BACKUP_GATEWAY_DIR: watched.gateway.folder,
    TOLLGATE_BACKUP_MIN_FREE: '0B',
  })
  t.after(async () => {
    tool.kill('SIGTERM')
    await tool.exit
  })

  for (const [index, program] of PROGRAMS.entries())
    for (const file of Object.keys(dashboards()))
      await t.test(`${file} in ${program}`, async (t) => {
        const excused = EXCEPTIONS.filter(([, isExcused]) => isExcused())
        for (const [where, , why] of excused) t.diagnostic(`left out: ${where}, for ${why}`)
        const questions = questionsOf(readDashboard(file)).filter(
          ({ where }) => !excused.some(([name]) => name === where),
        )
        await untilAnswered(String(owns[index]), questions)
        t.diagnostic(`${questions.length} questions, each answered with a figure`)
      })

  await t.test('the first rows tell how things are', async () => {
    for (const [where, expected] of Object.entries(TOLD)) {
      const question = Object.keys(dashboards())
        .flatMap((file) => questionsOf(readDashboard(file)))
        .find((each) => each.where === `Tollgate ${where} A`)
      assert.ok(question !== undefined, where)
      const expr = fillIn(question.expr, ALL)
      // On a busy machine a scrape may be late and its target down for that second.
      for (const own of owns)
        await eventually(
          async () => {
            const told = await query(own, expr)
            const figure = Number(told[0]?.value[1])
            return told.length === 1 && figure >= expected[0] && figure <= expected[1]
          },
          `${where} in ${expected}: ${JSON.stringify(await query(own, expr))}`,
        )
    }
  })

  await t.test('the variables of the agents offer devices and services', async () => {
    const found = questionsOf(readDashboard('agents.json')).filter(
      ({ asked }) => asked === 'label values',
    )
    const offered: Record<string, string[]> = {}
    for (const { expr, label = '' } of found)
      offered[label] = await labelValues(
        String(owns[0]),
        fillIn(expr, { device: '.*', job: '.+' }),
        label,
      )
    assert.deepEqual(offered.device, ['pi-1', 'web-1'])
    assert.deepEqual(offered.job, ['robot', 'web-shop'])
    assert.ok(offered.holder?.includes('noisy'))
    assert.ok(offered.__name__?.includes('shop_orders_total'))
  })
}

/** Asks again and again what has had no answer yet: rates need a while. */
async function untilAnswered(prometheus: string, questions: readonly Question[]): Promise<void> {
  const { job: _, ...start } = ALL
  const values: Record<string, string> = { ...start }
  const giveUpMs = performance.now() + LONGEST_MS
  let open = questions
  while (open.length > 0) {
    const left: Question[] = []
    for (const question of open)
      if (!(await hasAnswer(prometheus, question, values))) left.push(question)
    open = left
    if (performance.now() > giveUpMs) {
      const named = open.map(({ where, expr }) => `${where}: ${expr}`)
      assert.deepEqual(named, [], 'nothing came for these')
    }
    if (open.length > 0) await pause(500)
  }
}

/** Whether figures come, with the labels that are shown. What a variable offers is what later questions are filled in with. */
async function hasAnswer(
  prometheus: string,
  { where, expr, asked, label = '', shown = [] }: Question,
  values: Record<string, string>,
): Promise<boolean> {
  if (asked === 'label values') {
    const name = where.slice(where.indexOf('$') + 1)
    const offered = await labelValues(prometheus, fillIn(expr, values), label)
    if (offered.length === 0) return false
    // All of several, or the first of one: as Grafana does when a dashboard is opened.
    if (name === 'job') values.job = `(${offered.join('|')})`
    if (name === 'metric') values.metric = String(offered[0])
    return true
  }
  if (/\$(job|metric)\b/.test(expr) && (values.job === undefined || values.metric === undefined))
    return false
  const now = Date.now() / 1000
  const path =
    asked === 'now' ? `query?time=${now}` : `query_range?start=${now - 300}&end=${now}&step=1`
  const question = encodeURIComponent(fillIn(expr, values))
  const { result } = await ask<{ readonly result: readonly Series[] }>(
    prometheus,
    `${path}&query=${question}`,
  )
  const hasLabels = shown.every((name) => result.some(({ metric }) => name in metric))
  const figures = result.flatMap(({ value, values: many }) => many ?? (value ? [value] : []))
  return hasLabels && figures.some(([, figure]) => figure !== 'NaN')
}

async function labelValues(prometheus: string, match: string, label: string): Promise<string[]> {
  return await ask<string[]>(
    prometheus,
    `label/${label}/values?match[]=${encodeURIComponent(match)}`,
  )
}
