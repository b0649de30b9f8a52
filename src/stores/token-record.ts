/** One token of a set: from JSON to a `TokenRecord`, with everything that is wrong with it. */
import type { Signal } from '../otlp/signal.ts'
import type { Rate } from '../pipeline/ports.ts'
import { CLIENT_CERTIFICATE, certificateDigest } from './certificate-name.ts'
import {
  BURST,
  BYTE_RATE,
  DATE,
  DIGEST,
  type Field,
  HOLDER,
  ID,
  IN_FLIGHT,
  isRecord,
  LABELS,
  NETWORK,
  type Network,
  RATE,
  rateOf,
  SCOPES,
  shown,
} from './token-fields.ts'

/** A token as the set describes it. Times are Unix milliseconds. */
export interface TokenRecord {
  readonly id: string
  readonly holder: string
  /** SHA-256 of the token, lower-case hexadecimal; of a client certificate's name where that stands in for one. */
  readonly sha256: string
  /** The name of the client certificate that stands in for a token: `dns:agent-7.example.com`. */
  readonly clientCertificate?: string
  /** Valid from this moment on. */
  readonly notBeforeMs?: number
  /** Valid before this moment. */
  readonly expiresAtMs?: number
  /** Withdrawn from this moment on. */
  readonly revokedAtMs?: number
  /** A newer token of this holder has been delivered since; this one still works. */
  readonly retiringAtMs?: number
  /** The id of that newer token. */
  readonly replacedBy?: string
  readonly createdAtMs?: number
  /** Signals it may export; undefined for all. */
  readonly scopes?: ReadonlySet<Signal>
  /** Where it may be used from; undefined for anywhere. */
  readonly allowFrom?: readonly Network[]
  /** Its own limits; `off` lifts the default, undefined leaves it. */
  readonly limits?: OwnLimits
  readonly labels?: ReadonlyMap<string, string>
}

/** Limits written beside a token. */
export interface OwnLimits {
  readonly requests?: Rate | 'off'
  /** The burst is one second's worth; a single larger message overdraws it. */
  readonly bytes?: Rate | 'off'
  readonly inFlight?: number | 'off'
}

const TOKEN_FIELDS: ReadonlySet<string> = new Set([
  ...[
    'id',
    'holder',
    'sha256',
    'clientCertificate',
    'createdAt',
    'notBefore',
    'expiresAt',
    'retiringAt',
    'revokedAt',
  ],
  ...['replacedBy', 'scopes', 'allowFrom', 'limits', 'labels'],
])
const LIMIT_FIELDS: ReadonlySet<string> = new Set(['rate', 'burst', 'bytes', 'inFlight'])

/**
 * Reads one entry. What is wrong with it is added to `problems`, each beginning with `path`; the
 * record is then not to be used.
 */
export function recordFrom(raw: unknown, path: string, problems: string[]): TokenRecord {
  const empty = { id: '', holder: '', sha256: '' }
  if (!isRecord(raw)) {
    problems.push(`${path}: ${shown(raw)} is not a token; expected an object`)
    return empty
  }
  rejectUnknown(raw, TOKEN_FIELDS, `${path}.`, problems)
  const required = (name: string, field: Field<string>): string => {
    if (raw[name] === undefined)
      problems.push(`${path}.${name}: is missing; expected ${field.expected}`)
    return read(raw, name, field, path, problems) ?? ''
  }
  const notBeforeMs = read(raw, 'notBefore', DATE, path, problems)
  const expiresAtMs = read(raw, 'expiresAt', DATE, path, problems)
  if (notBeforeMs !== undefined && expiresAtMs !== undefined && notBeforeMs >= expiresAtMs)
    problems.push(`${path}.expiresAt: is not after notBefore, so the token would never be valid`)
  const replacedBy = read(raw, 'replacedBy', ID, path, problems)
  if (replacedBy !== undefined && replacedBy === raw.id)
    problems.push(`${path}.replacedBy: is the token itself; expected the id of a newer one`)
  return definedOnly({
    id: required('id', ID),
    holder: required('holder', HOLDER),
    ...credentialFrom(raw, path, problems),
    notBeforeMs,
    expiresAtMs,
    revokedAtMs: read(raw, 'revokedAt', DATE, path, problems),
    retiringAtMs: read(raw, 'retiringAt', DATE, path, problems),
    replacedBy,
    createdAtMs: read(raw, 'createdAt', DATE, path, problems),
    scopes: read(raw, 'scopes', SCOPES, path, problems),
    allowFrom: networksFrom(raw, path, problems),
    limits: limitsFrom(raw, path, problems),
    labels: read(raw, 'labels', LABELS, path, problems),
  })
}

