/** The numbers that other parts own: read from them at each scrape. */
import type { Registry } from 'prom-client'
import { type AcmeReadings, declareAcme } from './acme-numbers.ts'
import { type CertificateReadings, declareCertificates } from './certificates.ts'
import { type ClientReadings, declareClients } from './client-numbers.ts'
import { counter, gauge, type Row, single } from './families.ts'
import { declareHiddenClients, type HiddenClients } from './hidden-clients.ts'
import { declareJwts, type JwtReadings } from './jwts.ts'
import { declareTokens, type TokenUsage } from './token-numbers.ts'

/** A place that tokens come from. */
interface SourceReading {
  /** As the operator wrote it; there are no more than the configuration names. */
  readonly place: string
  readonly isGood: boolean
  readonly lastGoodMs: number | undefined
  readonly tokens: number
}

/** What the metrics page asks of the rest of the house. Asked at each scrape; must not throw or wait. */
export interface Readings {
  /** What the configuration allows at most, so that alerts need not know it by heart. */
  readonly bounds: {
    readonly maxHeld: number
    readonly maxConnections: number
    readonly maxInFlightBytes: number
  }
  /** Bytes of message bodies that the gateway holds in memory. */
  inFlightBytes(): number
  /** The token set: how many are loaded, and how it stands with each place that they come from. */
  tokens(): { readonly loaded: number; readonly sources: readonly SourceReading[] }
  /** Usage of each token of the set, in the order of the set. */
  tokenUsage(): Iterable<TokenUsage>
  /** JWTs and their issuers; undefined where none is configured. */
  jwts?(): JwtReadings | undefined
  /** Client certificates; undefined where none is asked for. */
  clientCertificates?(): ClientReadings | undefined
  /** Bans in force. */
  bans(): number
  /** That the addresses of clients are hidden; undefined where nothing speaks for it. */
  hiddenClients?(): HiddenClients | undefined
  /** The bounded tables of limits and bans. `table` is one of a closed set of names. */
  limiterTables(): Iterable<{
    readonly table: string
    readonly size: number
    readonly evictions: number
  }>
  /** Certificates; undefined with TLS off. */
  certificates(): CertificateReadings | undefined
  /** The certificate by ACME; undefined where that is off. */
  acme?(): AcmeReadings | undefined
  isCollectorUp(): boolean
  /** Lines that could not be written: disk full, reader stuck, too many at once. */
  lostLines(): { readonly log: number; readonly audit: number }
}

/** Declares the families that are read from other parts. */
export function declareState(registry: Registry, readings: Readings): void {
  const declareGauge = (name: string, help: string, value: () => number | undefined) =>
    gauge(registry, { name, help, labels: [] }, () => single(value()))

  declareGauge(
    'tollgate_in_flight_bytes',
    'Bytes of request messages held in memory on their way to the collector.',
    () => readings.inFlightBytes(),
  )
  const { maxHeld, maxConnections, maxInFlightBytes } = readings.bounds
  declareGauge('tollgate_max_held', 'TOLLGATE_MAX_HELD: requests that may wait.', () => maxHeld)
  declareGauge(
    'tollgate_max_connections',
    'TOLLGATE_MAX_CONNECTIONS: connections that may be open, on both ports together.',
    () => maxConnections,
  )
  declareGauge(
    'tollgate_max_in_flight_bytes',
    'TOLLGATE_MAX_IN_FLIGHT_BYTES: bytes of messages that may be held in memory.',
    () => maxInFlightBytes,
  )
  declareGauge('tollgate_collector_up', 'Whether the collector can be reached.', () =>
    Number(readings.isCollectorUp()),
  )
  declareGauge('tollgate_tokens', 'Tokens in the loaded set.', () => readings.tokens().loaded)
  declareGauge(
    'tollgate_tokens_last_reload_success',
    'Whether the last read of the token set was good. At 0 the last good set is still in use.',
    () => Number(readings.tokens().sources.every(({ isGood }) => isGood)),
  )
  declareGauge(
    'tollgate_tokens_last_reload_success_timestamp_seconds',
    'When the token set was last read well.',
    () => seconds(latestOf(readings.tokens().sources)),
  )
  declareSources(registry, () => readings.tokens().sources)
  declareGauge('tollgate_bans', 'Bans in force.', () => readings.bans())
  declareHiddenClients(registry, () => readings.hiddenClients?.())
  declareCertificates(registry, () => readings.certificates())
  declareAcme(registry, () => readings.acme?.())
  declareTokens(registry, () => readings.tokenUsage())
  declareTables(registry, readings)
  declareJwts(registry, () => readings.jwts?.())
  declareClients(registry, () => readings.clientCertificates?.())
  counter(
    registry,
    {
      name: 'tollgate_lost_lines_total',
      help: 'Lines of the log or the audit log that could not be written.',
      labels: ['stream'],
    },
    () => {
      const { log, audit } = readings.lostLines()
      return [
        [{ stream: 'log' }, log],
        [{ stream: 'audit' }, audit],
      ]
    },
  )
}

function declareSources(registry: Registry, sources: () => readonly SourceReading[]): void {
  const labels = ['source'] as const
  gauge(
    registry,
    {
      name: 'tollgate_token_source_last_reload_success',
      help: 'Whether the last read of a place that tokens come from was good. At 0 its last good set is still in use.',
      labels,
    },
    () => sources().map(({ place, isGood }) => [{ source: place }, Number(isGood)]),
  )
  gauge(
    registry,
    {
      name: 'tollgate_token_source_last_reload_success_timestamp_seconds',
      help: 'When a place that tokens come from was last read well; absent until it was. Files are read when they change.',
      labels,
    },
    () =>
      sources().flatMap(({ place, lastGoodMs }): Row<'source'>[] =>
        lastGoodMs === undefined ? [] : [[{ source: place }, lastGoodMs / 1000]],
      ),
  )
  gauge(
    registry,
    {
      name: 'tollgate_token_source_tokens',
      help: 'Tokens in the last good set of a place.',
      labels,
    },
    () => sources().map(({ place, tokens }) => [{ source: place }, tokens]),
  )
}

function latestOf(sources: readonly SourceReading[]): number | undefined {
  const times = sources.flatMap(({ lastGoodMs }) => lastGoodMs ?? [])
  return times.length === 0 ? undefined : Math.max(...times)
}

function declareTables(registry: Registry, readings: Readings): void {
  gauge(
    registry,
    {
      name: 'tollgate_limiter_keys',
      help: 'Entries in each bounded table: addresses or tokens remembered for limits and bans.',
      labels: ['table'],
    },
    () => [...readings.limiterTables()].map(({ table, size }) => [{ table }, size]),
  )
  counter(
    registry,
    {
      name: 'tollgate_limiter_evictions_total',
      help: 'Entries forgotten early because their table was full.',
      labels: ['table'],
    },
    () => [...readings.limiterTables()].map(({ table, evictions }) => [{ table }, evictions]),
  )
}

function seconds(ms: number | undefined): number | undefined {
  return ms === undefined ? undefined : ms / 1000
}
