/**
 * Questions to Prometheus that tell whether the data is there. They are asked before the snapshot:
 * whatever they counted then is in it. So a restored Prometheus may have more, from the moments
 * between, and never less.
 */
import type { BlockEntry, Check } from './manifest.ts'
import type { Prometheus, Sample } from './prometheus.ts'
import { Unusable } from './unusable.ts'

const DAY_MS = 86_400_000
/** How many of the last days are counted one by one. */
const MAX_DAYS = 31

/** What a comparison found. */
export interface Comparison {
  readonly checks: number
  readonly values: number
}

/**
 * Asks how many samples of `up` there are, by job, in each day that the data reaches back; and how
 * many series there are now, by job.
 */
export async function askChecks(
  prometheus: Prometheus,
  nowMs: number,
  signal: AbortSignal,
): Promise<readonly Check[]> {
  const timeMs = Math.floor(nowMs / 1000) * 1000
  const oldestMs = (await prometheus.ownMetric('prometheus_tsdb_lowest_timestamp_seconds')) ?? 0
  // The day that retention is eating up may have less by the time of the snapshot.
  const days = Math.floor((timeMs - oldestMs * 1000) / DAY_MS) - 1
  const questions = [
    { query: 'count by (job) ({__name__=~".+"})', timeMs },
    ...Array.from({ length: Math.max(1, Math.min(days, MAX_DAYS)) }, (_, day) => ({
      query: 'sum by (job) (count_over_time(up[1d]))',
      timeMs: timeMs - day * DAY_MS,
    })),
  ]
  const checks: Check[] = []
  for (const question of questions) {
    const samples = await prometheus.query(question.query, question.timeMs, {
      ...{ signal, timeoutMs: 120_000 },
    })
    checks.push({ ...question, results: resultsOf(samples) })
  }
  return checks
}

/** @throws {Unusable} where a Prometheus has less than was counted, saying of what. */
export async function compareChecks(
  prometheus: Prometheus,
  checks: readonly Check[],
  signal: AbortSignal,
): Promise<Comparison> {
  let values = 0
  for (const { query, timeMs, results } of checks) {
    const samples = await prometheus.query(query, timeMs, { signal, timeoutMs: 600_000 })
    const found = new Map(resultsOf(samples).map(({ labels, value }) => [labels, value]))
    for (const { labels, value } of results) {
      const now = found.get(labels) ?? 0
      if (now < value)
        throw new Unusable(
          `samples are missing: ${query} at ${new Date(timeMs).toISOString()} gives ${now} for ${labels}, and gave ${value} when the backup was made`,
        )
      values += 1
    }
  }
  return { checks: checks.length, values }
}

/**
 * Has every sample read, name after name, for which Prometheus checks each chunk, and counts them.
 * Markers of stale series are samples of a block that no query counts, so there may be fewer than
 * the blocks say.
 *
 * @throws {Unusable} where there are none, or more than that.
 */
export async function countSamples(
  prometheus: Prometheus,
  blocks: readonly BlockEntry[],
  signal: AbortSignal,
): Promise<{ readonly counted: number; readonly stated: number }> {
  const stated = blocks.reduce((sum, { samples }) => sum + samples, 0)
  const firstMs = Math.min(...blocks.map(({ minTimeMs }) => minTimeMs))
  const lastMs = Math.max(...blocks.map(({ maxTimeMs }) => maxTimeMs))
  let counted = 0
  for (const name of await prometheus.names(signal)) {
    const expr = `sum(count_over_time({__name__=${JSON.stringify(name)}}[${lastMs - firstMs + 1}ms]))`
    const [sample] = await prometheus.query(expr, lastMs, { signal, timeoutMs: 3_600_000 })
    counted += Number(sample?.value[1] ?? 0)
  }
  if (counted === 0 && stated > 0)
    throw new Unusable(`the blocks give no samples, and say that they have ${stated}`)
  if (counted > stated)
    throw new Unusable(`the blocks give ${counted} samples, and say that they have ${stated}`)
  return { counted, stated }
}

function resultsOf(samples: readonly Sample[]): Check['results'] {
  return samples.map(({ metric, value }) => ({
    labels: JSON.stringify(Object.fromEntries(Object.entries(metric).toSorted())),
    value: Number(value[1]),
  }))
}
