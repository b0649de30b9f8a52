/**
 * How numbers become a metrics page. The owner of a number keeps it as a plain number and changes it
 * for next to nothing; it is read when somebody scrapes. One scrape reads everything in one turn of
 * the event loop, so the numbers on a page belong together.
 */
import { Counter, Gauge, type Metric, type Registry } from 'prom-client'

/** Label names and their values. */
export type Labels<L extends string> = Readonly<Record<L, string>>

/** What a family is called, what it means, and its labels. */
export interface Family<L extends string> {
  readonly name: string
  readonly help: string
  readonly labels: readonly L[]
}

/** One series of a family: its labels and its value now. */
export type Row<L extends string> = readonly [labels: Labels<L>, value: number]

/** Declares a counter whose series are read at each scrape. No rows: nothing is shown. */
export function counter<L extends string>(
  registry: Registry,
  { name, help, labels }: Family<L>,
  rows: () => Iterable<Row<L>>,
): void {
  new Counter<L>({
    name,
    help,
    labelNames: labels,
    registers: [registry],
    collect() {
      // A fresh start makes fresh entries: a page still being written keeps the ones it has.
      this.reset()
      if (labels.length === 0) this.remove({})
      for (const [of, value] of rows()) this.inc(of, value)
    },
  })
}

/** Declares a gauge whose series are read at each scrape. No rows: nothing is shown. */
export function gauge<L extends string>(
  registry: Registry,
  { name, help, labels }: Family<L>,
  rows: () => Iterable<Row<L>>,
): void {
  new Gauge<L>({
    name,
    help,
    labelNames: labels,
    registers: [registry],
    collect() {
      this.reset()
      if (labels.length === 0) this.remove({})
      for (const [of, value] of rows()) this.set(of, value)
    },
  })
}

/** The row of a family without labels; none where the value is not known. */
export function single(value: number | undefined): Row<never>[] {
  return value === undefined ? [] : [[{}, value]]
}

/** A part of a histogram: all observations with the same labels. */
export class Distribution {
  readonly #bounds: readonly number[]
  readonly #counts: number[]
  #sum = 0

  /** `bounds` are the upper bounds of the buckets, ascending, without +Inf. */
  constructor(bounds: readonly number[]) {
    this.#bounds = bounds
    this.#counts = new Array<number>(bounds.length + 1).fill(0)
  }

  /** Counts one observation. Below 0 counts as 0. */
  observe(value: number): void {
    const observed = Math.max(value, 0)
    const bounds = this.#bounds
    let bucket = 0
    while (bucket < bounds.length && observed > (bounds[bucket] as number)) bucket += 1
    this.#counts[bucket] = (this.#counts[bucket] as number) + 1
    this.#sum += observed
  }

  /** The samples of the exposition format: cumulative buckets, sum and count. */
  samples<L extends string>(name: string, labels: Labels<L>): Sample[] {
    let total = 0
    const samples: Sample[] = []
    for (const [bucket, count] of this.#counts.entries()) {
      total += count
      const le = bucket < this.#bounds.length ? String(this.#bounds[bucket]) : '+Inf'
      samples.push({ metricName: `${name}_bucket`, labels: { ...labels, le }, value: total })
    }
    samples.push({ metricName: `${name}_sum`, labels, value: this.#sum })
    samples.push({ metricName: `${name}_count`, labels, value: total })
    return samples
  }
}

interface Sample {
  readonly metricName: string
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

/** Declares a histogram made of these distributions. */
export function histogram<L extends string>(
  registry: Registry,
  { name, help }: Family<L>,
  parts: readonly (readonly [labels: Labels<L>, part: Distribution])[],
): void {
  // The registry asks a metric for its name and for `get`, and nothing else. prom-client's own
  // Histogram costs several times as much an observation.
  const family = {
    name,
    help,
    type: 'histogram',
    aggregator: 'sum',
    reset: () => {},
    get: async () => ({
      name,
      help,
      type: 'histogram',
      aggregator: 'sum',
      values: parts.flatMap(([labels, part]) => part.samples(name, labels)),
    }),
  }
  registry.registerMetric(family as unknown as Metric)
}
