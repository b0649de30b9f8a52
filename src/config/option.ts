import type { Kind } from './kind.ts'

/** Headings of the documentation, in its order. */
export const GROUPS = [
  'Listening',
  'Collector',
  'TLS',
  'ACME',
  'Tokens',
  'Vault',
  'JWT',
  'Budgets',
  'Waiting',
  'Bans',
  'Addresses of clients',
  'Bounds',
  'Running',
] as const

/** One option: how it is named, read and explained. */
export interface Option<T> {
  readonly env: `TOLLGATE_${string}`
  readonly group: (typeof GROUPS)[number]
  readonly kind: Kind<T>
  /** The text that stands where nothing is given. It is parsed like any other. */
  readonly default: string | undefined
  /** The value where nothing is given and there is no default text. */
  readonly unset: T
  readonly about: string
  readonly isSecret: boolean
}

interface Row<T> {
  readonly env: `TOLLGATE_${string}`
  readonly group: (typeof GROUPS)[number]
  readonly kind: Kind<T>
  readonly about: string
  readonly isSecret?: boolean
}

/** Makes a row: with a default text, with a value for what is not given, or with neither (undefined). */
export function option<T>(row: Row<T> & { readonly default: string }): Option<T>
export function option<T>(row: Row<T> & { readonly unset: T }): Option<T>
export function option<T>(row: Row<T>): Option<T | undefined>
export function option<T>(
  row: Row<T> & { readonly default?: string; readonly unset?: T },
): Option<T | undefined> {
  return { isSecret: false, default: undefined, unset: undefined, ...row }
}

/** The flag of an option: `TOLLGATE_MAX_BODY` is `--max-body`. */
export function flagOf(env: string): string {
  return `--${env.slice('TOLLGATE_'.length).toLowerCase().replaceAll('_', '-')}`
}
