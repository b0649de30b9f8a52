/** The public keys of an issuer. RFC 7517. */
import { createLocalJWKSet, type JSONWebKeySet, type JWTVerifyGetKey } from 'jose'
import { DocumentFault } from './documents.ts'

/** Most keys that one issuer may publish; large providers have fewer than ten. */
const MAX_KEYS = 100
/** Kinds of key that can be published. A symmetric one (`oct`) is a secret, and no signature proves anything then. */
const PUBLIC_KINDS: ReadonlySet<unknown> = new Set(['RSA', 'EC', 'OKP'])

export interface KeySet {
  /** Usable keys. */
  readonly size: number
  /** Whether a key of this name is there. */
  has(kid: string): boolean
  /** Finds the key for a JWT's header, for `jwtVerify`. */
  readonly find: JWTVerifyGetKey
}

/**
 * Reads a JWK Set. Keys that are no public signature keys are left out.
 *
 * @throws {DocumentFault} where nothing usable is in it. `source` names it in the message.
 */
export function keySetFrom(document: unknown, source: string): KeySet {
  const listed = isRecord(document) ? document.keys : undefined
  if (!Array.isArray(listed)) throw new DocumentFault(`${source} is no set of keys`)
  if (listed.length > MAX_KEYS)
    throw new DocumentFault(`${source} has ${listed.length} keys; expected at most ${MAX_KEYS}`)
  const keys = listed.filter(isUsable)
  if (keys.length === 0) throw new DocumentFault(`${source} has no public key for signatures`)
  const names = new Set(keys.map(({ kid }) => kid))
  return {
    size: keys.length,
    has: (kid) => names.has(kid),
    find: createLocalJWKSet({ keys } as unknown as JSONWebKeySet),
  }
}

function isUsable(key: unknown): key is Readonly<Record<string, unknown>> {
  if (!isRecord(key)) return false
  const { kty, use, d } = key
  return PUBLIC_KINDS.has(kty) && (use === undefined || use === 'sig') && d === undefined
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
