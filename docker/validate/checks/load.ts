/** Latency under a steady load, by ghz, and what the gateway adds to the collector's own. */
import type { Check } from '../check.ts'
import { type Load, type LoadedPlace, type LoadReport, loadByHand, loadWithGhz } from '../ghz.ts'
import { judged, type Row, skipped } from '../row.ts'
import { authority, mainAddress, type Target } from '../target.ts'

const NAME = 'load'
const MOST_P95_MS = 200
/** What it is built to stay under; on a machine that does other work besides, more is measured. */
const TARGET_ADDED_MS = 5

const POINTS: Load = { callsPerSecond: 50, pointsPerCall: 20, calls: 150 }
const REQUESTS: Load = { callsPerSecond: 1000, pointsPerCall: 1, calls: 5000 }

/** The first finds a program that has not been busy yet. */
const ROUNDS = 3

/** Of the calls that the load asks for, so many a second have to come about for it to be that load. */
const LEAST_SHARE = 0.9

/** All calls well, at the pace that was asked for, and 95 of 100 within 200 ms. */
export function judgeLoad(load: Load, report: LoadReport, what: string, byHand: string): Row {
  const expected = `${what}: p95 under ${MOST_P95_MS} ms, none refused`
  const { OK = 0, ...others } = report.statuses
  const wrong = Object.entries(others).map(([status, count]) => `${count} × ${status}`)
  const isPaced = report.callsPerSecond >= load.callsPerSecond * LEAST_SHARE
  const isGood = OK === load.calls && isPaced && report.p95Ms < MOST_P95_MS
  const figure =
    OK === load.calls
      ? `p95 ${report.p95Ms.toFixed(1)} ms at ${Math.round(report.callsPerSecond)} requests/s`
      : `${OK} of ${load.calls} went well${wrong.length > 0 ? `: ${wrong.join(', ')}` : ''}`
  return judged(NAME, expected, isGood, figure, byHand)
}

/** The difference between the way through the gateway and the way around it. */
export function judgeAdded(
  through: readonly LoadReport[],
  around: readonly LoadReport[],
  byHand: string,
): Row {
  const least = (reports: readonly LoadReport[]) =>
    Math.min(...reports.map(({ p95Ms }) => p95Ms).filter((each) => !Number.isNaN(each)))
  // The best of several: whatever else the machine does can only make them worse.
  const addedMs = least(through) - least(around)
  const expected = `the gateway adds less than ${TARGET_ADDED_MS} ms to the p95`
  if (!Number.isFinite(addedMs)) return judged(NAME, expected, false, 'not measured', byHand)
  const figure = `${addedMs.toFixed(1)} ms (${least(through).toFixed(1)} through it, ${least(around).toFixed(1)} around it)`
  return judged(NAME, expected, addedMs < TARGET_ADDED_MS, figure, byHand)
}

function placeOf(target: Target, address: string): LoadedPlace {
  return { address, tls: { name: target.host, ca: target.ca, token: target.token } }
}

/** 1000 requests a second, which is more than an address may make unless the limit is off. */
async function requestsRow(target: Target): Promise<Row> {
  const what = `${REQUESTS.callsPerSecond} requests/s`
  const { ratePerSecond, inside } = target
  const own = authority(mainAddress(target), target.grpcPort)
  if (ratePerSecond === undefined || ratePerSecond >= REQUESTS.callsPerSecond) {
    const place = placeOf(target, own)
    return judgeLoad(
      REQUESTS,
      await loadWithGhz(REQUESTS, place),
      what,
      loadByHand(REQUESTS, place),
    )
  }
  const unlimited = await inside?.unlimited?.()
  if (unlimited === undefined) {
    const why = `an address may make ${ratePerSecond}/s: start the gateway with TOLLGATE_RATE=off, and say --rate off`
    return skipped(NAME, what, why, loadByHand(REQUESTS, placeOf(target, own)))
  }
  try {
    const place = placeOf(target, unlimited.grpc)
    return judgeLoad(
      REQUESTS,
      await loadWithGhz(REQUESTS, place),
      what,
      loadByHand(REQUESTS, place),
    )
  } finally {
    await unlimited.stop()
  }
}

export const loadCheck: Check = {
  name: NAME,
  effort: 'load',
  programs: ['ghz'],
  limitSeconds: 240,
  plan: ({ inside, ratePerSecond }) => {
    const isFast = inside?.unlimited !== undefined || (ratePerSecond ?? 1000) >= 1000
    return `${POINTS.calls * ROUNDS} requests with ghz at ${POINTS.callsPerSecond}/s${isFast ? `, and ${REQUESTS.calls} at ${REQUESTS.callsPerSecond}/s` : ''}`
  },
  async run(target) {
    const place = placeOf(target, authority(mainAddress(target), target.grpcPort))
    const byHand = loadByHand(POINTS, place)
    const through: LoadReport[] = []
    const around: LoadReport[] = []
    const { inside } = target
    const direct =
      inside?.collectorGrpc === undefined
        ? undefined
        : { address: inside.collectorGrpc, tls: undefined }
    for (let round = 0; round < ROUNDS; round += 1) {
      through.push(await loadWithGhz(POINTS, place))
      if (direct !== undefined) around.push(await loadWithGhz(POINTS, direct))
    }
    const points = `${POINTS.callsPerSecond * POINTS.pointsPerCall} data points/s`
    const last = through.at(-1)
    const rows = last === undefined ? [] : [judgeLoad(POINTS, last, points, byHand)]
    rows.push(await requestsRow(target))
    rows.push(
      direct === undefined
        ? skipped(
            NAME,
            'what the gateway adds',
            'the collector cannot be reached from here',
            byHand,
          )
        : judgeAdded(through, around, byHand),
    )
    return rows
  },
}
