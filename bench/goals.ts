/** What Tollgate is held to, and whether a run shows that it keeps to it. */
import { BASELINE } from './idle.ts'
import { PACE_PER_SECOND } from './measure.ts'
import type { Results } from './report.ts'
import type { Goal, Scenario } from './scenarios.ts'

export const SUBJECT = 'Tollgate'

const MOST_AT_REST_MB = 100
const MOST_IDLE_KB = 30
const MOST_ADDED_MS = 2

/** A goal and what a run makes of it. */
export interface Verdict {
  readonly goal: string
  readonly measured: string
  readonly isMet: boolean
  readonly isAim: boolean
}

/** The smallest of some figures; NaN where there are none. */
export function minimum(figures: readonly number[]): number {
  return figures.length === 0 ? Number.NaN : Math.min(...figures)
}

/** The middle one of some figures (the mean of the two in the middle); NaN where there are none. */
export function median(figures: readonly number[]): number {
  const sorted = [...figures].sort((a, b) => a - b)
  const low = sorted[Math.floor((sorted.length - 1) / 2)] ?? Number.NaN
  const high = sorted[Math.ceil((sorted.length - 1) / 2)] ?? Number.NaN
  return (low + high) / 2
}

/** All goals of which the run measured both sides. */
export function verdictsOf(results: Results): Verdict[] {
  const costs = results.rows.flatMap(({ scenario }) =>
    scenario.goals.map((goal) => costVerdict(results, scenario, goal)),
  )
  const verdicts = [...costs, restVerdict(results), idleVerdict(results), latencyVerdict(results)]
  return verdicts.filter((verdict) => verdict !== undefined)
}

function costVerdict(results: Results, scenario: Scenario, goal: Goal): Verdict | undefined {
  const costOf = (title: string, name: string) => {
    const row = results.rows.find((each) => each.scenario.title === title)
    return minimum((row?.runs.get(name) ?? []).map(({ cpuUs }) => cpuUs))
  }
  const ratio = costOf(scenario.title, SUBJECT) / costOf(goal.scenario ?? scenario.title, goal.of)
  if (Number.isNaN(ratio)) return undefined
  const { times, of, isAim = false } = goal
  const other = goal.scenario === undefined ? of : `${of}, ${goal.scenario}`
  return {
    goal: `${scenario.title} ≤ ${times.toFixed(2)} × ${other}${isAim ? ' (hoped for)' : ''}`,
    measured: `${ratio.toFixed(2)} ×`,
    isMet: ratio <= times,
    isAim,
  }
}

function below(goal: string, figure: number, most: number, unit: string): Verdict | undefined {
  if (Number.isNaN(figure)) return undefined
  return {
    goal: `${goal} < ${most} ${unit}`,
    measured: `${figure.toFixed(1)} ${unit}`,
    isMet: figure < most,
    isAim: false,
  }
}

function restVerdict({ memory }: Results): Verdict | undefined {
  const restMb = (memory.get(SUBJECT)?.restKb ?? Number.NaN) / 1024
  return below('memory at rest', restMb, MOST_AT_REST_MB, 'MB')
}

function idleVerdict({ idle }: Results): Verdict | undefined {
  const own = idle.get(SUBJECT) ?? Number.NaN
  const nodes = idle.get(BASELINE.name) ?? Number.NaN
  return below(
    "an idle TLS connection, beyond what Node's TLS takes",
    (own - nodes) / 1024,
    MOST_IDLE_KB,
    'kB',
  )
}

function latencyVerdict({ latency }: Results): Verdict | undefined {
  const grpc = latency.find(({ protocol }) => protocol === 'grpc')?.results
  const p99 = (name: string) => grpc?.get(name)?.p99Us ?? Number.NaN
  return below(
    `gRPC p99 added at ${PACE_PER_SECOND.toLocaleString('en')} requests a second`,
    (p99(SUBJECT) - p99('direct')) / 1000,
    MOST_ADDED_MS,
    'ms',
  )
}
