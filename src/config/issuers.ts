/** How JWTs are configured: issuers, where their keys are, claims, algorithms. */
import { isLoopback } from './addresses.ts'
import { Expected, type Kind, listOf } from './kind.ts'

/** Most issuers at once. */
const MAX_ISSUERS = 16
const MAX_VALUES = 32
const MAX_LENGTH = 512
/** Every signature that is not made with a shared secret. */
const ALGORITHMS = [
  ...['ES256', 'ES384', 'ES512', 'RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'],
  'EdDSA',
] as const

/** Where the keys of an issuer are that has no discovery document. */
export interface JwksAddress {
  readonly issuer: string
  readonly url: string
}

/** A claim and the value that it must have. */
export interface RequiredClaim {
  readonly name: string
  readonly value: string
}

/**
 * URLs of issuers as they stand in the `iss` claim, to the letter: a slash at the end counts. https,
 * except on this machine; no query and no fragment (OpenID Connect Discovery 1.0 section 3).
 */
export function issuerUrls(): Kind<readonly string[]> {
  return several('URL', MAX_ISSUERS, (text) => {
    const isIssuer = isHttps(text) && !/[?#]/.test(text)
    return isIssuer ? text : new Expected('URLs such as https://login.example.com/realms/main')
  })
}

/** `issuer=URL of its keys`. */
export function jwksUrls(): Kind<readonly JwksAddress[]> {
  return several('issuer=URL', MAX_ISSUERS, (text) => {
    const { name: issuer, value: url } = pairFrom(text)
    const isGood = isHttps(issuer) && isHttps(url)
    if (isGood) return Object.freeze({ issuer, url })
    return new Expected('an issuer, =, and the URL of its keys, both https')
  })
}

/** Whom a JWT has to be made for. */
export function audiences(): Kind<readonly string[]> {
  return several('name', MAX_VALUES, (text) =>
    isPrintable(text) ? text : new Expected(`names of 1 to ${MAX_LENGTH} printable characters`),
  )
}

/** `name=value`. The value may hold `=`. */
export function requiredClaims(): Kind<readonly RequiredClaim[]> {
  return several('claim=value', MAX_VALUES, (text) => {
    const { name, value } = pairFrom(text)
    const isGood = isPrintable(name) && isPrintable(value)
    if (isGood) return Object.freeze({ name, value })
    return new Expected('claims with their values, such as azp=collector')
  })
}

/** The name of a claim. */
export function claimName(): Kind<string> {
  const expected = new Expected('the name of one claim, such as sub')
  return {
    form: 'claim',
    parse: (text) => (isPrintable(text) && !/[\s,=]/.test(text) ? text : expected),
  }
}

/** Signature algorithms. `none` and those with a shared secret (HS256, …) can never be allowed. */
export function algorithms(): Kind<readonly string[]> {
  const known: ReadonlySet<string> = new Set(ALGORITHMS)
  return several('algorithm', ALGORITHMS.length, (text) =>
    known.has(text) ? text : new Expected(`some of ${ALGORITHMS.join(', ')}`),
  )
}

/** At least one and at most `max` values, separated by commas. */
function several<T>(
  form: string,
  max: number,
  parse: (text: string) => T | Expected,
): Kind<readonly T[]> {
  const list = listOf({ form, parse })
  return {
    form: list.form,
    parse(text, surroundings) {
      const values = list.parse(text, surroundings)
      if (values instanceof Expected || (values.length > 0 && values.length <= max)) return values
      return new Expected(`1 to ${max} values with commas between`)
    },
  }
}

function pairFrom(text: string): RequiredClaim {
  const at = text.indexOf('=')
  return at < 0
    ? { name: text, value: '' }
    : { name: text.slice(0, at).trim(), value: text.slice(at + 1).trim() }
}

function isHttps(text: string): boolean {
  if (!isPrintable(text) || text.includes('@') || !URL.canParse(text)) return false
  const { protocol, hostname } = new URL(text)
  if (protocol === 'https:') return true
  return protocol === 'http:' && isLoopback(hostname === '[::1]' ? '::1' : hostname)
}

function isPrintable(text: string): boolean {
  return text.length > 0 && text.length <= MAX_LENGTH && !/[\p{C}\p{Zl}\p{Zp}]/u.test(text)
}
