/** The numbers of certificates by ACME: when the next attempt is, and how the last one went. */
import type { Registry } from 'prom-client'
import { gauge, single } from './families.ts'

export interface AcmeReadings {
  /** When the certificate is renewed or tried again next, Unix milliseconds; undefined while that is under way. */
  readonly nextAttemptMs: number | undefined
  /** How the last attempt went; undefined before the first. */
  readonly isLastGood: boolean | undefined
  /** A development certificate is served, for there is none from the directory yet. */
  readonly isStandIn: boolean
}

/** Declares the families. Nothing is shown where ACME is off. */
export function declareAcme(registry: Registry, readings: () => AcmeReadings | undefined): void {
  const declare = (
    name: string,
    help: string,
    value: (readings: AcmeReadings) => number | undefined,
  ) =>
    gauge(registry, { name, help, labels: [] }, () => {
      const found = readings()
      return found === undefined ? [] : single(value(found))
    })
  declare(
    'tollgate_certificate_next_renewal_seconds',
    'When the certificate is renewed by ACME or tried again next, as Unix time; absent while that is under way.',
    ({ nextAttemptMs }) => (nextAttemptMs === undefined ? undefined : nextAttemptMs / 1000),
  )
  declare(
    'tollgate_certificate_last_renewal_success',
    'Whether the last attempt to get a certificate by ACME was good; absent before the first.',
    ({ isLastGood }) => (isLastGood === undefined ? undefined : Number(isLastGood)),
  )
  declare(
    'tollgate_certificate_stand_in',
    'Whether a development certificate is served because ACME has brought none yet.',
    ({ isStandIn }) => Number(isStandIn),
  )
}
