/**
 * Where the gateway's time goes in one scenario: runs it with node's sampling profiler and prints
 * the functions and files that use the most.
 *
 *   npm --prefix bench run profile -- [--only TEXT] [--requests N] [--top N] [--entry FILE] [--keep FILE]
 *
 * The first scenario whose title has TEXT is run. The profiler itself slows the gateway by a tenth
 * or so: read shares, not times.
 */
import { copyFileSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { measure } from './measure.ts'
import { LIMITS_ON, tollgate } from './peers/tollgate.ts'
import { SCENARIOS } from './scenarios.ts'
import { type CpuProfile, selfTimes } from './self-times.ts'
import { openStand } from './stand.ts'

const { values: args } = parseArgs({
  options: {
    only: { type: 'string', default: 'gRPC 227 B, 10' },
    requests: { type: 'string' },
    top: { type: 'string', default: '30' },
    entry: { type: 'string', default: 'src/main.ts' },
    keep: { type: 'string' },
  },
})

const SAMPLE_US = 250

const scenario = SCENARIOS.find(({ title }) => title.includes(args.only))
if (scenario === undefined) {
  const titles = SCENARIOS.map(({ title }) => title).join('; ')
  throw new Error(`--only ${args.only}: expected part of one of these: ${titles}`)
}
const requests = Number(args.requests ?? scenario.requests)
const directory = mkdtempSync(join(tmpdir(), 'tollgate-profile-'))
try {
  const nodeArgs = [
    ...['--cpu-prof', `--cpu-prof-dir=${directory}`],
    `--cpu-prof-interval=${SAMPLE_US}`,
  ]
  const stand = await openStand([
    tollgate({ name: 'Tollgate', entry: args.entry, env: LIMITS_ON, nodeArgs }),
  ])
  try {
    const [entrant] = stand.entrants
    if (entrant === undefined) throw new Error('BUG: no gateway on the stand')
    await stand.probeAll()
    await measure(stand.bench, entrant, scenario, Math.ceil(requests / 4))
    const fromUs = monotonicUs()
    const round = await measure(stand.bench, entrant, scenario, requests)
    const toUs = monotonicUs()
    await entrant.running.stop()
    const files = readdirSync(directory).filter((name) => name.endsWith('.cpuprofile'))
    if (files.length === 0) throw new Error('The gateway left no profile: did it end by itself?')
    console.log(`${scenario.title}: ${round.cpuUs.toFixed(1)} µs a request while profiled\n`)
    for (const file of files) {
      const path = join(directory, file)
      if (args.keep !== undefined) copyFileSync(path, args.keep)
      const profile: CpuProfile = JSON.parse(readFileSync(path, 'utf8'))
      print(profile, fromUs, toUs)
    }
  } finally {
    await stand.close()
  }
} finally {
  rmSync(directory, { recursive: true, force: true })
}

function print(profile: CpuProfile, fromUs: number, toUs: number): void {
  const { busyUs, byFunction, byFile } = selfTimes(profile, fromUs, toUs)
  const table = (times: ReadonlyMap<string, number>) => {
    const sorted = [...times].sort(([, a], [, b]) => b - a).slice(0, Number(args.top))
    for (const [name, us] of sorted) {
      const share = ((100 * us) / busyUs).toFixed(1).padStart(6)
      console.log(`${share} %  ${(us / requests).toFixed(2).padStart(6)} µs  ${name}`)
    }
    console.log()
  }
  console.log('Self time by function, of the time the main thread was busy; µs a request\n')
  table(byFunction)
  console.log('By file\n')
  table(byFile)
}

/** The clock the profiler stamps with. */
function monotonicUs(): number {
  return Number(process.hrtime.bigint() / 1000n)
}
