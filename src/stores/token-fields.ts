/** The fields of a token set: how each is read from JSON, and what is said where it is wrong. */
import { isIP } from 'node:net'
import { SIGNALS, type Signal } from '../otlp/signal.ts'
import type { Rate } from '../pipeline/ports.ts'
import { looksLikeTollgateToken } from './token-secret.ts'

/** One kind of field. */
export interface Field<Value> {
  /** The noun: `"tomorrow" is not <a date>`. */
  readonly what: string
  /** What would have been right, with an example. */
  readonly expected: string
  /** The value as the gateway uses it, or undefined where it is not acceptable. */
  read(value: unknown): Value | undefined
  /** The value might be a secret in the wrong place, and is never shown. */
  readonly isHidden?: true
}

/** A range of addresses; a single address has the longest prefix. */
export interface Network {
  readonly address: string
  readonly prefix: number
  readonly family: 'ipv4' | 'ipv6'
}

const MAX_PER_SECOND = 1e12
const PER_SECOND = { s: 1, m: 1 / 60, min: 1 / 60, h: 1 / 3600 } as const
const UNIT_BYTES = new Map([
  ['B', 1],
  ['kB', 1e3],
  ['MB', 1e6],
  ['GB', 1e9],
  ['KiB', 2 ** 10],
  ['MiB', 2 ** 20],
  ['GiB', 2 ** 30],
])
/** A budget without a burst of its own takes two seconds' worth at once, as the default for peers does. */
const BURST_SECONDS = 2

// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it looks for
const UNPRINTABLE = /[\u0000-\u001f\u007f-\u009f\u2028\u2029\ud800-\udfff]/u
const ISO_DATE =
  /^(\d{4})-(\d\d)-(\d\d)(?:T(\d\d):(\d\d)(?::(\d\d)(?:\.\d{1,9})?)?(?:Z|[+-](\d\d):(\d\d)))?$/

/** A token's public name: 1 to 64 of `[A-Za-z0-9._-]`, as it is a metric label and a log field. */
export const ID: Field<string> = {
  what: 'an id',
  expected: '1 to 64 of A-Z a-z 0-9 . _ - (and not the token itself)',
  read: (value) =>
    typeof value === 'string' &&
    /^[A-Za-z0-9._-]{1,64}$/.test(value) &&
    !looksLikeTollgateToken(value)
      ? value
      : undefined,
}

/** Who a token was given to: 1 to 128 printable characters. */
export const HOLDER: Field<string> = {
  what: 'a holder',
  expected: 'a name of 1 to 128 printable characters (and not the token itself)',
  read: (value) =>
    isPrintable(value, 128) && value.trim() === value && !looksLikeTollgateToken(value)
      ? value
      : undefined,
}

/** SHA-256 of the token, 64 hexadecimal digits; read as lower case. */
export const DIGEST: Field<string> = {
  what: 'a digest',
  expected: '64 hexadecimal digits, the SHA-256 of the token; the token itself is never stored',
  isHidden: true,
  read: (value) =>
    typeof value === 'string' && /^[0-9a-fA-F]{64}$/.test(value) ? value.toLowerCase() : undefined,
}

/**
 * A point in time as Unix milliseconds, from ISO 8601 with a time zone. A date alone is midnight
 * UTC. A time without a zone is refused: it would mean another moment on another machine.
 */
export const DATE: Field<number> = {
  what: 'a date',
  expected: 'ISO 8601, e.g. 2027-01-31T00:00:00Z',
  read(value) {
    const match = typeof value === 'string' ? ISO_DATE.exec(value) : null
    if (match === null) return undefined
    const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0, zoneHour = 0, zone = 0] =
      match.slice(1).map((digits) => Number(digits ?? 0))
    if (hour > 23 || minute > 59 || second > 59 || zoneHour > 23 || zone > 59) return undefined
    // Date.parse rolls 30 February over to March.
    const date = new Date(Date.UTC(year, month - 1, day))
    if (date.getUTCMonth() !== month - 1 || date.getUTCDate() !== day) return undefined
    const timeMs = Date.parse(match[0])
    return Number.isNaN(timeMs) ? undefined : timeMs
  },
}

/** Signals a token may export: at least one, each once. */
export const SCOPES: Field<ReadonlySet<Signal>> = {
  what: 'a list of signals',
  expected: `at least one of ${SIGNALS.join(', ')}, e.g. ["traces", "metrics"]`,
  read(value) {
    if (!Array.isArray(value) || value.length === 0) return undefined
    const scopes = new Set(SIGNALS.filter((signal) => value.includes(signal)))
    return scopes.size === value.length ? scopes : undefined
  },
}

