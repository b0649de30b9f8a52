/**
 * Tollgate beside nginx and HAProxy on this machine, in one run.
 *
 *   node bench/run.ts [--quick] [--only TEXT,…] [--peers NAME,…] [--rounds N] [--write]
 */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { cpus, release, tmpdir, totalmem } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { startBackend } from './backend.ts'
import { makeCertificate } from './certificate.ts'
import { type Bench, type Entrant, measure, pace, type Round } from './measure.ts'
import { makePayloads } from './payloads.ts'
import type { Contestant } from './peers/contestant.ts'
import { haproxy } from './peers/haproxy.ts'
import { nginx } from './peers/nginx.ts'
import { otelcol } from './peers/otelcol.ts'
import { LIMITS_OFF, LIMITS_ON, tollgate } from './peers/tollgate.ts'
import { probe } from './probe.ts'
import { freePorts, processTree, readMemory, resetPeaks } from './processes.ts'
import { type Machine, type Results, saveResults, tableOf } from './report.ts'
import { SCENARIOS } from './scenarios.ts'

const ROOT = join(import.meta.dirname, '..')
const TOKEN = 'tg_bench_7hQ2vXzK9mB4tLwR8nYc3PjD6sFa1GeU'
const FIRST_PORT = 21_400
/** How much of a round the loads before the first round are, which are not counted. */
const WARM_UP_SHARE = 0.25
const QUICK_SHARE = 0.04
const REST_MS = 2000

const { values: args } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    only: { type: 'string' },
    peers: { type: 'string' },
    rounds: { type: 'string' },
    entry: { type: 'string' },
    write: { type: 'boolean' },
    'no-latency': { type: 'boolean', default: false },
  },
})

const rounds = Number(args.rounds ?? (args.quick ? 2 : 6))
if (!Number.isInteger(rounds) || rounds < 1) {
  throw new Error(`--rounds ${args.rounds}: expected a whole number from 1`)
}
const scenarios = SCENARIOS.filter(
  ({ title }) => args.only?.split(',').some((text) => title.includes(text)) ?? true,
)
if (scenarios.length === 0) throw new Error(`--only ${args.only}: no scenario's title has this`)

const contestants = chooseContestants()
const directory = mkdtempSync(join(tmpdir(), 'tollgate-bench-'))
const stops: (() => Promise<void>)[] = []
process.on('SIGINT', () => void finish().then(() => process.exit(130)))
try {
  const results = await run()
  console.log(tableOf(results))
  if (args.write ?? (!args.quick && args.only === undefined)) saveResults(results)
  if (results.problems.length > 0) process.exitCode = 1
} finally {
  await finish()
}

async function finish(): Promise<void> {
  for (const stop of stops.splice(0).reverse()) await stop()
  rmSync(directory, { recursive: true, force: true })
}

function chooseContestants(): Contestant[] {
  const names = (args.peers ?? 'nginx,haproxy,tollgate,tollgate-off').split(',')
  const entry =
    args.entry ?? (existsSync(join(ROOT, 'dist/main.js')) ? 'dist/main.js' : 'src/main.ts')
  const known: Record<string, Contestant> = {
    nginx,
    haproxy,
    otelcol,
    tollgate: tollgate({ name: 'Tollgate', entry, env: LIMITS_ON }),
    'tollgate-off': tollgate({ name: 'Tollgate, no limits', entry, env: LIMITS_OFF }),
  }
  return names.map((name) => {
    const contestant = known[name]
    if (contestant === undefined) {
      throw new Error(`--peers ${name}: expected some of ${Object.keys(known).join(', ')}`)
    }
    return contestant
  })
}

