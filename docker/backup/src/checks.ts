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
 * Asks how many samples there are: of `up`, by job, in each day that the data reaches back; and of
 * every series, by job, in the last minutes.
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
    { query: 'sum by (job) (count_over_time({__name__=~".+"}[10m]))', timeMs },
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
 * Has every sample of every block read, which has Prometheus check each chunk, and counts them.
 * Markers of stale series are samples of a block that no query counts.
 *
 * @throws {Unusable} where a block gives none or more than its meta.json says.
 */
export async function countBlocks(
  prometheus: Prometheus,
  blocks: readonly BlockEntry[],
  signal: AbortSignal,
): Promise<{ readonly counted: number; readonly stated: number }> {
  const isLeftOpen = Number.parseInt(await prometheus.version(signal), 10) >= 3
  let counted = 0
  let stated = 0
  for (const { ulid, minTimeMs, maxTimeMs, samples } of blocks) {
    stated += samples
    if (samples === 0) continue
    const endMs = maxTimeMs - 1
    const rangeMs = Math.max(1, endMs - minTimeMs + (isLeftOpen ? 1 : 0))
    const expr = `sum(count_over_time({__name__=~".+"}[${rangeMs}ms]))`
    const [sample] = await prometheus.query(expr, endMs, { signal, timeoutMs: 3_600_000 })
    const found = Number(sample?.value[1] ?? 0)
    if (found === 0)
      throw new Unusable(`the block ${ulid} gives no samples, and its meta.json says ${samples}`)
    counted += found
  }
  if (counted > stated && !overlap(blocks))
    throw new Unusable(`the blocks give ${counted} samples, and say they have ${stated}`)
  return { counted, stated }
}

/** Of blocks that overlap, a query of one counts samples of the other. */
function overlap(blocks: readonly BlockEntry[]): boolean {
  const ordered = blocks.toSorted((one, other) => one.minTimeMs - other.minTimeMs)
  return ordered.some(({ minTimeMs }, at) => minTimeMs < (ordered[at - 1]?.maxTimeMs ?? minTimeMs))
}

function resultsOf(samples: readonly Sample[]): Check['results'] {
  return samples.map(({ metric, value }) => ({
    labels: JSON.stringify(Object.fromEntries(Object.entries(metric).toSorted())),
    value: Number(value[1]),
  }))
}
