/** The numbers of certificates: when they end, and how reading them again went. */
import type { Registry } from 'prom-client'
import { counter, gauge, type Row } from './families.ts'

/** What there is to know of the certificates, read at each scrape. */
export interface CertificateReadings {
  /** Those in use; as many as the configuration names. */
  readonly all: readonly {
    /** One of a closed set of names. */
    readonly role: string
    /** The first name in it. */
    readonly subject: string
    readonly notAfterMs: number
  }[]
  /** Whether the last read of every one was good. */
  readonly isGood: boolean
  /** Reads since the start, by what became of them: a closed set of words. */
  readonly reloads: Readonly<Record<string, number>>
}

/** Declares the families. Nothing is shown where there are no readings, as with TLS off. */
export function declareCertificates(
  registry: Registry,
  readings: () => CertificateReadings | undefined,
): void {
  gauge(
    registry,
    {
      name: 'tollgate_certificate_last_reload_success',
      help: 'Whether the last read of the server certificates was good. At 0 the last good one is still in use.',
      labels: [],
    },
    () => {
      const isGood = readings()?.isGood
      return isGood === undefined ? [] : [[{}, Number(isGood)]]
    },
  )
  counter(
    registry,
    {
      name: 'tollgate_certificate_reloads_total',
      help: 'Looks at the files of certificates after a change or a signal, by what became of them.',
      labels: ['outcome'],
    },
    () => Object.entries(readings()?.reloads ?? {}).map(([outcome, n]) => [{ outcome }, n]),
  )
  gauge(
    registry,
    {
      name: 'tollgate_certificate_not_after_seconds',
      help: 'When the certificate expires, as Unix time.',
      labels: ['role', 'subject'],
    },
    () => {
      // Two with the same first name, one RSA and one EC, are one series: the earlier end counts.
      const rows = new Map<string, Row<'role' | 'subject'>>()
      for (const { role, subject, notAfterMs } of readings()?.all ?? []) {
        const key = `${role} ${subject}`
        const endSeconds = Math.min(notAfterMs / 1000, rows.get(key)?.[1] ?? Infinity)
        rows.set(key, [{ role, subject }, endSeconds])
      }
      return rows.values()
    },
  )
}
