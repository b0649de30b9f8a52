/** A JWT as it was presented: taken apart, and nothing of it believed. RFC 7515 section 7.1, RFC 7519. */
import type { Flaw } from './verdict.ts'

/** Longest JWT that is looked at, in characters; that is the caller's to hold. */
export const MAX_JWT_LENGTH = 8192
/** Longest name of a key. */
const MAX_KID_LENGTH = 256

/** Three parts in base64url, the first of which begins with `{"`. A signature that is missing makes it no JWT. */
const SHAPE = /^eyJ[\w-]+\.[\w-]+\.[\w-]+$/

/**
 * Types of token that may be an access token (RFC 8725 section 3.11): `at+jwt` of RFC 9068, and what
 * issuers from before it write.
 */
const TYPES: ReadonlySet<unknown> = new Set([undefined, 'jwt', 'at+jwt', 'application/at+jwt'])

export type Claims = Readonly<Record<string, unknown>>

/** What a JWT says of itself. */
export interface Jwt {
  readonly text: string
  readonly algorithm: string
  /** The name of the key; undefined where it names none. All other ways to name a key are ignored. */
  readonly kid: string | undefined
  readonly claims: Claims
}

/** The text of a bearer token that has the shape of a JWT; undefined for any other. */
export function jwtFrom(authorization: string): string | undefined {
  if (authorization.slice(0, 7).toLowerCase() !== 'bearer ') return undefined
  const text = authorization.slice(7).trim()
  return SHAPE.test(text) ? text : undefined
}

/**
 * Takes a JWT apart. A claim that comes twice counts as its last, as everywhere in JSON: the claims
 * that are signed are read in the same way.
 */
export function readJwt(text: string): Jwt | Flaw {
  const [head = '', body = ''] = text.split('.')
  const header = recordFrom(head)
  const claims = recordFrom(body)
  if (header === undefined || claims === undefined) return 'malformed'
  const { alg, kid, typ, crit } = header
  if (typeof alg !== 'string') return 'malformed'
  if (kid !== undefined && (typeof kid !== 'string' || kid.length > MAX_KID_LENGTH))
    return 'malformed'
  // No extension that a header may call critical is known here.
  if (crit !== undefined) return 'malformed'
  if (!TYPES.has(typeof typ === 'string' ? typ.toLowerCase() : typ)) return 'malformed'
  // Bound to a key of its sender's (RFC 7800), who would have to prove that he has it.
  if (claims.cnf !== undefined) return 'malformed'
  return { text, algorithm: alg, kid, claims }
}

function recordFrom(part: string): Claims | undefined {
  try {
    const value: unknown = JSON.parse(Buffer.from(part, 'base64url').toString())
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Claims)
      : undefined
  } catch {
    return undefined
  }
}
