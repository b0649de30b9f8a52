/**
 * JWTs as another kind of token. Stands in front of the token set: what that does not know and what
 * has the shape of a JWT is looked at here. A JWT that was verified once is a look-up until it
 * expires; one seen for the first time comes back `Unverified` after everything that costs little.
 * A token of the set costs what it costs without: one look-up.
 */
import { hash } from 'node:crypto'
import type { Arrival, ClientCertificate, Peer } from '../pipeline/arrival.ts'
import type { Clock, Ending, Token, TokenLimits, TokenProblem, Tokens } from '../pipeline/ports.ts'
import { Unverified } from '../pipeline/unverified.ts'
import {
  type ClaimRules,
  claimsFlaw,
  timeFlaw,
  tokenOf,
  type Validity,
  validityOf,
} from './claims.ts'
import type { Issuer } from './issuer.ts'
import { type Claims, type Jwt, jwtFrom, MAX_JWT_LENGTH, readJwt } from './jwt.ts'
import { prove } from './prove.ts'
import { Remembered } from './remembered.ts'
import { Subjects, type SubjectUsage } from './subjects.ts'
import { type Flaw, VERDICTS, type Verdict } from './verdict.ts'

/** JWTs remembered as good, by digest, and as bad. */
const MAX_REMEMBERED = 10_000
/** Headers remembered whole, so that a busy agent's is not hashed for each request. */
const MAX_HEADERS = 2000
const MAX_SUBJECTS = 10_000
/** Where the text of a bearer token begins as a rule. Elsewhere it is found by its digest. */
const TEXT_AT = 'Bearer '.length
/** A bad JWT that comes again within this time is refused without a look. */
const BAD_MS = 10_000
/** Checks at once, over all and for one address. Signatures take a fraction of a millisecond; keys may take seconds. */
const MAX_CHECKS = 1024
const MAX_CHECKS_A_PEER = 64

/** The tokens that are not JWTs, and what is booked to them. */
export interface OtherTokens extends Tokens {
  /** A request has ended. The token that it showed, as far as it is known. */
  ended(arrival: Arrival, ending: Ending, wallMs: number): Token | undefined
  /** Why a token is not accepted, for the operator. */
  storyOf(token: Token, wallMs: number): string | undefined
}

export interface JwtTokensOptions {
  /** Asked first. */
  readonly tokens: OtherTokens
  readonly issuers: readonly Issuer[]
  readonly rules: ClaimRules
  /** Signature algorithms that are allowed. */
  readonly algorithms: ReadonlySet<string>
  /** Limits of every subject. */
  readonly limits: TokenLimits
  readonly clock: Clock
  /** Told of each JWT that was looked at for the first time. */
  readonly onVerdict?: (verdict: Verdict) => void
}

/** Told apart from tokens of the set by its class. */
class JwtToken implements Token {
  readonly id: string
  readonly holder: string
  readonly scopes: Token['scopes']
  readonly limits: TokenLimits

  constructor({ id, holder, scopes, limits }: Token) {
    this.id = id
    this.holder = holder
    this.scopes = scopes
    this.limits = limits
  }
}

interface Good extends Validity {
  readonly token: JwtToken
}

export class JwtTokens implements OtherTokens {
  readonly #options: JwtTokensOptions
  readonly #tokens: OtherTokens
  readonly #issuers: ReadonlyMap<unknown, Issuer>
  readonly #good = new Remembered<Good>(MAX_REMEMBERED)
  readonly #bad = new Remembered<{ readonly flaw: Flaw; readonly untilMs: number }>(MAX_REMEMBERED)
  readonly #subjects = new Subjects(MAX_SUBJECTS)
  readonly #checks = new Map<string, Promise<Token | TokenProblem>>()
  readonly #checksByPeer = new Map<string, number>()
  readonly #verdicts = new Map(Object.keys(VERDICTS).map((verdict) => [verdict as Verdict, 0]))
  /** Only of JWTs that are good: strangers cannot fill it. */
  readonly #byHeader = new Map<string, Good>()

  constructor(options: JwtTokensOptions) {
    this.#options = options
    this.#tokens = options.tokens
    this.#issuers = new Map(options.issuers.map((issuer) => [issuer.url, issuer]))
  }

  verify(
    authorization: string | undefined,
    peer: Peer,
    wallMs: number,
    certificate?: ClientCertificate,
  ): Token | TokenProblem | Unverified {
    if (authorization?.startsWith('eyJ', TEXT_AT)) {
      const known = this.#byHeader.get(authorization)
      if (known !== undefined) return inTime(known, wallMs)
    }
    const found = this.#tokens.verify(authorization, peer, wallMs, certificate)
    if (found !== 'token_unknown' && found !== 'tokens_unavailable') return found
    if (authorization === undefined) return found
    const text = jwtFrom(authorization)
    if (text === undefined) return found
    const judged = this.#judge(text, authorization, peer, wallMs)
    // It may yet be in the set, where that has never been read.
    return judged === 'token_unknown' ? found : judged
  }

  detailOf(
    authorization: string | undefined,
    wallMs: number,
    certificate?: ClientCertificate,
  ): string | undefined {
    return this.#tokens.detailOf(authorization, wallMs, certificate)
  }

  used(token: Token, arrival: Arrival, wallMs: number): void {
    if (token instanceof JwtToken) this.#subjects.used(token, wallMs)
    else this.#tokens.used(token, arrival, wallMs)
  }

