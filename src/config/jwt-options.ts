/** The rows of the table of options that concern JWTs. */
import {
  algorithms,
  audiences,
  claimName,
  issuerUrls,
  jwksUrls,
  requiredClaims,
} from './issuers.ts'
import { option } from './option.ts'
import { duration } from './quantities.ts'
import { oneOf } from './words.ts'

const NONE: readonly never[] = Object.freeze([])

export const JWT_OPTIONS = {
  jwtIssuers: option({
    env: 'TOLLGATE_JWT_ISSUERS',
    group: 'JWT',
    kind: issuerUrls(),
    unset: NONE,
    about:
      'Whose JWTs are taken as tokens: URLs of OpenID Connect or OAuth issuers, as in the iss claim to the letter.',
  }),
  jwtAudience: option({
    env: 'TOLLGATE_JWT_AUDIENCE',
    group: 'JWT',
    kind: audiences(),
    unset: NONE,
    about: 'A JWT must be made for one of these (aud). Needed with issuers.',
  }),
  jwtHolderClaim: option({
    env: 'TOLLGATE_JWT_HOLDER_CLAIM',
    group: 'JWT',
    kind: claimName(),
    default: 'sub',
    about: 'The claim that is shown as the holder.',
  }),
  jwtScopesClaim: option({
    env: 'TOLLGATE_JWT_SCOPES_CLAIM',
    group: 'JWT',
    kind: claimName(),
    default: 'scope',
    about: 'The claim with the signals that may be exported, such as otlp:traces otlp:metrics.',
  }),
  jwtRequireScopes: option({
    env: 'TOLLGATE_JWT_REQUIRE_SCOPES',
    group: 'JWT',
    kind: oneOf('on', 'off'),
    default: 'off',
    about: 'Whether a JWT without any otlp: scope may export nothing; off: everything.',
  }),
  jwtRequiredClaims: option({
    env: 'TOLLGATE_JWT_REQUIRED_CLAIMS',
    group: 'JWT',
    kind: requiredClaims(),
    unset: NONE,
    about: 'Claims that must have this value, or have it in their list.',
  }),
  jwtLeewayMs: option({
    env: 'TOLLGATE_JWT_LEEWAY',
    group: 'JWT',
    kind: duration({ min: '0s', max: '5m' }),
    default: '30s',
    about: "How far the issuer's clock and ours may differ.",
  }),
  jwtAlgorithms: option({
    env: 'TOLLGATE_JWT_ALGORITHMS',
    group: 'JWT',
    kind: algorithms(),
    default: 'ES256,ES384,RS256,PS256,EdDSA',
    about: 'Signatures that are taken. Those with a shared secret (HS256, …) and none never are.',
  }),
  jwtJwks: option({
    env: 'TOLLGATE_JWT_JWKS',
    group: 'JWT',
    kind: jwksUrls(),
    unset: NONE,
    about: 'Where the keys of issuers are that have no discovery document.',
  }),
}