/** A digest, or the name of a client certificate in its place. */
function credentialFrom(
  raw: Record<string, unknown>,
  path: string,
  problems: string[],
): { readonly sha256: string; readonly clientCertificate: string | undefined } {
  const name = read(raw, 'clientCertificate', CLIENT_CERTIFICATE, path, problems)
  const sha256 = read(raw, 'sha256', DIGEST, path, problems)
  if (raw.clientCertificate === undefined) {
    if (raw.sha256 === undefined)
      problems.push(
        `${path}.sha256: is missing; expected ${DIGEST.expected}; or clientCertificate in its place`,
      )
    return { sha256: sha256 ?? '', clientCertificate: undefined }
  }
  if (raw.sha256 !== undefined)
    problems.push(
      `${path}.clientCertificate: stands beside sha256; expected one of them: a token, or a certificate in place of one`,
    )
  return { sha256: name === undefined ? '' : certificateDigest(name), clientCertificate: name }
}

function networksFrom(
  raw: Record<string, unknown>,
  path: string,
  problems: string[],
): Network[] | undefined {
  const { allowFrom } = raw
  if (allowFrom === undefined) return undefined
  if (!Array.isArray(allowFrom) || allowFrom.length === 0 || allowFrom.length > 1000) {
    problems.push(
      `${path}.allowFrom: ${shown(allowFrom)} is not a list of 1 to 1000 addresses or CIDRs; ` +
        'leave the field out to allow all addresses',
    )
    return undefined
  }
  const entries = Object.fromEntries(
    allowFrom.map((entry, index) => [`allowFrom[${index}]`, entry]),
  )
  return Object.keys(entries).flatMap((name) => read(entries, name, NETWORK, path, problems) ?? [])
}

function limitsFrom(
  raw: Record<string, unknown>,
  parent: string,
  problems: string[],
): OwnLimits | undefined {
  const { limits } = raw
  if (limits === undefined) return undefined
  const path = `${parent}.limits`
  if (!isRecord(limits)) {
    problems.push(`${path}: ${shown(limits)} is not an object; expected e.g. {"rate": "50/s"}`)
    return undefined
  }
  rejectUnknown(limits, LIMIT_FIELDS, `${path}.`, problems)
  const rate = read(limits, 'rate', RATE, path, problems)
  const burst = read(limits, 'burst', BURST, path, problems)
  const bytes = read(limits, 'bytes', BYTE_RATE, path, problems)
  if (burst !== undefined && (limits.rate === undefined || rate === 'off'))
    problems.push(`${path}.burst: has no rate beside it; expected e.g. "rate": "50/s"`)
  return definedOnly({
    requests: typeof rate === 'number' ? rateOf(rate, burst) : rate,
    bytes: typeof bytes === 'number' ? rateOf(bytes, Math.ceil(bytes)) : bytes,
    inFlight: read(limits, 'inFlight', IN_FLIGHT, path, problems),
  })
}

function read<Value>(
  raw: Record<string, unknown>,
  name: string,
  field: Field<Value>,
  path: string,
  problems: string[],
): Value | undefined {
  const value = raw[name]
  if (value === undefined) return undefined
  const result = field.read(value)
  if (result === undefined) {
    const found = field.isHidden ? 'this' : shown(value)
    problems.push(`${path}.${name}: ${found} is not ${field.what}; expected ${field.expected}`)
  }
  return result
}

/** Adds a problem for each field that is not among `known`. */
export function rejectUnknown(
  raw: Record<string, unknown>,
  known: ReadonlySet<string>,
  prefix: string,
  problems: string[],
): void {
  for (const name of Object.keys(raw))
    if (!known.has(name))
      problems.push(`${prefix}${shown(name)}: unknown field; expected ${[...known].join(', ')}`)
}

/** Optional fields are absent rather than undefined (exactOptionalPropertyTypes). */
function definedOnly<Fields extends object>(fields: Fields): Defined<Fields> {
  return Object.fromEntries(
    Object.entries(fields).filter(([, value]) => value !== undefined),
  ) as Defined<Fields>
}

type Defined<Fields> = {
  [Name in keyof Fields as undefined extends Fields[Name] ? never : Name]: Fields[Name]
} & {
  [Name in keyof Fields as undefined extends Fields[Name] ? Name : never]?: Exclude<
    Fields[Name],
    undefined
  >
}
