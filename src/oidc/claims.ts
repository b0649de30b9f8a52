/** What is asked of the claims of a JWT, and the token they make. */
import { hash } from 'node:crypto'
import { SIGNALS, type Signal } from '../otlp/signal.ts'
import type { Token, TokenLimits } from '../pipeline/ports.ts'
import type { Claims } from './jwt.ts'
import type { Flaw } from './verdict.ts'

/** Values of the scopes claim that concern us: `otlp:traces`. */
const SCOPE_PREFIX = 'otlp:'
/** A holder is shown this far, in characters. */
const MAX_HOLDER_LENGTH = 128
/** Hexadecimal digits of a JWT token's id: too many for two subjects to share one, or to be made to. */
const ID_DIGITS = 16
const UNSEEN = /[\p{C}\p{Zl}\p{Zp}]/gu

export interface ClaimRules {
  /** A JWT must be made for one of these. */
  readonly audiences: readonly string[]
  /** The claim that names who the JWT was given to. */
  readonly holderClaim: string
  /** The claim with the signals, as a text with spaces between or a list. */
  readonly scopesClaim: string
  /** Whether a JWT without `otlp:` scopes may export nothing. Otherwise everything. */
  readonly requiresScopes: boolean
  /** Claims that must have this value, or have it in their list. */
  readonly requiredClaims: readonly { readonly name: string; readonly value: string }[]
  /** How far clocks may differ. */
  readonly leewayMs: number
}

/** When a JWT is accepted, in Unix milliseconds, leeway included. */
export interface Validity {
  readonly fromMs: number
  readonly untilMs: number
}

/** When the claims let their JWT be accepted; undefined where they do not say it as they should. `exp` is required. */
export function validityOf({ exp, nbf }: Claims, { leewayMs }: ClaimRules): Validity | undefined {
  if (typeof exp !== 'number' || (nbf !== undefined && typeof nbf !== 'number')) return undefined
  return { fromMs: nbf === undefined ? 0 : nbf * 1000 - leewayMs, untilMs: exp * 1000 + leewayMs }
}

/** What is wrong with the time; undefined for nothing. */
export function timeFlaw({ fromMs, untilMs }: Validity, wallMs: number): Flaw | undefined {
  if (wallMs >= untilMs) return 'expired'
  return wallMs < fromMs ? 'not_yet_valid' : undefined
}

/** What is wrong with the claims of a JWT by a known issuer; undefined for nothing. */
export function claimsFlaw(claims: Claims, rules: ClaimRules, wallMs: number): Flaw | undefined {
  if (!rules.audiences.some((audience) => isIn(claims.aud, audience))) return 'audience'
  const validity = validityOf(claims, rules)
  if (validity === undefined || holderOf(claims, rules) === undefined) return 'claims'
  for (const { name, value } of rules.requiredClaims)
    if (!Object.hasOwn(claims, name) || !isIn(claims[name], value)) return 'claims'
  return timeFlaw(validity, wallMs)
}

/** The token that good claims make. Its id stands for issuer and subject, so budgets outlive one JWT. */
export function tokenOf(
  claims: Claims,
  issuer: string,
  rules: ClaimRules,
  limits: TokenLimits,
): Token {
  const subject = typeof claims.sub === 'string' ? claims.sub : String(claims[rules.holderClaim])
  const digest = hash('sha256', `${issuer}\n${subject}`)
  const holder = holderOf(claims, rules) ?? ''
  return {
    id: `jwt:${digest.slice(0, ID_DIGITS)}`,
    holder,
    scopes: scopesOf(claims, rules),
    limits,
  }
}

/** Bounded and printable, as it goes into logs and metrics. */
function holderOf(claims: Claims, { holderClaim }: ClaimRules): string | undefined {
  const value = Object.hasOwn(claims, holderClaim) ? claims[holderClaim] : undefined
  if (typeof value !== 'string') return undefined
  const shown = value.slice(0, MAX_HOLDER_LENGTH).toWellFormed().replace(UNSEEN, '\ufffd').trim()
  return shown === '' ? undefined : shown
}

/** Undefined for all signals. */
function scopesOf(
  claims: Claims,
  { scopesClaim, requiresScopes }: ClaimRules,
): ReadonlySet<Signal> | undefined {
  const value = Object.hasOwn(claims, scopesClaim) ? claims[scopesClaim] : undefined
  const words: readonly unknown[] = typeof value === 'string' ? value.split(' ') : [value].flat()
  const ours = words.filter((word) => typeof word === 'string' && word.startsWith(SCOPE_PREFIX))
  if (ours.length === 0 && !requiresScopes) return undefined
  return new Set(SIGNALS.filter((signal) => ours.includes(`${SCOPE_PREFIX}${signal}`)))
}

function isIn(claim: unknown, value: string): boolean {
  return [claim].flat().some((item) => isScalar(item) && String(item) === value)
}

function isScalar(value: unknown): boolean {
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean'
}
