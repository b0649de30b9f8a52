import type { Log, LogEvent, LogFields } from '../../../src/observe/log.ts'
import type { Readings } from '../../../src/observe/state.ts'
import type { TokenUsage } from '../../../src/observe/token-numbers.ts'
import type { Arrival } from '../../../src/pipeline/arrival.ts'
import type { Outcome } from '../../../src/pipeline/outcome.ts'
import type { Ending } from '../../../src/pipeline/ports.ts'

/** Readings of a gateway at rest, one token, TLS on. */
export function restingReadings(changes: Partial<Readings> = {}): Readings {
  return {
    bounds: { maxHeld: 1000, maxConnections: 10_000, maxInFlightBytes: 268_435_456 },
    inFlightBytes: () => 0,
    tokens: () => ({
      loaded: 1,
      sources: [
        { place: 'file:/tokens.json', isGood: true, lastGoodMs: 1_800_000_000_000, tokens: 1 },
      ],
    }),
    tokenUsage: () => [usageOf()],
    jwts: () => ({
      verdicts: () => [['verified', 2]],
      tables: () => [{ table: 'verified', size: 1, evictions: 0 }],
      verifying: () => 0,
      issuers: () => [
        { issuer: 'https://login', keys: 2, isLastReadGood: true, lastGoodMs: 1_800_000_000_000 },
      ],
    }),
    clientCertificates: () => ({
      results: () => [['verified', 2]],
      crls: () => [['Agents CA', 1_900_000_000_000]],
    }),
    bans: () => 0,
    hiddenClients: () => undefined,
    limiterTables: () => [{ table: 'peer_requests', size: 1, evictions: 0 }],
    acme: () => ({ nextAttemptMs: 1_800_000_000_000, isLastGood: true, isStandIn: false }),
    certificates: () => ({
      all: [{ role: 'server', subject: 'otlp.example', notAfterMs: 1_900_000_000_000 }],
      isGood: true,
      reloads: { swapped: 3, unchanged: 2, kept: 1 },
    }),
    isCollectorUp: () => true,
    lostLines: () => ({ log: 0, audit: 0 }),
    ...changes,
  }
}

/** A token that was used and once refused. */
export function usageOf(changes: Partial<TokenUsage> = {}): TokenUsage {
  return {
    id: 'k7f3',
    holder: 'laptop',
    state: 'current',
    expiresAtMs: 1_900_000_000_000,
    firstUsedMs: 1_700_000_000_000,
    lastUsedMs: 1_800_000_000_500,
    requests: 3,
    bytes: 681,
    graceUses: 0,
    retiringUses: 0,
    refusals: new Map([['rate_limited', 1]]),
    ...changes,
  }
}

export function arrival(changes: Partial<Arrival> = {}): Arrival {
  return {
    protocol: 'grpc',
    signal: 'traces',
    peer: { key: '203.0.113.9', address: '203.0.113.9' },
    authorization: undefined,
    userAgent: 'OTel-OTLP-Exporter-Python/1.44.0',
    deadlineMs: Number.POSITIVE_INFINITY,
    flaw: undefined,
    ...changes,
  }
}

export function ending(outcome: Outcome, changes: Partial<Ending> = {}): Ending {
  return {
    outcome,
    token: undefined,
    refusal: undefined,
    durationMs: 2,
    bytesIn: 0,
    bytesOut: 0,
    cause: undefined,
    ...changes,
  }
}

export interface Line {
  readonly level: string
  readonly event: LogEvent
  readonly message: string
  readonly fields: LogFields
}

/** A log that keeps its lines. */
export function keptLog(isDebug = false): { readonly log: Log; readonly lines: Line[] } {
  const lines: Line[] = []
  const at =
    (level: string) =>
    (event: LogEvent, message: string, fields: LogFields = {}) => {
      if (level !== 'debug' || isDebug) lines.push({ level, event, message, fields })
    }
  const log = {
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    isDebug,
    lostLines: 0,
  }
  return { log, lines }
}

/** The samples of a metrics page: `name{labels}` → value. */
export function samples(page: string): Map<string, number> {
  const found = new Map<string, number>()
  for (const line of page.split('\n')) {
    if (line === '' || line.startsWith('#')) continue
    const space = line.lastIndexOf(' ')
    found.set(line.slice(0, space), Number(line.slice(space + 1)))
  }
  return found
}

/** The sum of all series of a family. */
export function sum(page: string, name: string): number {
  let total = 0
  for (const [series, value] of samples(page))
    if (series === name || series.startsWith(`${name}{`)) total += value
  return total
}
