/** The collector's side of the gateway connected to a scripted collector, for one test. */
import assert from 'node:assert/strict'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { Fault } from '../../src/pipeline/fault.ts'
import type { CollectorAnswer, GrpcAnswer, HttpAnswer, Parcel } from '../../src/pipeline/parcel.ts'
import { createCollector, type RunningCollector } from '../../src/upstream/collector.ts'
import { type CollectorSettings, type ScriptedCollector, startCollector } from './collector.ts'
import { parcel, permit } from './parcel.ts'

export interface PairSettings extends CollectorSettings {
  /** Which addresses the gateway is given; default gRPC alone. */
  readonly ways?: readonly ('grpc' | 'http')[]
  /** Written in front of the OTLP paths. */
  readonly path?: string
  readonly host?: string
  readonly ca?: string
  readonly timeoutMs?: number
  readonly now?: () => number
  /** Whether to wait until the gateway has reached the collector; default true. */
  readonly waits?: boolean
}

export interface Pair {
  readonly far: ScriptedCollector
  readonly near: RunningCollector
  /** What `onChange` was told. */
  readonly changes: readonly (readonly [isAvailable: boolean, words: string])[]
  send(changes?: Partial<Parcel>): Promise<CollectorAnswer>
}

const cleanUp: (() => Promise<void>)[] = []

/** Ends everything that `pair` and `alsoClose` know of; for `afterEach`. */
export async function closePairs(): Promise<void> {
  for (const close of cleanUp.splice(0).reverse()) await close()
}

/** Has something more closed after the test. */
export function alsoClose(close: () => Promise<void>): void {
  cleanUp.push(close)
}

/** Starts both. */
export async function pair(settings: PairSettings = {}): Promise<Pair> {
  const { ways = ['grpc'], path = '', host = '127.0.0.1', tls, ca, timeoutMs = 20_000 } = settings
  const far = await startCollector(settings)
  const changes: [boolean, string][] = []
  const protocol = tls === undefined ? 'http:' : 'https:'
  const address = (port: number) => ({ protocol, host, port, path }) as const
  const near = createCollector({
    grpc: ways.includes('grpc') ? [address(far.grpcPort)] : [],
    http: ways.includes('http') ? [address(far.httpPort)] : [],
    ca,
    timeoutMs,
    now: settings.now ?? (() => performance.now()),
    onChange: (isAvailable, words) => changes.push([isAvailable, words]),
  })
  near.start()
  alsoClose(() => far.die())
  alsoClose(() => near.close())
  if (settings.waits ?? true)
    await until(() => near.state().every(({ isConnected }) => isConnected))
  return { far, near, changes, send: (changed) => near.send(parcel(changed), permit()) }
}

/** A pair that speaks gRPC. */
export async function grpcPair(
  settings: PairSettings = {},
): Promise<Omit<Pair, 'send'> & { send(changes?: Partial<Parcel>): Promise<GrpcAnswer> }> {
  const made = await pair({ ways: ['grpc'], ...settings })
  return {
    ...made,
    async send(changes) {
      const answer = await made.send(changes)
      if (answer.protocol !== 'grpc') throw new TypeError('not an answer over gRPC')
      return answer
    },
  }
}

/** A pair that speaks HTTP. */
export async function httpPair(
  settings: PairSettings = {},
): Promise<Omit<Pair, 'send'> & { send(changes?: Partial<Parcel>): Promise<HttpAnswer> }> {
  const made = await pair({ ways: ['http'], ...settings })
  return {
    ...made,
    async send(changes) {
      const answer = await made.send(changes)
      if (answer.protocol !== 'http') throw new TypeError('not an answer over HTTP')
      return answer
    },
  }
}

/** Resolves when it is so, looking at each turn of the event loop. */
export async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await nextTurn()
}

/** For `assert.rejects`: a fault with this reason. */
export function fault(reason: Fault['reason'], canSendAgain: boolean): (error: unknown) => true {
  return (error) => {
    assert.ok(error instanceof Fault, String(error))
    assert.deepEqual([error.reason, error.canSendAgain], [reason, canSendAgain], error.message)
    return true
  }
}