async function run(): Promise<Results> {
  const [collectorGrpcPort = 0, collectorHttpPort = 0, ...ports] = await freePorts(
    FIRST_PORT,
    2 + 3 * contestants.length,
  )
  const certificate = makeCertificate(directory)
  const backend = await startBackend(collectorGrpcPort, collectorHttpPort)
  stops.push(backend.stop)
  const bench: Bench = {
    payloads: makePayloads(directory),
    backend,
    logPath: join(directory, 'h2load.log'),
  }

  const entrants: Entrant[] = []
  for (const [index, contestant] of contestants.entries()) {
    const [grpcPort = 0, httpPort = 0, sparePort = 0] = ports.slice(3 * index, 3 * index + 3)
    const own = join(directory, String(index))
    mkdirSync(own)
    const setting = {
      ...{ directory: own, certificate, token: TOKEN, grpcPort, httpPort, sparePort },
      ...{ collectorGrpcPort, collectorHttpPort },
    }
    const version = contestant.version()
    const running = await contestant.start(setting)
    stops.push(running.stop)
    entrants.push({ name: contestant.name, version, setting, running })
  }
  await sleep(REST_MS)
  const memory = new Map(
    entrants.map(({ name, running }) => {
      const { rssKb } = readMemory(processTree(running.pid))
      return [name, { restKb: rssKb, peakKb: 0, afterKb: 0 }]
    }),
  )
  for (const entrant of entrants) {
    await probe(entrant.setting, bench.payloads.values(), backend).catch((error: unknown) => {
      throw new Error(`${entrant.name} does not do what is measured`, { cause: error })
    })
  }

  const problems: string[] = []
  const rows: Results['rows'] = []
  for (const scenario of scenarios) {
    const share = args.quick ? QUICK_SHARE : 1
    const requests = Math.max(200, Math.round(scenario.requests * share))
    const runs = new Map<string, Round[]>(entrants.map(({ name }) => [name, []]))
    const peaks = new Map<string, number>()
    for (const { running } of entrants) resetPeaks(processTree(running.pid))
    for (let round = 0; round <= rounds; round += 1) {
      for (const entrant of entrants) {
        const isWarmUp = round === 0
        const count = isWarmUp ? Math.max(200, Math.round(requests * WARM_UP_SHARE)) : requests
        try {
          const result = await measure(bench, entrant, scenario, count)
          if (!isWarmUp) runs.get(entrant.name)?.push(result)
        } catch (error) {
          problems.push(error instanceof Error ? error.message : String(error))
        }
      }
    }
    for (const { name, running } of entrants) {
      const { peakKb } = readMemory(processTree(running.pid))
      peaks.set(name, peakKb)
      const kept = memory.get(name)
      if (kept !== undefined) kept.peakKb = Math.max(kept.peakKb, peakKb)
    }
    rows.push({ scenario, requests, runs, peaks })
    console.error(`${scenario.title}: done`)
  }

  const latency = args['no-latency'] ? [] : await measureLatency(bench, entrants)
  await sleep(REST_MS)
  for (const { name, running } of entrants) {
    const kept = memory.get(name)
    if (kept !== undefined) kept.afterKb = readMemory(processTree(running.pid)).rssKb
  }
  for (const entrant of entrants) await probe(entrant.setting, bench.payloads.values(), backend)

  const versions = new Map(entrants.map(({ name, version }) => [name, version]))
  return { machine: machine(), versions, rounds, rows, memory, latency, problems }
}

async function measureLatency(bench: Bench, entrants: readonly Entrant[]) {
  const requests = args.quick ? 2000 : 10_000
  const latency: Results['latency'] = []
  const setting = entrants[0]?.setting
  if (setting === undefined) return latency
  for (const protocol of ['grpc', 'http'] as const) {
    const targets = [
      { name: 'direct', to: { direct: setting } },
      ...entrants.map(({ name, setting: own }) => ({ name, to: own })),
    ]
    const results = new Map<string, { p50Us: number; p99Us: number }>()
    for (let round = 0; round < (args.quick ? 1 : 3); round += 1) {
      for (const { name, to } of targets) {
        const { p50Us, p99Us } = await pace(bench, protocol, to, requests)
        const best = results.get(name)
        results.set(name, {
          p50Us: Math.min(p50Us, best?.p50Us ?? p50Us),
          p99Us: Math.min(p99Us, best?.p99Us ?? p99Us),
        })
      }
    }
    latency.push({ protocol, results })
  }
  return latency
}

function machine(): Machine {
  const git = (...command: string[]) =>
    execFileSync('git', command, { cwd: ROOT, encoding: 'utf8' }).trim()
  const h2load = execFileSync('h2load', ['--version'], { encoding: 'utf8' })
  return {
    processor: cpus()[0]?.model ?? 'unknown',
    cores: cpus().length,
    memoryGb: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    node: process.versions.node,
    openssl: process.versions.openssl,
    h2load: h2load.trim().replace(/^.*\//, ''),
    commit: git('rev-parse', '--short', 'HEAD'),
    isDirty: git('status', '--porcelain', '--', 'src') !== '',
    date: new Date().toISOString(),
  }
}
