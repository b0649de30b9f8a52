/** The metrics page. Every family is declared once, in the files that this one puts together. */
import { collectDefaultMetrics, Registry } from 'prom-client'
import { ConnectionNumbers } from './connections.ts'
import { counter, gauge, single } from './families.ts'
import { HandshakeNumbers } from './handshakes.ts'
import { RequestNumbers } from './requests.ts'
import { declareState, type Readings } from './state.ts'

export interface MetricsOptions {
  /** Version of the gateway, for `tollgate_build_info`. */
  readonly version: string
  readonly readings: Readings
  /**
   * Whether the page also shows the process and Node.js (CPU, memory, event-loop delay, garbage
   * collection). Default true. The watchers behind them live as long as the process.
   */
  readonly hasProcessMetrics?: boolean
}

/** Gauges that prom-client names like counters, which Prometheus' own checker refuses. */
const MISNAMED = [
  'nodejs_active_handles_total',
  'nodejs_active_requests_total',
  'nodejs_active_resources_total',
]

/** All metrics of one gateway, in a registry of their own. */
export class Metrics {
  /** Told of each request. */
  readonly requests: RequestNumbers
  /** Told of each connection. */
  readonly connections: ConnectionNumbers
  /** Told of each TLS handshake. */
  readonly handshakes: HandshakeNumbers
  /** What `page` is written in: the text format that Prometheus 3 insists on seeing named. */
  readonly contentType: string
  readonly #registry = new Registry()
  #bans = 0

  constructor({ version, readings, hasProcessMetrics = true }: MetricsOptions) {
    this.contentType = this.#registry.contentType
    this.requests = new RequestNumbers(this.#registry)
    this.connections = new ConnectionNumbers(this.#registry)
    this.handshakes = new HandshakeNumbers(this.#registry)
    declareState(this.#registry, readings)
    counter(
      this.#registry,
      { name: 'tollgate_bans_total', help: 'Bans begun since the gateway started.', labels: [] },
      () => single(this.#bans),
    )
    gauge(
      this.#registry,
      {
        name: 'tollgate_build_info',
        help: 'Always 1; the labels say which version runs on which Node.js.',
        labels: ['version', 'node'],
      },
      () => [[{ version, node: process.version }, 1]],
    )
    if (hasProcessMetrics) {
      collectDefaultMetrics({ register: this.#registry })
      for (const name of MISNAMED) this.#registry.removeSingleMetric(name)
    }
  }

  /** A ban began. */
  banned(): void {
    this.#bans += 1
  }

  /** The whole page, in the format of `contentType`. */
  page(): Promise<string> {
    return this.#registry.metrics()
  }

  /** Names and help texts of all families, for the documentation's test. */
  families(): { readonly name: string; readonly help: string }[] {
    return this.#registry.getMetricsAsArray().map(({ name, help }) => ({ name, help }))
  }
}
