/** The part of a check that costs something: the signature, and the keys where they are not there yet. */
import { jwtVerify } from 'jose'
import type { Clock } from '../pipeline/ports.ts'
import { type ClaimRules, claimsFlaw } from './claims.ts'
import type { Issuer } from './issuer.ts'
import type { Claims, Jwt } from './jwt.ts'
import type { KeySet } from './key-set.ts'
import type { Flaw } from './verdict.ts'

export interface ProofOptions {
  /** Signature algorithms that are allowed; never `none` and none with a shared secret. */
  readonly algorithms: ReadonlySet<string>
  readonly rules: ClaimRules
  readonly clock: Clock
}

/** The claims that are proved, or what is wrong. Never rejects for what an outsider sends. */
export async function prove(
  jwt: Jwt,
  issuer: Issuer,
  { algorithms, rules, clock }: ProofOptions,
): Promise<Claims | Flaw> {
  const keys = await keysFor(jwt, issuer)
  if (keys === undefined) return 'unavailable'
  if (jwt.kid !== undefined && !keys.has(jwt.kid)) return 'unknown_key'
  try {
    const { payload } = await jwtVerify(jwt.text, keys.find, {
      algorithms: [...algorithms],
      issuer: issuer.url,
      audience: [...rules.audiences],
      requiredClaims: ['exp'],
      clockTolerance: rules.leewayMs / 1000,
      currentDate: new Date(clock.wallMs()),
    })
    return claimsFlaw(payload, rules, clock.wallMs()) ?? payload
  } catch (thrown) {
    return flawOf(thrown)
  }
}

/** The issuer's keys, read anew where the one that the JWT names is not among them. */
async function keysFor({ kid }: Jwt, issuer: Issuer): Promise<KeySet | undefined> {
  const isMissing = () => kid !== undefined && issuer.keys?.has(kid) === false
  const { keys, reading } = issuer
  // The read under way may bring it: after a rotation everybody asks at once.
  if (reading !== undefined && (keys === undefined || isMissing())) await reading
  if (isMissing()) await issuer.refreshed()
  return issuer.keys
}

/** What jose's refusal means. Whatever is not listed is a JWT that could not be read to its end. */
const FLAWS: Readonly<Record<string, Flaw>> = {
  ERR_JWS_SIGNATURE_VERIFICATION_FAILED: 'signature',
  ERR_JOSE_ALG_NOT_ALLOWED: 'algorithm',
  // A key of this name is there, but for another algorithm; or none is named and several would do.
  ERR_JWKS_NO_MATCHING_KEY: 'unknown_key',
  ERR_JWKS_MULTIPLE_MATCHING_KEYS: 'unknown_key',
  ERR_JWT_CLAIM_VALIDATION_FAILED: 'claims',
  ERR_JWT_EXPIRED: 'expired',
}

function flawOf(thrown: unknown): Flaw {
  const code = thrown instanceof Error && 'code' in thrown ? String(thrown.code) : ''
  return FLAWS[code] ?? 'malformed'
}
