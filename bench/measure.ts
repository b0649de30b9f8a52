/** One round of one scenario through one proxy, and what it cost. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Backend } from './backend.ts'
import { type LoadResult, load } from './h2load.ts'
import { loadVaried } from './load/generator.ts'
import type { Payload, PayloadName } from './payloads.ts'
import type { Protocol, Setting } from './peers/contestant.ts'
import { wrongToken } from './probe.ts'
import {
  cpuBetweenUs,
  processTree,
  type Running,
  readCpu,
  readEndedChildrenUs,
  readMachineBusyUs,
} from './processes.ts'
import type { Scenario } from './scenarios.ts'
import { GRPC_PATH, HTTP_PATH } from './wire.ts'

/** A proxy that runs. */
export interface Entrant {
  readonly name: string
  readonly version: string
  readonly isPassThrough: boolean
  readonly protocols: readonly Protocol[]
  /** The share of the requests of a round that it gets. */
  readonly share: number
  readonly setting: Setting
  readonly running: Running
}

/** What a round showed. */
export interface Round extends LoadResult {
  /** User and system time of the proxy's processes, for each request. */
  readonly cpuUs: number
  /** The same of the load generator and of the responder: not counted, but they share the machine. */
  readonly loadCpuUs: number
  readonly backendCpuUs: number
  /** Share of the busy time of the machine that belongs to none of the three. */
  readonly foreignShare: number
}

/** What stays the same over a run. */
export interface Bench {
  readonly payloads: ReadonlyMap<PayloadName, Payload>
  readonly backend: Backend
  /** Scratch file for h2load's log. */
  readonly logPath: string
}

/** Time for the last connections to be closed, which is part of the cost. */
const SETTLE_MS = 100

/**
 * Sends `requests` requests and checks that each had the answer it should have, and that the
 * responder saw those that were admitted and no other. Throws where not.
 */
export async function measure(
  bench: Bench,
  { name, setting, running }: Entrant,
  scenario: Scenario,
  requests: number,
): Promise<Round> {
  const { backend } = bench
  const pids = processTree(running.pid)
  const countsBefore = await backend.counts()
  const before = { cpu: readCpu(pids), backend: readCpu([backend.pid]), ...machine() }
  const result = await loadOnce(bench, setting, scenario, requests)
  await sleep(SETTLE_MS)
  const after = { cpu: readCpu(pids), backend: readCpu([backend.pid]), ...machine() }
  const counts = await backend.counts()

  const arrived =
    counts.grpcRequests -
    countsBefore.grpcRequests +
    counts.httpRequests -
    countsBefore.httpRequests
  const flaw = flawOf(result, scenario, requests, arrived)
  if (flaw !== undefined) throw new Error(`${name}, ${scenario.title}: ${flaw}`)

  const cpuUs = cpuBetweenUs(before.cpu, after.cpu)
  const backendUs = cpuBetweenUs(before.backend, after.backend)
  const loadUs = after.childrenUs - before.childrenUs
  const ownUs = after.ownUs - before.ownUs
  const busyUs = after.busyUs - before.busyUs
  return {
    ...result,
    cpuUs: cpuUs / requests,
    loadCpuUs: loadUs / requests,
    backendCpuUs: backendUs / requests,
    foreignShare: Math.max(0, 1 - (cpuUs + backendUs + loadUs + ownUs) / busyUs),
  }
}

function machine() {
  const { userCPUTime, systemCPUTime } = process.resourceUsage()
  return {
    busyUs: readMachineBusyUs(),
    childrenUs: readEndedChildrenUs(),
    ownUs: userCPUTime + systemCPUTime,
  }
}

function loadOnce(
  bench: Bench,
  setting: Setting,
  scenario: Scenario,
  requests: number,
): Promise<LoadResult> {
  const order = loadOf(bench, setting, scenario, requests)
  const { varies, connections, streams } = scenario
  if (varies === undefined) return load(order, bench.logPath)
  const { grpcPort: port, certificate, tokens } = setting
  const { bodyPath } = order
  return loadVaried({
    ...{ kind: 'calls', port, certPath: certificate.certPath, bodyPath, tokens },
    ...{ varies, connections, streams, requests },
  })
}

function loadOf(bench: Bench, setting: Setting, scenario: Scenario, requests: number) {
  const payload = bench.payloads.get(scenario.payload)
  if (payload === undefined) throw new Error(`No payload ${scenario.payload}`)
  const isGrpc = scenario.protocol === 'grpc'
  return {
    url: isGrpc
      ? `https://127.0.0.1:${setting.grpcPort}${GRPC_PATH}`
      : `https://127.0.0.1:${setting.httpPort}${HTTP_PATH}`,
    protocol: scenario.protocol,
    bodyPath: isGrpc ? payload.grpcBodyPath : payload.bodyPath,
    encoding: payload.encoding,
    token: scenario.isAdmitted ? setting.tokens[0] : wrongToken(setting.tokens[0]),
    connections: scenario.connections,
    streams: scenario.streams,
    requests,
  }
}

/** What is wrong with a round, or undefined. A refused gRPC call may be answered 200 with grpc-status 16. */
function flawOf(
  result: LoadResult,
  { protocol, isAdmitted }: Scenario,
  requests: number,
  arrived: number,
): string | undefined {
  const { status2xx, status4xx } = result
  if (status2xx + status4xx !== requests) {
    return `of ${requests} requests ${status2xx} were answered 2xx and ${status4xx} 4xx`
  }
  if (isAdmitted && status2xx !== requests) return `${status4xx} requests were answered 4xx`
  if (!isAdmitted && protocol === 'http' && status4xx !== requests) {
    return `${status2xx} requests were let through`
  }
  const expected = isAdmitted ? requests : 0
  return arrived === expected ? undefined : `${arrived} arrived, ${expected} should have`
}

/** Requests a second, of all connections, at which the added latency is measured. */
export const PACE_PER_SECOND = 1000
const PACED_CONNECTIONS = 10

/** Latency of small messages at a steady pace: through a proxy, or straight to the responder without TLS. */
export async function pace(
  bench: Bench,
  protocol: 'grpc' | 'http',
  to: Setting | { readonly direct: Setting },
  requests: number,
): Promise<LoadResult> {
  const isDirect = 'direct' in to
  const setting = isDirect ? to.direct : to
  const scenario: Scenario = {
    title: `${protocol} at a steady pace`,
    protocol,
    payload: '227 B',
    connections: PACED_CONNECTIONS,
    streams: protocol === 'grpc' ? 10 : 1,
    isAdmitted: true,
    requests,
    goals: [],
  }
  const paced = loadOf(bench, setting, scenario, requests)
  const isGrpc = protocol === 'grpc'
  const url = isDirect
    ? isGrpc
      ? `http://127.0.0.1:${setting.collectorGrpcPort}${GRPC_PATH}`
      : `http://127.0.0.1:${setting.collectorHttpPort}${HTTP_PATH}`
    : paced.url
  const perSecond = PACE_PER_SECOND / PACED_CONNECTIONS
  const result = await load({ ...paced, url, perSecond }, bench.logPath)
  if (result.status2xx !== requests) {
    throw new Error(`At a steady pace ${result.status2xx} of ${requests} were answered 2xx`)
  }
  return result
}
