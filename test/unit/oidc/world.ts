/** The surroundings of JWTs for their tests: an issuer with real keys that is asked without a network, and clocks set by hand. */
import assert from 'node:assert/strict'
import type { ClaimRules } from '../../../src/oidc/claims.ts'
import { DocumentFault } from '../../../src/oidc/documents.ts'
import { Issuer, type IssuerOptions } from '../../../src/oidc/issuer.ts'
import { JwtTokens, type OtherTokens } from '../../../src/oidc/jwt-tokens.ts'
import type { Clock, Token, TokenProblem } from '../../../src/pipeline/ports.ts'
import { Unverified } from '../../../src/pipeline/unverified.ts'
import { type SigningKey, sign } from '../../support/signing.ts'

export const ISSUER = 'https://login.example'
export const AUDIENCE = 'tollgate'
export const NO_LIMITS = { requests: undefined, bytes: undefined, inFlight: undefined }
export const PEER = { key: '203.0.113.7', address: '203.0.113.7' }

export function rulesOf(changes: Partial<ClaimRules> = {}): ClaimRules {
  return {
    audiences: [AUDIENCE],
    holderClaim: 'sub',
    scopesClaim: 'scope',
    requiresScopes: false,
    requiredClaims: [],
    leewayMs: 30_000,
    ...changes,
  }
}

/** An issuer whose documents the test writes. Undefined: it is away. */
export class FakeIssuer {
  readonly url: string
  keys: readonly unknown[] | undefined
  /** Each document that was asked for. */
  readonly asked: string[] = []
  discovery: unknown
  /** Set to make it answer when the test wants. */
  gate: Promise<void> = Promise.resolve()

  constructor(url: string, keys: readonly SigningKey[]) {
    this.url = url
    this.keys = keys.map(({ jwk }) => jwk)
    this.discovery = { issuer: url, jwks_uri: `${url}/keys` }
  }

  readonly fetch = async (url: URL): Promise<unknown> => {
    this.asked.push(url.href)
    await this.gate
    if (this.keys === undefined) throw new DocumentFault(`${url.href} is away`)
    return url.pathname.endsWith('openid-configuration') ? this.discovery : { keys: this.keys }
  }
}

export class JwtWorld {
  now = 1_000_000
  readonly clock: Clock = { nowMs: () => this.now, wallMs: () => this.now + 1.8e12 }
  readonly issuers: Issuer[] = []
  readonly tokens: JwtTokens
  /** What the token set says to everything that is shown. */
  ofSet: Token | TokenProblem = 'token_unknown'
  readonly usedOfSet: string[] = []

  constructor(
    fakes: readonly FakeIssuer[],
    rules: Partial<ClaimRules> = {},
    options: Partial<IssuerOptions> = {},
  ) {
    for (const { url, fetch } of fakes)
      this.issuers.push(
        new Issuer({ url, fetch, jwksUrl: undefined, clock: this.clock, ...options }),
      )
    const tokens: OtherTokens = {
      verify: () => this.ofSet,
      detailOf: () => undefined,
      ended: (_arrival, { token }) => token,
      storyOf: () => undefined,
      used: ({ id }) => this.usedOfSet.push(id),
    }
    this.tokens = new JwtTokens({
      tokens,
      issuers: this.issuers,
      rules: rulesOf(rules),
      algorithms: new Set(['ES256', 'RS256', 'EdDSA']),
      limits: NO_LIMITS,
      clock: this.clock,
    })
  }

  /** Starts the issuers and waits for their first read. */
  async start(): Promise<void> {
    for (const issuer of this.issuers) {
      issuer.start()
      await issuer.reading
    }
  }

  close(): void {
    for (const issuer of this.issuers) issuer.close()
  }

  /** Claims that nothing is wrong with. */
  claims(changes: Readonly<Record<string, unknown>> = {}): Record<string, unknown> {
    const seconds = Math.floor(this.clock.wallMs() / 1000)
    return { iss: ISSUER, aud: AUDIENCE, sub: 'shop', exp: seconds + 300, ...changes }
  }

  /** What is said of a bearer text at once. */
  ask(text: string, peer = PEER): Token | TokenProblem | Unverified {
    return this.tokens.verify(`Bearer ${text}`, peer, this.clock.wallMs())
  }

  /** What is said of it in the end: at once, or after its check. */
  async judge(text: string): Promise<Token | TokenProblem> {
    const said = this.ask(text)
    if (!(said instanceof Unverified)) return said
    const check = said.check()
    assert.ok(check !== undefined, 'a check was begun')
    return await check
  }

  /** Signs claims that nothing is wrong with, but for the changes. */
  signed(key: SigningKey, changes: Readonly<Record<string, unknown>> = {}): Promise<string> {
    return sign(key, this.claims(changes))
  }

  /** How many JWTs were looked at for the first time and came to this verdict. */
  count(verdict: string): number {
    return new Map<string, number>(this.tokens.verdicts()).get(verdict) ?? Number.NaN
  }
}
