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
}

function scenario(
  protocol: 'grpc' | 'http',
  payload: PayloadName,
  [connections, streams]: readonly [number, number],
  requests: number,
  isAdmitted = true,
): Scenario {
  const name = protocol === 'grpc' ? 'gRPC' : 'HTTP/1.1'
  const title = `${name} ${isAdmitted ? payload : `${payload} refused`}, ${connections} × ${streams}`
  return { title, protocol, payload, connections, streams, isAdmitted, requests }
}

/** In the order of the table. Connections × requests under way on each. */
export const SCENARIOS: readonly Scenario[] = [
  scenario('grpc', '227 B', [10, 10], 100_000),
  scenario('grpc', '227 B', [100, 1], 100_000),
  scenario('grpc', '11 kB', [20, 1], 30_000),
  scenario('grpc', '53 kB gzip', [20, 1], 15_000),
  scenario('grpc', '565 kB', [20, 1], 3_000),
  scenario('grpc', '227 B', [10, 10], 100_000, false),
  scenario('http', '227 B', [50, 1], 60_000),
  scenario('http', '53 kB gzip', [50, 1], 15_000),
  scenario('http', '227 B', [50, 1], 60_000, false),
]
