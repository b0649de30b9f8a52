/** Whether an address that goes over its rate is held to it, and how the rest is refused. */
import { setTimeout as pause } from 'node:timers/promises'
import type { Check } from '../check.ts'
import { exportRequest } from '../otlp-message.ts'
import { connect, isTaken, type Outcome, sendOn } from '../probe.ts'
import { judged, type Row, skipped } from '../row.ts'
import { authority, mainAddress, type Target } from '../target.ts'

const NAME = 'rate'
/** Fewer than a token may have waiting (a tenth of TOLLGATE_MAX_HELD), so that none is refused. */
const WAITING = 60
/** More than may wait, so that some are refused, and fewer than the streams of a connection. */
const TOO_MANY = 180
const WINDOW_MS = 5_000
const TOLERANCE = 0.05
/** Nothing goes on for longer, whatever the server answers. */
const LONGEST_MS = 20_000

/** Admitted requests over a stretch of time. */
export interface Admitted {
  readonly count: number
  readonly elapsedMs: number
  /** Answers that were none of success. */
  readonly refused: number
}

/** Within 5 % of the rate. Fewer would be a limit that takes away what it promises. */
export function judgeRate(admitted: Admitted, ratePerSecond: number, byHand: string): Row {
  const perSecond = (admitted.count / admitted.elapsedMs) * 1000
  const isGood =
    admitted.elapsedMs > 0 && Math.abs(perSecond - ratePerSecond) <= ratePerSecond * TOLERANCE
  const figure = `${perSecond.toFixed(1)}/s admitted over ${(admitted.elapsedMs / 1000).toFixed(1)} s`
  return judged(NAME, `an address is held to ${ratePerSecond}/s within 5 %`, isGood, figure, byHand)
}

/** An exporter may try again: 429 or 503 with Retry-After, RESOURCE_EXHAUSTED or UNAVAILABLE with RetryInfo. */
export function isRetryable({ answer }: Extract<Outcome, { answer: unknown }>): boolean {
  if (answer.way === 'gRPC') {
    const all = { ...answer.headers, ...answer.trailers }
    const details = all['grpc-status-details-bin']
    const hasRetryInfo =
      typeof details === 'string' && Buffer.from(details, 'base64').includes('google.rpc.RetryInfo')
    return (answer.grpcStatus === 8 || answer.grpcStatus === 14) && hasRetryInfo
  }
  const after = answer.headers['retry-after']
  return (
    (answer.httpStatus === 429 || answer.httpStatus === 503) &&
    typeof after === 'string' &&
    /^[1-9]\d*$/.test(after)
  )
}

/** Whatever was refused can be sent again. That nothing was refused is no proof of it. */
export function judgeRefusals(outcomes: readonly Outcome[], way: string, byHand: string): Row {
  const expected = `what is refused over ${way} can be retried`
  const refused = outcomes.filter((outcome) => !isTaken(outcome))
  if (refused.length === 0) {
    const figure = `all ${outcomes.length} were taken: nothing limits this address`
    return judged(NAME, expected, false, figure, byHand)
  }
  const wrong = refused.filter((outcome) => 'fault' in outcome || !isRetryable(outcome))
  const first = wrong[0]
  const figure =
    first === undefined
      ? `${refused.length} of ${outcomes.length} refused, all retryable`
      : `${wrong.length} of ${refused.length} not: ${'fault' in first ? first.fault : `HTTP ${first.answer.httpStatus}, gRPC ${first.answer.grpcStatus ?? '–'}`}`
  return judged(NAME, expected, wrong.length === 0, figure, byHand)
}

function request() {
  const mark = { run: 'rate', way: 'gRPC', device: 'validate' }
  return { signal: 'traces' as const, message: exportRequest('traces', mark, Date.now()) }
}

/** Keeps `WAITING` requests under way and counts what is admitted once the burst is used up. */
async function measure(target: Target): Promise<Admitted> {
  const port = target.grpcPort
  const client = connect(target, { way: 'gRPC', port, from: target.sources.hasty })
  const endMs = performance.now() + LONGEST_MS
  // Where nothing limits us, this many show it as well.
  const mostTaken = (2 * (target.ratePerSecond ?? 0) * WINDOW_MS) / 1000
  let taken = 0
  let refused = 0
  let window: { sinceMs: number; taken: number; refused: number } | undefined
  let done: Admitted | undefined
  const one = async () => {
    while (done === undefined && performance.now() < endMs) {
      const outcome = await sendOn(client, target, port, request())
      if (isTaken(outcome)) taken += 1
      else {
        refused += 1
        // Whoever is refused at once would otherwise ask thousands of times.
        await pause(100)
      }
      const nowMs = performance.now()
      // What had been let through in the burst has been answered by then.
      if (window === undefined && taken >= target.burst + 2 * WAITING)
        window = { sinceMs: nowMs, taken, refused }
      const isEnough =
        window !== undefined &&
        (nowMs - window.sinceMs >= WINDOW_MS || taken - window.taken >= mostTaken)
      if (window !== undefined && isEnough)
        done ??= {
          count: taken - window.taken,
          elapsedMs: nowMs - window.sinceMs,
          refused: refused - window.refused,
        }
    }
  }
  try {
    await Promise.all(Array.from({ length: WAITING }, one))
  } finally {
    client.close()
  }
  return done ?? { count: 0, elapsedMs: 0, refused }
}

/** More at once than the gateway lets wait. */
async function overrun(target: Target, way: 'gRPC' | 'HTTP/2'): Promise<readonly Outcome[]> {
  const port = way === 'gRPC' ? target.grpcPort : target.httpPort
  const client = connect(target, { way, port, from: target.sources.hasty })
  try {
    return await Promise.all(
      Array.from({ length: TOO_MANY }, () => sendOn(client, target, port, request())),
    )
  } finally {
    client.close()
  }
}

export const rateCheck: Check = {
  name: NAME,
  effort: 'load',
  programs: [],
  limitSeconds: 90,
  plan: ({ burst, ratePerSecond = 0 }) =>
    `sends from one address what its rate lets through for some 10 s, about ${burst + ratePerSecond * 7 + 2 * TOO_MANY} requests, and never for longer than ${LONGEST_MS / 1000} s`,
  async run(target) {
    const { ratePerSecond, httpPort } = target
    if (ratePerSecond === undefined)
      return [skipped(NAME, 'an address is held to its rate', '--rate off')]
    const byHand = `printf '{}' >empty.json && h2load -n 2000 -c 1 -m 60 -H "authorization: Bearer $TOKEN" -H 'content-type: application/json' -d empty.json https://${authority(mainAddress(target), httpPort)}/v1/traces`
    const row = judgeRate(await measure(target), ratePerSecond, byHand)
    const rows = [row]
    for (const way of ['gRPC', 'HTTP/2'] as const)
      rows.push(judgeRefusals(await overrun(target, way), way, byHand))
    return rows
  },
}
