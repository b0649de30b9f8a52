/**
 * JWTs as tokens of the gateway. Part of the composition root: joins the issuers with the token set
 * and tells what became of them.
 */
import type { Config } from './config/config.ts'
import { JwtNotices } from './observe/jwt-notices.ts'
import type { JwtReadings } from './observe/jwts.ts'
import type { Log } from './observe/log.ts'
import { Documents } from './oidc/documents.ts'
import { Issuer } from './oidc/issuer.ts'
import { JwtTokens, type OtherTokens } from './oidc/jwt-tokens.ts'
import type { Clock } from './pipeline/ports.ts'

/** The issuers of a running gateway. */
export interface JwtIssuers {
  /** The token set, with JWTs behind it. */
  readonly tokens: JwtTokens
  /** How many issuers' keys are there. */
  readonly ready: number
  /** For the metrics; `verifying` is known elsewhere. */
  readonly readings: Omit<JwtReadings, 'verifying'>
  /** Begins to read keys. Does not wait for them. */
  start(): void
  close(): Promise<void>
}

/** Undefined where no issuer is configured: the token set is then asked directly. */
export function createJwtIssuers(
  config: Config,
  tokens: OtherTokens,
  { log, clock }: { readonly log: Log; readonly clock: Clock },
): JwtIssuers | undefined {
  if (config.jwtIssuers.length === 0) return undefined
  const notices = new JwtNotices(log)
  const documents = new Documents()
  const issuers = config.jwtIssuers.map((url) => {
    const issuer: Issuer = new Issuer({
      url,
      jwksUrl: config.jwtJwks.find((at) => at.issuer === url)?.url,
      fetch: (at) => documents.fetch(at),
      clock,
      onRead: (problem) => notices.keysRead({ issuer: url, keys: issuer.keys?.size ?? 0, problem }),
    })
    return issuer
  })
  const jwts = new JwtTokens({
    tokens,
    issuers,
    rules: {
      audiences: config.jwtAudience,
      holderClaim: config.jwtHolderClaim,
      scopesClaim: config.jwtScopesClaim,
      requiresScopes: config.jwtRequireScopes === 'on',
      requiredClaims: config.jwtRequiredClaims,
      leewayMs: config.jwtLeewayMs,
    },
    algorithms: new Set(config.jwtAlgorithms),
    limits: {
      requests: config.tokenRequests,
      bytes: config.tokenBytes,
      inFlight: config.tokenInFlight,
    },
    clock,
    onVerdict: (verdict) => notices.refused(verdict, clock.wallMs()),
  })
  return {
    tokens: jwts,
    get ready() {
      return issuers.filter(({ keys }) => keys !== undefined).length
    },
    readings: {
      verdicts: () => jwts.verdicts(),
      tables: () => jwts.tables(),
      issuers: () =>
        issuers.map(({ url, keys, isGood, lastGoodMs }) => {
          return { issuer: url, keys: keys?.size ?? 0, isLastReadGood: isGood, lastGoodMs }
        }),
    },
    start() {
      for (const issuer of issuers) issuer.start()
    },
    async close() {
      for (const issuer of issuers) issuer.close()
      await documents.close()
    },
  }
}