/** One entry of `allowFrom`: an address or a CIDR. IPv4-mapped IPv6 is read as IPv4. */
export const NETWORK: Field<Network> = {
  what: 'an address or a CIDR',
  expected: 'e.g. 203.0.113.7, 10.0.0.0/8 or 2001:db8::/32',
  read(value) {
    const match =
      typeof value === 'string' ? /^([0-9a-fA-F.:]+)(?:\/(\d{1,3}))?$/.exec(value) : null
    const address = match?.[1] ?? ''
    const version = isIP(address)
    if (version === 0) return undefined
    const prefix = Number(match?.[2] ?? (version === 4 ? 32 : 128))
    if (prefix > (version === 4 ? 32 : 128)) return undefined
    const mapped = /^::ffff:([\d.]+)$/i.exec(address)?.[1]
    if (mapped !== undefined && isIP(mapped) === 4)
      return prefix < 96 ? undefined : { address: mapped, prefix: prefix - 96, family: 'ipv4' }
    return { address, prefix, family: version === 4 ? 'ipv4' : 'ipv6' }
  },
}

/** Requests per second, from `50/s`, `300/min` or `1000/h`; `off` for no limit of its own. */
export const RATE: Field<number | 'off'> = {
  what: 'a rate',
  expected: 'requests per second, minute or hour, e.g. 50/s, 300/min or 1000/h, or off',
  read(value) {
    if (value === 'off') return 'off'
    const match =
      typeof value === 'string' ? /^(\d{1,12}(?:\.\d{1,6})?)\/(s|m|min|h)$/.exec(value) : null
    if (match === null) return undefined
    return bounded(Number(match[1]) * PER_SECOND[match[2] as keyof typeof PER_SECOND])
  },
}

/** Bytes per second, from `10MiB/s` or `600MB/min`; `off` for no limit of its own. */
export const BYTE_RATE: Field<number | 'off'> = {
  what: 'a rate in bytes',
  expected: 'bytes per second, minute or hour, e.g. 10MiB/s or 600MB/min, or off',
  read(value) {
    if (value === 'off') return 'off'
    const match =
      typeof value === 'string'
        ? /^(\d{1,12}(?:\.\d{1,6})?)([A-Za-z]+)\/(s|m|min|h)$/.exec(value)
        : null
    const unitBytes = UNIT_BYTES.get(match?.[2] ?? '')
    return unitBytes === undefined
      ? undefined
      : bounded(Number(match?.[1]) * unitBytes * PER_SECOND[match?.[3] as keyof typeof PER_SECOND])
  },
}

/** Requests at once after a pause: a whole number from 1 to 1 000 000. */
export const BURST: Field<number> = {
  what: 'a burst',
  expected: 'a whole number from 1 to 1000000',
  read: (value) => wholeNumber(value, 1_000_000),
}

/** Calls at once: a whole number from 1 to 100 000; `off` for no limit of its own. */
export const IN_FLIGHT: Field<number | 'off'> = {
  what: 'a number of calls at once',
  expected: 'a whole number from 1 to 100000, or off',
  read: (value) => (value === 'off' ? 'off' : wholeNumber(value, 100_000)),
}

/** Free notes on a token: at most 32, names of 1 to 63 characters, values of at most 256. */
export const LABELS: Field<ReadonlyMap<string, string>> = {
  what: 'a set of labels',
  expected: 'at most 32 names with texts of at most 256 characters, e.g. {"team": "web"}',
  isHidden: true,
  read(value) {
    if (!isRecord(value)) return undefined
    const labels = new Map<string, string>()
    for (const [name, text] of Object.entries(value)) {
      if (!/^[A-Za-z_][A-Za-z0-9_.-]{0,62}$/.test(name)) return undefined
      if (text !== '' && !isPrintable(text, 256)) return undefined
      labels.set(name, text)
    }
    return labels.size <= 32 ? labels : undefined
  },
}

/** A budget of so many a second; the burst is two seconds' worth (at least 1) where none is given. */
export function rateOf(perSecond: number, burst: number | undefined): Rate {
  return { perSecond, burst: burst ?? Math.max(1, Math.ceil(perSecond * BURST_SECONDS)) }
}

/** Whether a parsed JSON value is an object with fields. */
export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/**
 * A wrong value as a message may show it: cut short, and only described where it might be a token
 * that ended up in the wrong place.
 */
export function shown(value: unknown): string {
  if (typeof value === 'number' || typeof value === 'boolean' || value === null)
    return String(value)
  if (typeof value === 'string') {
    const mayHoldToken = /[A-Za-z0-9._~+/=-]{16,}/.test(value) && !/^[\d.]+\/\d+$/.test(value)
    return value.length <= 40 && !UNPRINTABLE.test(value) && !mayHoldToken
      ? JSON.stringify(value)
      : `a text of ${value.length} characters`
  }
  if (Array.isArray(value)) {
    if (value.length === 0) return 'an empty list'
    return value.length <= 8 && value.every((item) => typeof item === 'string')
      ? `[${value.map(shown).join(', ')}]`
      : `a list of ${value.length}`
  }
  return 'an object'
}

function isPrintable(value: unknown, maxLength: number): value is string {
  return (
    typeof value === 'string' &&
    value.length > 0 &&
    value.length <= maxLength &&
    !UNPRINTABLE.test(value)
  )
}

function bounded(perSecond: number): number | undefined {
  return perSecond > 0 && perSecond <= MAX_PER_SECOND ? perSecond : undefined
}

function wholeNumber(value: unknown, max: number): number | undefined {
  return typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= max
    ? value
    : undefined
}
