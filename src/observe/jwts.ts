/** The numbers of JWTs: what became of those seen for the first time, and the keys of their issuers. */
import type { Registry } from 'prom-client'
import { counter, gauge, single } from './families.ts'

/** What is asked of JWTs at each scrape. */
export interface JwtReadings {
  /** JWTs seen for the first time, by what became of them. `verdict` is one of a closed set of words. */
  verdicts(): Iterable<readonly [verdict: string, count: number]>
  /** The bounded tables, by names of a closed set. */
  tables(): Iterable<{
    readonly table: string
    readonly size: number
    readonly evictions: number
  }>
  /** Calls whose JWT is being checked now. */
  verifying(): number
  /** The issuers as configured. */
  issuers(): Iterable<{
    readonly issuer: string
    readonly keys: number
    readonly isLastReadGood: boolean
    /** Unix time; undefined before the first. */
    readonly lastGoodMs: number | undefined
  }>
}

/** Declares the families of JWTs. They have no series where no issuer is configured. */
export function declareJwts(registry: Registry, readings: () => JwtReadings | undefined): void {
  counter(
    registry,
    {
      name: 'tollgate_jwt_checks_total',
      help: 'JWTs looked at because they were not known yet, by what became of them.',
      labels: ['verdict'],
    },
    () => [...(readings()?.verdicts() ?? [])].map(([verdict, count]) => [{ verdict }, count]),
  )
  gauge(
    registry,
    {
      name: 'tollgate_jwt_verifying',
      help: 'Requests whose JWT is being checked now.',
      labels: [],
    },
    () => single(readings()?.verifying()),
  )
  const issuers = () => [...(readings()?.issuers() ?? [])]
  const labels = ['issuer'] as const
  gauge(
    registry,
    { name: 'tollgate_jwt_keys', help: 'Public keys in use of an issuer.', labels },
    () => issuers().map(({ issuer, keys }) => [{ issuer }, keys]),
  )
  gauge(
    registry,
    {
      name: 'tollgate_jwt_keys_last_read_success',
      help: "Whether the last read of an issuer's keys was good. At 0 the last good ones are still in use.",
      labels,
    },
    () => issuers().map(({ issuer, isLastReadGood }) => [{ issuer }, Number(isLastReadGood)]),
  )
  gauge(
    registry,
    {
      name: 'tollgate_jwt_keys_last_read_success_timestamp_seconds',
      help: "When an issuer's keys were last read well.",
      labels,
    },
    () =>
      issuers().flatMap(({ issuer, lastGoodMs }) =>
        lastGoodMs === undefined ? [] : [[{ issuer }, lastGoodMs / 1000]],
      ),
  )
  const tables = () => [...(readings()?.tables() ?? [])]
  gauge(
    registry,
    {
      name: 'tollgate_jwt_remembered',
      help: 'JWTs remembered: verified ones until they expire, refused ones for a moment; and their subjects.',
      labels: ['table'],
    },
    () => tables().map(({ table, size }) => [{ table }, size]),
  )
  counter(
    registry,
    {
      name: 'tollgate_jwt_forgotten_total',
      help: 'JWTs and subjects forgotten early because their table was full.',
      labels: ['table'],
    },
    () => tables().map(({ table, evictions }) => [{ table }, evictions]),
  )
}
