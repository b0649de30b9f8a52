/** The numbers of client certificates: what became of them, and how long their CRLs are good. */
import type { Registry } from 'prom-client'
import { counter, gauge } from './families.ts'

/** What is asked of client certificates at each scrape. */
export interface ClientReadings {
  /** Handshakes in which a certificate was asked for. `result` is one of a closed set of words. */
  results(): Iterable<readonly [result: string, count: number]>
  /** When each CRL ends, by the name of its CA; those that name no end are left out. */
  crls(): Iterable<readonly [issuer: string, nextUpdateMs: number]>
}

/** Declares the families. They have no series where no client certificate is asked for. */
export function declareClients(
  registry: Registry,
  readings: () => ClientReadings | undefined,
): void {
  counter(
    registry,
    {
      name: 'tollgate_client_certificates_total',
      help: 'Handshakes in which a client certificate was asked for, by what became of it.',
      labels: ['result'],
    },
    () => [...(readings()?.results() ?? [])].map(([result, count]) => [{ result }, count]),
  )
  gauge(
    registry,
    {
      name: 'tollgate_crl_next_update_timestamp_seconds',
      help: 'When the CRL of a client CA ends. After that no client of this CA gets in.',
      labels: ['issuer'],
    },
    () => [...(readings()?.crls() ?? [])].map(([issuer, ms]) => [{ issuer }, ms / 1000]),
  )
}
