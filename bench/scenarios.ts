/** What is measured: one row of the table each. */
import type { PayloadName } from './payloads.ts'

/** A kind of load. */
export interface Scenario {
  readonly title: string
  readonly protocol: 'grpc' | 'http'
  readonly payload: PayloadName
  readonly connections: number
  readonly streams: number
  /** Whether the token is right. */
  readonly isAdmitted: boolean
  /** Requests in a round of a full run, enough for about a second of a proxy's time. */
  readonly requests: number
  /** What Tollgate may cost at most, in multiples of another proxy's cost in the same run. */
  readonly goal?: Goal
}

/** A share of another proxy's cost. */
export interface Goal {
  readonly of: string
  readonly times: number
}

type Shape = Pick<Scenario, 'payload' | 'connections' | 'streams' | 'requests'>

function scenario(
  protocol: 'grpc' | 'http',
  shape: Shape,
  goal: Goal,
  isAdmitted = true,
): Scenario {
  const { payload, connections, streams } = shape
  const name = protocol === 'grpc' ? 'gRPC' : 'HTTP/1.1'
  const what = isAdmitted ? payload : `${payload} refused`
  const title = `${name} ${what}, ${connections} × ${streams}`
  return { title, protocol, ...shape, isAdmitted, goal }
}

function shape(
  payload: PayloadName,
  connections: number,
  streams: number,
  requests: number,
): Shape {
  return { payload, connections, streams, requests }
}

const nginx = (times: number): Goal => ({ of: 'nginx', times })
const haproxy = (times: number): Goal => ({ of: 'HAProxy', times })

/** In the order of the table. Connections × requests under way on each. */
export const SCENARIOS: readonly Scenario[] = [
  scenario('grpc', shape('227 B', 10, 10, 100_000), haproxy(0.67)),
  scenario('grpc', shape('227 B', 100, 1, 100_000), haproxy(0.75)),
  scenario('grpc', shape('11 kB', 20, 1, 30_000), nginx(1.1)),
  scenario('grpc', shape('53 kB gzip', 20, 1, 15_000), nginx(1.5)),
  scenario('grpc', shape('565 kB', 20, 1, 3_000), nginx(1.5)),
  scenario('grpc', shape('227 B', 10, 10, 100_000), haproxy(1.25), false),
  scenario('http', shape('227 B', 50, 1, 60_000), nginx(1.25)),
  scenario('http', shape('53 kB gzip', 50, 1, 15_000), nginx(1.25)),
  scenario('http', shape('227 B', 50, 1, 60_000), haproxy(1.25), false),
]
