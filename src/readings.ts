/**
 * What the metrics page asks of the parts of a gateway. Part of the composition root: the numbers stay
 * with their owners and are read at each scrape.
 */
import type { AcmeReadings } from './observe/acme-numbers.ts'
import type { ClientReadings } from './observe/client-numbers.ts'
import type { HiddenClients } from './observe/hidden-clients.ts'
import type { JwtReadings } from './observe/jwts.ts'
import type { Readings } from './observe/state.ts'
import type { TokenUsage } from './observe/token-numbers.ts'
import type { Clock } from './pipeline/ports.ts'
import type { Bans } from './stores/bans.ts'
import type { Budgets } from './stores/budgets.ts'
import { tokenUsages } from './stores/token-page.ts'
import type { TokenStore } from './stores/tokens.ts'
import type { ServerCertificates } from './tls/server-certificates.ts'
import type { SourceState } from './token-sources.ts'
import { certificateReading } from './watched-files.ts'

/** The owners of the numbers. Those that are undefined are not configured, or not opened yet. */
export interface Owners {
  readonly clock: Clock
  readonly inFlightBytes: { readonly bytes: number }
  readonly tokens: TokenStore
  readonly tokenStates: readonly SourceState[]
  readonly jwts:
    | {
        readonly readings: Omit<JwtReadings, 'verifying'>
        readonly tokens: { usage(): Iterable<TokenUsage> }
      }
    | undefined
  readonly hold: { readonly verifying: number }
  readonly clients: { readonly readings: ClientReadings } | undefined
  readonly bans: Bans
  readonly budgets: Budgets
  readonly clientAddresses: { readonly hidden: HiddenClients | undefined }
  readonly certificates: ServerCertificates | undefined
  readonly acme: { readonly readings: AcmeReadings } | undefined
  readonly collector: { isAvailable(): boolean }
  readonly log: { readonly lostLines: number }
  readonly audit: { readonly lostLines: number } | undefined
}

/** Reads from whatever `owners` gives at the time of the scrape. */
export function createReadings(bounds: Readings['bounds'], owners: () => Owners): Readings {
  return {
    bounds,
    inFlightBytes: () => owners().inFlightBytes.bytes,
    tokens() {
      const { tokens, tokenStates } = owners()
      return { loaded: tokens.count, sources: tokenStates }
    },
    tokenUsage() {
      const { tokens, jwts, clock } = owners()
      return [...tokenUsages(tokens.statuses(clock.wallMs())), ...(jwts?.tokens.usage() ?? [])]
    },
    jwts() {
      const { jwts, hold } = owners()
      return jwts && { ...jwts.readings, verifying: () => hold.verifying }
    },
    clientCertificates: () => owners().clients?.readings,
    bans() {
      const { bans, clock } = owners()
      return bans.count(clock.nowMs())
    },
    hiddenClients: () => owners().clientAddresses.hidden,
    limiterTables() {
      const { budgets, bans } = owners()
      return [...budgets.tables(), ...bans.tables()]
    },
    certificates() {
      const { certificates } = owners()
      return certificates && certificateReading(certificates)
    },
    acme: () => owners().acme?.readings,
    isCollectorUp: () => owners().collector.isAvailable(),
    lostLines() {
      const { log, audit } = owners()
      return { log: log.lostLines, audit: audit?.lostLines ?? 0 }
    },
  }
}
