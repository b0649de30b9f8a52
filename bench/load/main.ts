/**
 * A load generator in a process of its own, for what h2load cannot send: calls whose header fields
 * change from one to the next. It also opens connections and leaves them idle.
 *
 * Told over the process channel: `Order`; tells an `Outcome` for each.
 */
import { Client, openTls, type Target } from './client.ts'
import type { FieldList } from './hpack-encoder.ts'

/** What differs from call to call: trace context and deadline, or the token. */
export type Variation = 'trace' | 'tokens'

export interface CallOrder extends Target {
  readonly kind: 'calls'
  readonly tokens: readonly string[]
  readonly varies: Variation
  readonly connections: number
  readonly streams: number
  readonly requests: number
}

export interface IdleOrder extends Target {
  /** `echo`: the server only sends back what it gets. */
  readonly kind: 'idle' | 'echo'
  readonly tokens: readonly string[]
  readonly connections: number
}

export type Order = CallOrder | IdleOrder

export interface Outcome {
  readonly seconds: number
  readonly succeeded: number
  /** Calls that ended with an HTTP or gRPC error, or without an answer. */
  readonly failed: number
  readonly p50Us: number
  readonly p99Us: number
}

const HANDSHAKES_AT_ONCE = 20
/** The default of Go's exporter, in microseconds as grpc-go writes it, and how much of it is gone. */
const TIMEOUT_US = 10_000_000
const MOST_GONE_US = 400

let seed = 0x2545f491

/** Xorshift: the fields change, and runs send the same ones. */
function random(): number {
  seed ^= seed << 13
  seed ^= seed >>> 17
  seed ^= seed << 5
  return seed >>> 0
}

const hex = () => random().toString(16).padStart(8, '0')

function fieldsOf(tokens: readonly string[], varies: Variation, number: number): FieldList {
  if (varies === 'tokens') {
    const token = tokens[number % tokens.length] ?? ''
    return [
      ['grpc-timeout', '10S'],
      ['authorization', `Bearer ${token}`],
    ]
  }
  return [
    ['grpc-timeout', `${TIMEOUT_US - (random() % MOST_GONE_US)}u`],
    ['authorization', `Bearer ${tokens[0] ?? ''}`],
    ['traceparent', `00-${hex()}${hex()}${hex()}${hex()}-${hex()}${hex()}-01`],
  ]
}

async function makeCalls(order: CallOrder): Promise<Outcome> {
  const { connections, streams, requests, tokens, varies } = order
  const clients = await Promise.all(Array.from({ length: connections }, () => Client.open(order)))
  const times = new Float64Array(requests)
  let started = 0
  let ended = 0
  let failed = 0
  const startMs = performance.now()
  await new Promise<void>((resolve) => {
    const next = (client: Client) => {
      if (started === requests) return
      const number = started
      started += 1
      const sentMs = performance.now()
      client.call(fieldsOf(tokens, varies, number), ({ status, grpcStatus }) => {
        times[ended] = (performance.now() - sentMs) * 1000
        if (status !== '200' || grpcStatus !== '0') failed += 1
        ended += 1
        if (ended === requests) resolve()
        else next(client)
      })
    }
    for (const client of clients) for (let at = 0; at < streams; at += 1) next(client)
  })
  const seconds = (performance.now() - startMs) / 1000
  for (const client of clients) client.close()
  times.sort()
  const at = (share: number) => times[Math.min(requests - 1, Math.floor(requests * share))] ?? 0
  return { seconds, succeeded: requests - failed, failed, p50Us: at(0.5), p99Us: at(0.99) }
}

/** Kept open until the process ends. */
const idle: unknown[] = []

async function openOne(order: IdleOrder): Promise<boolean> {
  if (order.kind === 'echo') {
    const socket = await openTls(order)
    idle.push(socket)
    socket.write(Buffer.alloc(300))
    await new Promise((resolve) => socket.once('data', resolve))
    return true
  }
  const client = await Client.open(order)
  idle.push(client)
  const { grpcStatus } = await new Promise<{ grpcStatus: string | undefined }>((resolve) =>
    client.call(fieldsOf(order.tokens, 'tokens', 0), resolve),
  )
  return grpcStatus === '0'
}

async function openIdle(order: IdleOrder): Promise<Outcome> {
  const startMs = performance.now()
  let left = order.connections
  let succeeded = 0
  const open = async () => {
    while (left > 0) {
      left -= 1
      if (await openOne(order)) succeeded += 1
    }
  }
  await Promise.all(Array.from({ length: HANDSHAKES_AT_ONCE }, open))
  const seconds = (performance.now() - startMs) / 1000
  const failed = order.connections - succeeded
  return { seconds, succeeded, failed, p50Us: Number.NaN, p99Us: Number.NaN }
}

process.on('message', (order: Order) => {
  const done = order.kind === 'calls' ? makeCalls(order) : openIdle(order)
  done.then((outcome) => process.send?.(outcome))
})
process.on('disconnect', () => process.exit(0))
