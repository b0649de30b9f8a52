/** What is measured: one row of the table each, and what Tollgate may cost at most. */
import type { Variation } from './load/main.ts'
import type { PayloadName } from './payloads.ts'
import type { Protocol } from './peers/contestant.ts'

/** A kind of load. */
export interface Scenario {
  readonly title: string
  readonly protocol: Protocol
  readonly payload: PayloadName
  readonly connections: number
  readonly streams: number
  /** Whether the token is right. */
  readonly isAdmitted: boolean
  /** What differs from call to call; undefined where all are the same. */
  readonly varies?: Variation | undefined
  /** Requests in a round of a full run, enough for about a second of a proxy's time. */
  readonly requests: number
  readonly goals: readonly Goal[]
}

/** A share of another cost in the same run. */
export interface Goal {
  readonly of: string
  readonly times: number
  /** The title of another scenario, where the cost is not that of the same. */
  readonly scenario?: string
  /** What is hoped for beyond what is asked for. */
  readonly isAim?: boolean
}

const nginx = (times: number): Goal => ({ of: 'nginx', times })
const haproxy = (times: number): Goal => ({ of: 'HAProxy', times })

/** An admitted gRPC load whose calls are all the same. */
function grpc(
  payload: PayloadName,
  connections: number,
  streams: number,
  requests: number,
  goals: readonly Goal[],
): Scenario {
  const title = `gRPC ${payload}, ${connections} × ${streams}`
  const shape = { payload, connections, streams, requests }
  return { title, protocol: 'grpc', ...shape, isAdmitted: true, goals }
}

function http(payload: PayloadName, requests: number, goals: readonly Goal[]): Scenario {
  const title = `HTTP/1.1 ${payload}, 50 × 1`
  const shape = { payload, connections: 50, streams: 1, requests }
  return { title, protocol: 'http', ...shape, isAdmitted: true, goals }
}

/** The same with a wrong token. */
function refused(admitted: Scenario, goals: readonly Goal[]): Scenario {
  const { payload, title } = admitted
  return {
    ...admitted,
    title: title.replace(payload, `${payload} refused`),
    isAdmitted: false,
    goals,
  }
}

/** The same with header fields that change from call to call. */
function varied(admitted: Scenario, varies: Variation, words: string, requests: number): Scenario {
  const { payload, title } = admitted
  return {
    ...admitted,
    title: title.replace(payload, `${payload}, ${words}`),
    varies,
    requests,
    goals: [],
  }
}

const SMALL = grpc('227 B', 10, 10, 100_000, [
  haproxy(2 / 3),
  { ...haproxy(1 / 2), isAim: true },
  nginx(1 / 2),
])
const SMALL_HTTP = http('227 B', 60_000, [{ of: 'Fastify + undici', times: 1 / 2 }])

/** In the order of the table. Connections × requests under way on each. */
export const SCENARIOS: readonly Scenario[] = [
  SMALL,
  varied(SMALL, 'trace', 'changing headers', 50_000),
  varied(SMALL, 'tokens', 'three tokens', 50_000),
  grpc('227 B', 100, 1, 100_000, [haproxy(3 / 4), { ...haproxy(1 / 2), isAim: true }]),
  grpc('11 kB', 20, 1, 30_000, [nginx(1.1)]),
  grpc('53 kB gzip', 20, 1, 15_000, [nginx(1.5), haproxy(1)]),
  grpc('565 kB', 20, 1, 3_000, [nginx(1.5), haproxy(1)]),
  refused(SMALL, [
    { of: 'Tollgate', times: 1, scenario: SMALL.title },
    nginx(1),
    { ...haproxy(1), isAim: true },
  ]),
  SMALL_HTTP,
  http('53 kB gzip', 15_000, []),
  refused(SMALL_HTTP, []),
]
