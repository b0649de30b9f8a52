/** A span, a metric and a log over both protocols, followed to where they end. */

import { randomBytes } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import { HTTP_PATHS } from '../../../src/otlp/signal.ts'
import { readRejection } from '../../../src/upstream/sample.ts'
import type { Sample } from '../../../test/support/prometheus.ts'
import { curl, EMPTY_EXPORT, WITH_TOKEN } from '../by-hand.ts'
import type { Check } from '../check.ts'
import {
  exportRequest,
  METRIC_IN_PROMETHEUS,
  SENT_SIGNALS,
  type SentSignal,
} from '../otlp-message.ts'
import { isTaken, type Outcome, probe, shortly } from '../probe.ts'
import { judged, type Row, skipped } from '../row.ts'
import type { Inside } from '../target.ts'

const NAME = 'arrival'
const PROTOCOLS = ['gRPC', 'HTTP/1.1'] as const
/** Three scrapes of the stack. */
const SEEN_WITHIN_MS = 60_000
const LOOK_EVERY_MS = 500

/** What the collector counts of each signal, by its own metrics. */
const RECEIVED = {
  traces: 'otelcol_receiver_accepted_spans',
  logs: 'otelcol_receiver_accepted_log_records',
} as const

/** Taken whole: the collector said so itself. */
export function judgeExport(
  signal: SentSignal,
  way: string,
  outcome: Outcome,
  byHand: string,
): Row {
  const expected = `${signal} over ${way}: taken by the collector`
  if (!isTaken(outcome) || 'fault' in outcome)
    return judged(NAME, expected, false, shortly(outcome), byHand)
  const rejection = readRejection(signal, outcome.answer.body ?? Buffer.alloc(0))
  const figure =
    rejection === undefined
      ? `${shortly(outcome)}, in ${Math.round(outcome.elapsedMs)} ms`
      : `${rejection.rejected} rejected: ${rejection.message}`
  return judged(NAME, expected, rejection === undefined, figure, byHand)
}

/** Both points are in Prometheus, under the job of the service and with the device they came from. */
export function judgeLabels(samples: readonly Sample[], device: string, byHand: string): Row {
  const expected = 'the metric is in Prometheus, with job and device'
  const told = samples.map(
    ({ metric }) => `way=${metric.way} job=${metric.job} device=${metric.device}`,
  )
  const isGood = PROTOCOLS.every((way) =>
    samples.some(
      ({ metric, value }) =>
        metric.way === way &&
        metric.job === 'tollgate-validate' &&
        metric.device === device &&
        value[1] === '1',
    ),
  )
  return judged(NAME, expected, isGood, told.length > 0 ? told.join(', ') : 'not there', byHand)
}

/** The collector has counted what was sent. */
export function judgeCounted(
  signal: string,
  before: number,
  after: number,
  sent: number,
  byHand: string,
): Row {
  return judged(
    NAME,
    `${signal} are counted by the collector`,
    after - before >= sent,
    `${after - before} more counted, ${sent} sent`,
    byHand,
  )
}

async function total(inside: Inside, metric: string): Promise<number> {
  // Without the ending in some versions of the collector.
  const samples = await inside.query(`sum({__name__=~"${metric}(_total)?"})`)
  return Number(samples[0]?.value[1] ?? 0)
}

/** Asks until the answer is good, or too much time has passed; then the last one counts. */
async function untilGood(look: () => Promise<Row>): Promise<Row> {
  const giveUpMs = performance.now() + SEEN_WITHIN_MS
  for (;;) {
    const row = await look()
    if (row.status === 'pass' || performance.now() > giveUpMs) return row
    await pause(LOOK_EVERY_MS)
  }
}

/** The collector's counts, read until Prometheus has seen the collector once. */
async function countsBefore(inside: Inside): Promise<Record<keyof typeof RECEIVED, number>> {
  return {
    traces: await total(inside, RECEIVED.traces),
    logs: await total(inside, RECEIVED.logs),
  }
}

export const arrivalCheck: Check = {
  name: NAME,
  effort: 'handful',
  programs: [],
  limitSeconds: 240,
  plan: () => 'exports a span, a metric and a log over gRPC and over HTTP: 6 requests',
  async run(target) {
    const { inside } = target
    const mark = { run: randomBytes(6).toString('hex'), device: 'validate-host' }
    const before = inside === undefined ? undefined : await countsBefore(inside)
    const rows: Row[] = []
    for (const way of PROTOCOLS)
      for (const signal of SENT_SIGNALS) {
        const port = way === 'gRPC' ? target.grpcPort : target.httpPort
        const message = exportRequest(signal, { ...mark, way }, Date.now())
        const outcome = await probe(target, { way, port }, { signal, message })
        const more = [...WITH_TOKEN, ...EMPTY_EXPORT]
        const byHand = curl(target, target.httpPort, HTTP_PATHS[signal], more)
        rows.push(judgeExport(signal, way, outcome, byHand))
      }
    if (inside === undefined || before === undefined) {
      const why = 'only the server itself can look into its Prometheus'
      return [...rows, skipped(NAME, 'the metric is in Prometheus, with job and device', why)]
    }
    const selector = `${METRIC_IN_PROMETHEUS}{run="${mark.run}"}`
    rows.push(
      await untilGood(async () =>
        judgeLabels(await inside.query(selector), mark.device, inside.queryByHand(selector)),
      ),
    )
    for (const signal of ['traces', 'logs'] as const) {
      const byHand = inside.queryByHand(`{__name__=~"${RECEIVED[signal]}(_total)?"}`)
      rows.push(
        await untilGood(async () => {
          const after = await total(inside, RECEIVED[signal])
          return judgeCounted(signal, before[signal], after, PROTOCOLS.length, byHand)
        }),
      )
    }
    return rows
  },
}
