/**
 * Tollgate beside nginx and HAProxy on this machine, in one run. See README.md.
 *
 *   npm --prefix bench run bench -- [--quick] [--only TEXT,…] [--peers NAME,…] [--rounds N]
 *                                   [--entry FILE] [--no-latency] [--no-idle] [--write]
 */
import { execFileSync } from 'node:child_process'
import { cpus, release, totalmem } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { chooseContestants, DEFAULT_PEERS } from './contestants.ts'
import { BASELINE, idleBytes } from './idle.ts'
import { type Entrant, measure, pace, type Round } from './measure.ts'
import type { Contestant } from './peers/contestant.ts'
import { processTree, readMemory, resetPeaks } from './processes.ts'
import { type Machine, type Results, saveResults, tableOf } from './report.ts'
import { SCENARIOS, type Scenario } from './scenarios.ts'
import { openStand, type Stand } from './stand.ts'

const ROOT = join(import.meta.dirname, '..')
/** The load before the first round, which is not counted, as a share of a full round: enough to be compiled. */
const WARM_UP_SHARE = 0.25
const QUICK_WARM_UP_SHARE = 0.08
const QUICK_SHARE = 0.04
const MIN_REQUESTS = 200
const REST_MS = 2000

const { values: args } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    only: { type: 'string' },
    peers: { type: 'string', default: DEFAULT_PEERS },
    rounds: { type: 'string' },
    entry: { type: 'string' },
    write: { type: 'boolean', default: false },
    'no-latency': { type: 'boolean', default: false },
    'no-idle': { type: 'boolean', default: false },
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

const contestants = chooseContestants(args.peers, args.entry)
const measured = await onStand(contestants, run)
const idle = args['no-idle']
  ? new Map<string, number>()
  : await onStand([BASELINE, ...contestants], runIdle)
const results = { ...measured, idle }
console.log(tableOf(results))
if (args.write || (!args.quick && args.only === undefined)) saveResults(results)
if (results.problems.length > 0) process.exitCode = 1

/** Fresh processes for each part: what one leaves behind in memory is not the other's. */
async function onStand<T>(
  which: readonly Contestant[],
  part: (stand: Stand) => Promise<T>,
): Promise<T> {
  const stand = await openStand(which)
  const interrupt = () => void stand.close().then(() => process.exit(130))
  process.once('SIGINT', interrupt)
  try {
    return await part(stand)
  } finally {
    process.off('SIGINT', interrupt)
    await stand.close()
  }
}

/** Memory of idle connections, by the name of the proxy. */
async function runIdle({ bench, entrants }: Stand): Promise<Results['idle']> {
  const idle = new Map<string, number>()
  for (const entrant of entrants) {
    if (entrant.protocols.includes('grpc')) idle.set(entrant.name, await idleBytes(bench, entrant))
  }
  return idle
}

async function run({ bench, entrants, probeAll }: Stand): Promise<Omit<Results, 'idle'>> {
  await sleep(REST_MS)
  const restKb = new Map(entrants.map((entrant) => [entrant.name, memoryOf(entrant).rssKb]))
  await probeAll()

  const problems: string[] = []
  const rows: Results['rows'] = []
  for (const scenario of scenarios) {
    rows.push(await runScenario({ bench, entrants }, scenario, problems))
    console.error(`${scenario.title}: done`)
  }
  const latency = args['no-latency'] ? [] : await runPaced({ bench, entrants })

  await sleep(REST_MS)
  const memory = new Map(
    entrants.map((entrant) => {
      const { name } = entrant
      const peakKb = Math.max(...rows.map(({ peaksKb }) => peaksKb.get(name) ?? 0))
      return [name, { restKb: restKb.get(name) ?? 0, peakKb, afterKb: memoryOf(entrant).rssKb }]
    }),
  )
  await probeAll()
  const versions = new Map(entrants.map(({ name, version }) => [name, version]))
  return { machine: machine(), versions, rounds, rows, memory, latency, problems }
}

/** Rounds in turn, A B C A B C, so that whatever the machine does meets all of them. */
async function runScenario(
  { bench, entrants }: Pick<Stand, 'bench' | 'entrants'>,
  scenario: Scenario,
  problems: string[],
): Promise<Results['rows'][number]> {
  const takers = entrants.filter(({ protocols }) => protocols.includes(scenario.protocol))
  const countOf = (share: number) => Math.max(MIN_REQUESTS, Math.round(scenario.requests * share))
  const fullShare = args.quick ? QUICK_SHARE : 1
  const warmUpShare = args.quick ? QUICK_WARM_UP_SHARE : WARM_UP_SHARE
  const runs = new Map<string, Round[]>(takers.map(({ name }) => [name, []]))
  for (const { running } of entrants) resetPeaks(processTree(running.pid))
  for (let round = 0; round <= rounds; round += 1) {
    for (const entrant of takers) {
      const share = entrant.share * (round === 0 ? warmUpShare : fullShare)
      try {
        const result = await measure(bench, entrant, scenario, countOf(share))
        if (round > 0) runs.get(entrant.name)?.push(result)
      } catch (error) {
        problems.push(error instanceof Error ? error.message : String(error))
      }
    }
  }
  const peaksKb = new Map(entrants.map((entrant) => [entrant.name, memoryOf(entrant).peakKb]))
  return { scenario, requests: countOf(fullShare), runs, peaksKb }
}

async function runPaced({
  bench,
  entrants,
}: Pick<Stand, 'bench' | 'entrants'>): Promise<Results['latency']> {
  const requests = args.quick ? 2000 : 10_000
  const [first] = entrants
  if (first === undefined) return []
  const latency: Results['latency'] = []
  for (const protocol of ['grpc', 'http'] as const) {
    const best = new Map<string, { p50Us: number; p99Us: number }>()
    const takers = entrants.filter(({ protocols }) => protocols.includes(protocol))
    const targets = [
      { name: 'direct', to: { direct: first.setting } },
      ...takers.map(({ name, setting }) => ({ name, to: setting })),
    ]
    for (let round = 0; round < (args.quick ? 1 : 3); round += 1) {
      for (const { name, to } of targets) {
        const { p50Us, p99Us } = await pace(bench, protocol, to, requests)
        best.set(name, {
          p50Us: Math.min(p50Us, best.get(name)?.p50Us ?? p50Us),
          p99Us: Math.min(p99Us, best.get(name)?.p99Us ?? p99Us),
        })
      }
    }
    latency.push({ protocol, results: best })
  }
  return latency
}

function memoryOf({ running }: Entrant) {
  return readMemory(processTree(running.pid))
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