  ended(arrival: Arrival, ending: Ending, wallMs: number): Token | undefined {
    const { authorization } = arrival
    const { token = authorization && this.#byHeader.get(authorization)?.token } = ending
    if (!(token instanceof JwtToken)) return this.#tokens.ended(arrival, ending, wallMs)
    this.#subjects.ended(token, ending)
    return token
  }

  storyOf(token: Token, wallMs: number): string | undefined {
    return this.#tokens.storyOf(token, wallMs)
  }

  /** Use by subject since the start. */
  usage(): Iterable<SubjectUsage> {
    return this.#subjects.usage()
  }

  /** JWTs looked at for the first time, by what became of them. */
  verdicts(): Iterable<readonly [verdict: Verdict, count: number]> {
    return this.#verdicts
  }

  /** Sizes of the tables and what they have had to forget, for the metrics. */
  tables(): readonly {
    readonly table: string
    readonly size: number
    readonly evictions: number
  }[] {
    return [
      { table: 'verified', size: this.#good.size, evictions: this.#good.evictions },
      { table: 'refused', size: this.#bad.size, evictions: this.#bad.evictions },
      { table: 'subjects', size: this.#subjects.size, evictions: this.#subjects.evictions },
    ]
  }

  /** Reads all keys now, and has every JWT verified again with them. */
  async reload(): Promise<void> {
    await Promise.all(this.#options.issuers.map((issuer) => issuer.refreshed()))
    this.#good.clear()
    this.#bad.clear()
    this.#byHeader.clear()
  }

  /** Everything that costs little, the signature left out. */
  #judge(
    text: string,
    authorization: string,
    peer: Peer,
    wallMs: number,
  ): Token | TokenProblem | Unverified {
    const { algorithms, rules, limits, clock } = this.#options
    if (text.length > MAX_JWT_LENGTH) return this.#refuse('too_large')
    const digest = hash('sha256', text, 'base64url')
    const good = this.#good.get(digest)
    if (good !== undefined) {
      this.#rememberHeader(authorization, good)
      return inTime(good, wallMs)
    }
    const bad = this.#bad.get(digest)
    if (bad !== undefined && clock.nowMs() < bad.untilMs) return VERDICTS[bad.flaw]
    const jwt = readJwt(text)
    if (typeof jwt === 'string') return this.#refuse(jwt)
    const issuer = this.#issuers.get(jwt.claims.iss)
    if (issuer === undefined) return this.#refuse('unknown_issuer')
    if (!algorithms.has(jwt.algorithm)) return this.#refuse('algorithm')
    const flaw = claimsFlaw(jwt.claims, rules, wallMs)
    if (flaw !== undefined) return this.#refuse(flaw)
    if (issuer.keys === undefined && issuer.reading === undefined)
      return this.#refuse('unavailable')
    const claimed = { ...tokenOf(jwt.claims, issuer.url, rules, limits), scopes: undefined }
    return new Unverified(claimed, () => this.#check(digest, authorization, jwt, issuer, peer))
  }

  #check(
    digest: string,
    authorization: string,
    jwt: Jwt,
    issuer: Issuer,
    peer: Peer,
  ): Promise<Token | TokenProblem> | undefined {
    const running = this.#checks.get(digest)
    if (running !== undefined) return running
    const ofPeer = this.#checksByPeer.get(peer.key) ?? 0
    if (this.#checks.size >= MAX_CHECKS || ofPeer >= MAX_CHECKS_A_PEER) {
      this.#count('overloaded')
      return undefined
    }
    const check = prove(jwt, issuer, this.#options)
      .then((proved) => this.#settle(digest, authorization, proved, issuer))
      .finally(() => {
        this.#checks.delete(digest)
        const left = (this.#checksByPeer.get(peer.key) ?? 1) - 1
        if (left > 0) this.#checksByPeer.set(peer.key, left)
        else this.#checksByPeer.delete(peer.key)
      })
    this.#checks.set(digest, check)
    this.#checksByPeer.set(peer.key, ofPeer + 1)
    return check
  }

  #settle(
    digest: string,
    authorization: string,
    proved: Claims | Flaw,
    issuer: Issuer,
  ): Token | TokenProblem {
    const { rules, limits, clock } = this.#options
    if (typeof proved === 'string') {
      const untilMs = clock.nowMs() + BAD_MS
      if (proved !== 'unavailable') this.#bad.set(digest, { flaw: proved, untilMs }, clock.nowMs())
      return this.#refuse(proved)
    }
    const validity = validityOf(proved, rules)
    if (validity === undefined) throw new TypeError('BUG: proved claims without their validity')
    const token = new JwtToken(tokenOf(proved, issuer.url, rules, limits))
    const good = { token, ...validity }
    this.#good.set(digest, good, clock.wallMs())
    this.#rememberHeader(authorization, good)
    this.#subjects.seen(token)
    this.#count('verified')
    return token
  }

  #rememberHeader(authorization: string, good: Good): void {
    if (this.#byHeader.size >= MAX_HEADERS) this.#byHeader.clear()
    this.#byHeader.set(authorization, good)
  }

  #refuse(flaw: Flaw): TokenProblem {
    this.#count(flaw)
    return VERDICTS[flaw]
  }

  #count(verdict: Verdict): void {
    this.#verdicts.set(verdict, (this.#verdicts.get(verdict) ?? 0) + 1)
    this.#options.onVerdict?.(verdict)
  }
}

/** The clock moves on, and back: asked for each request. */
function inTime(good: Good, wallMs: number): Token | TokenProblem {
  const flaw = timeFlaw(good, wallMs)
  return flaw === undefined ? good.token : VERDICTS[flaw]
}
