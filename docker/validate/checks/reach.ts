/** What people ask first when nothing arrives: address families, both protocols on both ports, clocks. */
import { WAYS, type Way } from '../../../test/support/client.ts'
import { curl, EMPTY_EXPORT, WITH_TOKEN } from '../by-hand.ts'
import type { Check } from '../check.ts'
import { exportRequest } from '../otlp-message.ts'
import { isTaken, type Outcome, probe, shortly } from '../probe.ts'
import { judged, type Row, skipped } from '../row.ts'

const NAME = 'reach'
/** Half of what tokens and JWTs are given as leeway; a Date header has whole seconds. */
const MOST_SKEW_MS = 5_000

/** One try at one port. */
export interface Tried {
  readonly way: Way
  readonly port: number
  readonly outcome: Outcome
}

/** Every protocol has to be taken on every port. */
export function judgeWays(tried: readonly Tried[], byHand: string): Row {
  const expected = 'OTLP/gRPC and OTLP/HTTP are taken on both ports'
  const wrong = tried.filter(({ outcome }) => !isTaken(outcome))
  const told = (some: readonly Tried[]) =>
    some.map(({ way, port, outcome }) => `${way} on ${port}: ${shortly(outcome)}`).join(', ')
  const figure = wrong.length > 0 ? told(wrong) : `${tried.length} of ${tried.length} ways`
  return judged(NAME, expected, tried.length > 0 && wrong.length === 0, figure, byHand)
}

/** The server's clock beside ours: half of the answer's time is taken off. */
export function judgeClock(
  date: string | undefined,
  wallMs: number,
  elapsedMs: number,
  byHand: string,
): Row {
  const expected = `the server's clock is within ${MOST_SKEW_MS / 1000} s of this one's`
  const serverMs = date === undefined ? Number.NaN : Date.parse(date)
  if (Number.isNaN(serverMs))
    return skipped(NAME, expected, 'the answer has no Date header', byHand)
  // The header has been cut to a whole second: half of one is added.
  const skewMs = serverMs + 500 - (wallMs - elapsedMs / 2)
  const figure = `${skewMs < 0 ? '-' : '+'}${(Math.abs(skewMs) / 1000).toFixed(1)} s`
  return judged(NAME, expected, Math.abs(skewMs) <= MOST_SKEW_MS, figure, byHand)
}

/** An export over one family of addresses. */
export function judgeFamily(family: string, outcome: Outcome, byHand: string): Row {
  return judged(
    NAME,
    `an export over ${family} is taken`,
    isTaken(outcome),
    shortly(outcome),
    byHand,
  )
}

export const reachCheck: Check = {
  name: NAME,
  effort: 'handful',
  programs: [],
  limitSeconds: 120,
  plan: ({ addresses }) => `makes ${7 + addresses.length} exports with the token`,
  async run(target) {
    const { host, httpPort, grpcPort, addresses } = target
    const mark = { run: 'reach', way: 'reach', device: 'validate' }
    const request = () => ({
      signal: 'traces' as const,
      message: exportRequest('traces', mark, Date.now()),
    })
    const rows: Row[] = []
    const tried: Tried[] = []
    for (const port of [grpcPort, httpPort])
      for (const way of WAYS)
        tried.push({ way, port, outcome: await probe(target, { way, port }, request()) })
    const byHandWith = (...more: string[]) =>
      curl(target, httpPort, '/v1/traces', [...more, ...WITH_TOKEN, ...EMPTY_EXPORT])
    rows.push(judgeWays(tried, byHandWith()))
    for (const family of ['IPv4', 'IPv6'] as const) {
      const address = addresses.find((each) => each.includes(':') === (family === 'IPv6'))
      const byHand = byHandWith(family === 'IPv4' ? '-4' : '-6')
      if (address === undefined) {
        const why = `${host} has no ${family} address`
        rows.push(skipped(NAME, `an export over ${family} is taken`, why, byHand))
        continue
      }
      const outcome = await probe(target, { way: 'HTTP/1.1', port: httpPort, address }, request())
      const hasNoRoute = 'fault' in outcome && /ENETUNREACH|EADDRNOTAVAIL/.test(outcome.fault)
      rows.push(
        hasNoRoute
          ? skipped(NAME, `an export over ${family} is taken`, `no ${family} from here`, byHand)
          : judgeFamily(family, outcome, byHand),
      )
    }
    const dated = tried.find(({ way }) => way === 'HTTP/1.1')?.outcome
    if (dated !== undefined && 'answer' in dated) {
      const again = await probe(target, { way: 'HTTP/1.1', port: httpPort }, request())
      const date = 'answer' in again ? again.answer.headers.date : undefined
      rows.push(judgeClock(date, Date.now(), again.elapsedMs, byHandWith()))
    }
    return rows
  },
}
