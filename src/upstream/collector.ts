/** The internal collector as the gateway sees it: its addresses, and the way a parcel takes to it. */
import type { Permit } from '../pipeline/admit.ts'
import type { Collector, CollectorAnswer, Format, Parcel } from '../pipeline/parcel.ts'
import type { Address } from './address.ts'
import { collectorUnavailable } from './fault.ts'
import { GrpcWay } from './grpc-way.ts'
import { checkHealth, type Health } from './health.ts'
import { HttpWay } from './http-way.ts'
import type { AddressState } from './link.ts'

/** OTLP recommends to take answers of up to 4 MiB ("OTLP/gRPC Response"). */
export const MAX_ANSWER_BYTES = 4 * 1024 * 1024

export interface CollectorOptions {
  /** At least one address in the two lists together. The first that is up is used; several in turn. */
  readonly grpc: readonly Address[]
  readonly http: readonly Address[]
  /** PEM of the CAs to trust instead of the system's; for `https:` addresses. */
  readonly ca?: string | undefined
  /** Longest wait for an answer in milliseconds, where the client's deadline is not sooner. */
  readonly timeoutMs: number
  /** Default 4 MiB. */
  readonly maxAnswerBytes?: number | undefined
  /** Monotonic clock in milliseconds, the one deadlines are given in. */
  readonly now: () => number
  /** Called when the first verdict is known and each time it changes. `words` are for the log. */
  readonly onChange: (isAvailable: boolean, words: string) => void
}

/** The collector and the means to run it. */
export interface RunningCollector extends Collector {
  /** Begins to connect. Until connected `isAvailable()` is false. */
  start(): void
  /** Ends all connections; calls still under way fail. */
  close(): Promise<void>
  /** How each address stands, gRPC first. */
  state(): readonly AddressState[]
  /** Asks each gRPC address for its health (grpc.health.v1). Never throws. */
  health(timeoutMs: number): Promise<readonly Health[]>
}

/** Makes the collector's side. Throws a TypeError where no address is given. */
export function createCollector(options: CollectorOptions): RunningCollector {
  const { grpc, http, ca, timeoutMs, now, onChange } = options
  if (grpc.length + http.length === 0) throw new TypeError('BUG: a collector without an address')
  const maxAnswerBytes = options.maxAnswerBytes ?? MAX_ANSWER_BYTES
  const common = { ca, timeoutMs, maxAnswerBytes, now, onChange: announce }
  const grpcWay = grpc.length > 0 ? new GrpcWay({ ...common, addresses: grpc }) : undefined
  const httpWay = http.length > 0 ? new HttpWay({ ...common, addresses: http }) : undefined
  let announced: boolean | undefined
  let isClosed = false

  function isAvailable(): boolean {
    return grpcWay?.isAvailable === true || httpWay?.isAvailable === true
  }

  function state(): readonly AddressState[] {
    return [...(grpcWay?.states ?? []), ...(httpWay?.states ?? [])]
  }

  function announce(): void {
    const verdict = isAvailable()
    if (isClosed || verdict === announced) return
    const states = state()
    // At the start nothing is said until an address has been reached or all have been tried.
    const isUndecided =
      announced === undefined && !verdict && states.some((each) => each.lastError === undefined)
    if (isUndecided) return
    announced = verdict
    onChange(verdict, verdict ? wordsUp(states) : wordsDown(states))
  }

  function send(parcel: Parcel, _permit: Permit): Promise<CollectorAnswer> {
    if (parcel.format === 'json') {
      if (httpWay === undefined) throw new TypeError('BUG: JSON for a collector that takes none')
      return httpWay.send(parcel)
    }
    if (grpcWay === undefined) return (httpWay as HttpWay).send(parcel)
    if (httpWay === undefined) return grpcWay.send(parcel)
    // gRPC needs to know the length in advance, and HTTP does not.
    const prefersHttp = parcel.body.lengthBytes === undefined && httpWay.isAvailable
    if (grpcWay.isAvailable && !prefersHttp) return grpcWay.send(parcel)
    if (httpWay.isAvailable) return httpWay.send(parcel)
    return Promise.reject(collectorUnavailable(true, 'no address of the collector is up'))
  }

  return {
    isAvailable,
    state,
    send,
    accepts: (format: Format) => format === 'protobuf' || httpWay !== undefined,
    start() {
      grpcWay?.start()
      httpWay?.start()
    },
    async close() {
      isClosed = true
      await Promise.all([grpcWay?.close(), httpWay?.close()])
    },
    health: (healthTimeoutMs: number) =>
      Promise.all(grpc.map((address) => checkHealth({ address, ca, timeoutMs: healthTimeoutMs }))),
  }
}

function wordsUp(states: readonly AddressState[]): string {
  const up = states.filter((each) => each.isConnected).map((each) => each.address)
  return `connected to the collector at ${up.join(', ')}`
}

function wordsDown(states: readonly AddressState[]): string {
  const down = states.map((each) => `${each.address}: ${each.lastError ?? 'not reached yet'}`)
  return `the collector is away (${down.join('; ')})`
}
