/** The numbers of connections: open, accepted, turned away. */
import type { Registry } from 'prom-client'
import { counter, gauge } from './families.ts'

const PORTS = ['grpc', 'http'] as const

/** One of the two public ports, by the name of its option. */
export type Port = (typeof PORTS)[number]

/** Why a connection was closed by us. Where one stalled stream was ended instead, it counts too. */
export const CONNECTION_REFUSALS = [
  'banned',
  'full',
  'peer_full',
  'proxy_header',
  'handshake',
  'handshake_timeout',
  'protocol_timeout',
  'no_hello',
  'slow_headers',
  'idle',
  'malformed',
  'protocol_error',
  'flood',
  'header_flood',
  'stalled_reading',
  'memory',
  'other',
] as const

/** Counts connections. */
export class ConnectionNumbers {
  readonly #opened: Record<Port, number> = { grpc: 0, http: 0 }
  readonly #closed: Record<Port, number> = { grpc: 0, http: 0 }
  readonly #refused = new Map<string, number>(CONNECTION_REFUSALS.map((reason) => [reason, 0]))

  constructor(registry: Registry) {
    gauge(
      registry,
      {
        name: 'tollgate_connections',
        help: 'Connections open now, handshakes included.',
        labels: ['port'],
      },
      () => PORTS.map((port) => [{ port }, this.#opened[port] - this.#closed[port]]),
    )
    counter(
      registry,
      {
        name: 'tollgate_connections_total',
        help: 'Connections accepted and not turned away at once.',
        labels: ['port'],
      },
      () => PORTS.map((port) => [{ port }, this.#opened[port]]),
    )
    counter(
      registry,
      {
        name: 'tollgate_connections_refused_total',
        help: 'Connections that the gateway refused or closed on its own account, by why.',
        labels: ['reason'],
      },
      () => [...this.#refused].map(([reason, count]) => [{ reason }, count]),
    )
  }

  /** A connection was accepted and kept. */
  opened(port: Port): void {
    this.#opened[port] += 1
  }

  /** A connection that was counted as opened has closed. */
  closed(port: Port): void {
    this.#closed[port] += 1
  }

  /** A connection was turned away. A reason outside `CONNECTION_REFUSALS` counts as `other`. */
  refused(reason: string): void {
    const known = this.#refused.has(reason) ? reason : 'other'
    this.#refused.set(known, (this.#refused.get(known) ?? 0) + 1)
  }
}
