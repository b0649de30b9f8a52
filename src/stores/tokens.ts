/**
 * The tokens in force: which one an Authorization header holds, and what became of each. Looked up by
 * digest, so the cost does not grow with their number and the time a lookup takes says nothing about
 * any of them.
 */
import type { Arrival, ClientCertificate, Peer } from '../pipeline/arrival.ts'
import { REFUSAL_REASONS, type Reason, type RefusalReason } from '../pipeline/outcome.ts'
import type { Ending, Token, TokenLimits, TokenProblem, Tokens } from '../pipeline/ports.ts'
import { bearerFrom } from './bearer.ts'
import { certificateDigest } from './certificate-name.ts'
import {
  isAllowedFrom,
  type Kin,
  type KnownToken,
  knownTokensFrom,
  noteUse,
  usedSuccessor,
} from './known-token.ts'
import { type Account, Ledger } from './ledger.ts'
import type { TokenRecord } from './token-record.ts'
import { digestOf } from './token-secret.ts'
import type { TokenSet } from './token-set.ts'
import { isAccepted, stateOf, type TokenState } from './token-state.ts'

/** Authorization headers whose token is known are remembered, so that a busy agent's is hashed once. */
const MAX_REMEMBERED = 10_000
/** A token that lives by grace is told of once in this time. */
const GRACE_TOLD_MS = 3_600_000

const REFUSALS: ReadonlySet<Reason> = new Set<Reason>(REFUSAL_REASONS)

export interface TokenStoreOptions {
  /** Limits of a token that names none of its own. */
  readonly defaultLimits: TokenLimits
  /**
   * How long after its end a token is accepted while its holder has not been seen with a newer one.
   * A revoked token never is. Default 0: not at all.
   */
  readonly graceMs?: number
  /** Told of a token that was used by grace, at most once an hour for each. */
  readonly onGrace?: (late: LateToken) => void
  /** Whether a client certificate has been revoked since its connection began. */
  readonly isRevoked?: (certificate: ClientCertificate) => boolean
}

/** A token that is past its end and still in use. */
export interface LateToken {
  readonly id: string
  readonly holder: string
  readonly address: string
  readonly expiredAtMs: number
  /** When the grace is over. */
  readonly untilMs: number
}

/** One token of the set, at a moment. */
export interface TokenStatus {
  readonly record: TokenRecord
  readonly state: TokenState
  /** Whether it lets in now: by its state, or by grace. */
  readonly isAccepted: boolean
  readonly account: Account
}

export class TokenStore implements Tokens {
  readonly #options: TokenStoreOptions
  readonly #graceMs: number
  readonly #ledger = new Ledger()
  #byDigest: ReadonlyMap<string, KnownToken> | undefined
  #byId: ReadonlyMap<string, KnownToken> = new Map()
  /** Only of tokens in the set: strangers cannot fill it. Emptied with each set. */
  #byHeader = new Map<string, KnownToken>()
  /** What each connection's certificate stands for; null for nothing. Emptied with each set. */
  #byCertificate = new WeakMap<ClientCertificate, KnownToken | null>()
  #isComplete = true
  #isChanged = false
  #onChange: (() => void) | undefined

  constructor(options: TokenStoreOptions) {
    this.#options = options
    this.#graceMs = options.graceMs ?? 0
  }

  /** Whether a set was ever loaded. Until then nobody is judged: `tokens_unavailable`. */
  get isLoaded(): boolean {
    return this.#byDigest !== undefined
  }

  /** Tokens in the set, valid now or not. */
  get count(): number {
    return this.#byId.size
  }

  /**
   * Puts a set in force, all of it at once, and returns how many tokens it has. What the ledger knows
   * is kept for ids that still stand for the same token. A set is not complete while a place that it
   * comes from has never been read: a token that is not in it may be in there, so it is
   * `tokens_unavailable` and nobody's offence.
   */
  swap(
    set: Pick<TokenSet, 'records'>,
    { isComplete = true }: { readonly isComplete?: boolean } = {},
  ): number {
    const known = knownTokensFrom(set.records, this.#options.defaultLimits, this.#ledger)
    this.#byDigest = new Map(known.map((entry) => [entry.record.sha256, entry]))
    this.#byId = new Map(known.map((entry) => [entry.record.id, entry]))
    this.#byHeader = new Map()
    this.#byCertificate = new WeakMap()
    this.#isComplete = isComplete
    this.#changed()
    return known.length
  }

  /**
   * The token that an Authorization header holds, or why it is not accepted. A revoked token counts
   * as expired: its agent missed a rotation and is no attacker. A client certificate counts where the
   * header holds no token.
   */
  verify(
    authorization: string | undefined,
    peer: Peer,
    wallMs: number,
    certificate?: ClientCertificate,
  ): Token | TokenProblem {
    if (this.#byDigest === undefined) return 'tokens_unavailable'
    let entry = this.#entryOf(authorization, this.#byDigest)
    if (entry === 'token_missing' && certificate !== undefined) {
      if (this.#endOf(certificate, wallMs) !== undefined) return 'token_expired'
      entry = this.#entryOfCertificate(certificate) ?? this.#unknownCertificate()
    }
    if (typeof entry === 'string') return entry
    const state = stateOf(entry.record, wallMs)
    if (state === 'not_yet_valid') return 'token_not_yet_valid'
    if (!isAccepted(state) && !this.#hasGrace(entry, state, wallMs)) return 'token_expired'
    return isAllowedFrom(entry, peer.address) ? entry.token : 'scope_denied'
  }

  /** Since when a token of the set is not accepted: it is the client's own, so it may know. */
  detailOf(
    authorization: string | undefined,
    wallMs: number,
    certificate?: ClientCertificate,
  ): string | undefined {
    const { record } = this.#shown(authorization, certificate) ?? {}
    if (record === undefined) return undefined
    if (certificate !== undefined && record.clientCertificate !== undefined) {
      const end = this.#endOf(certificate, wallMs)
      if (end !== undefined) return end
    }
    const state = stateOf(record, wallMs)
    if (state === 'revoked') return `it was revoked on ${iso(record.revokedAtMs)}`
    if (state === 'expired') return `it expired on ${iso(record.expiresAtMs)}`
    return state === 'not_yet_valid' ? `it is valid from ${iso(record.notBeforeMs)}` : undefined
  }

  /** Remembers that a token was admitted. Ignored when the set no longer has it. */
  used(token: Token, arrival: Arrival, wallMs: number): void {
    const entry = this.#byId.get(token.id)
    if (entry === undefined) return
    const { record, account } = entry
    const isFirst = account.firstUsedMs === 0
    account.used(arrival, wallMs)
    if (isFirst) noteUse(entry)
    if (record.retiringAtMs !== undefined && wallMs >= record.retiringAtMs)
      account.retiringUses += 1
    if (record.expiresAtMs !== undefined && wallMs >= record.expiresAtMs)
      this.#usedByGrace(entry, record.expiresAtMs, wallMs)
    this.#changed()
  }

  /**
   * Books the end of a request to its token, if it carried one of the set, accepted or not; returns
   * that token. Not for requests of strangers: nothing is hashed here.
   */
  ended(arrival: Arrival, { outcome, token, bytesIn }: Ending, wallMs: number): Token | undefined {
    const entry =
      token === undefined
        ? this.#shown(arrival.authorization, arrival.certificate)
        : this.#byId.get(token.id)
    if (entry === undefined) return token
    if (isRefusal(outcome)) entry.account.refused(arrival, outcome, wallMs)
    else if (token !== undefined) entry.account.bytes += bytesIn
    else return entry.token
    this.#changed()
    return entry.token
  }

  /**
   * Why a token of the set is not accepted and what its holder has instead, for the operator: ids and
   * times. Undefined where it is accepted.
   */
  storyOf(token: Token, wallMs: number): string | undefined {
    const entry = this.#byId.get(token.id)
    if (entry === undefined) return undefined
    const { record, kin, place } = entry
    const state = stateOf(record, wallMs)
    if (state !== 'revoked' && state !== 'expired') return undefined
    const retired =
      record.retiringAtMs === undefined ? '' : `was retired on ${iso(record.retiringAtMs)} and `
    const ended =
      state === 'revoked'
        ? `was revoked on ${iso(record.revokedAtMs)}`
        : `expired on ${iso(record.expiresAtMs)}`
    const used = usedSuccessor(entry)
    const newest = kin.members.at(-1)
    const others =
      used !== undefined
        ? `its holder's newer token ${used.record.id} is in use since ${iso(used.account.firstUsedMs)}`
        : newest !== undefined && newest.place > place
          ? `its holder's newer token ${newest.record.id} has never been used`
          : 'its holder has no newer token'
    return `token ${record.id} ${retired}${ended}; ${others}`
  }

  /** Every token of the set at `wallMs`, in the set's order. */
  *statuses(wallMs: number): Generator<TokenStatus> {
    const oldestUnretired = new Map<Kin, number>()
    for (const entry of this.#byId.values()) {
      const { record, account, kin, place } = entry
      let oldest = oldestUnretired.get(kin)
      if (oldest === undefined) {
        oldest = kin.members.findIndex((member) => stateOf(member.record, wallMs) === 'current')
        oldestUnretired.set(kin, oldest)
      }
      const isWaiting = account.firstUsedMs === 0 && oldest >= 0 && oldest < place
      const state = stateOf(record, wallMs, isWaiting)
      yield {
        record,
        state,
        isAccepted: isAccepted(state) || this.#hasGrace(entry, state, wallMs),
        account,
      }
    }
  }

  /** What is worth keeping over a restart, by id, as it is while it is walked through. */
  accounts(wallMs: number): Iterable<readonly [string, Account]> {
    this.#isChanged = false
    this.#ledger.forget(wallMs)
    return this.#ledger.entries()
  }

  /** Puts back what an earlier process kept. */
  restore(kept: Iterable<readonly [string, Account]>): void {
    for (const [id, account] of kept) this.#ledger.restore(id, account)
    for (const entry of this.#byId.values()) noteUse(entry)
  }

  /** `onChange` is called once there is something new to keep, and not again until it was asked for. */
  watch(onChange: () => void): void {
    this.#onChange = onChange
    if (this.#isChanged) onChange()
  }

  #entryOf(
    authorization: string | undefined,
    byDigest: ReadonlyMap<string, KnownToken>,
  ): KnownToken | TokenProblem {
    if (authorization === undefined) return 'token_missing'
    const remembered = this.#byHeader.get(authorization)
    if (remembered !== undefined) return remembered
    const presented = bearerFrom(authorization)
    if (typeof presented === 'string') return presented
    const entry = byDigest.get(digestOf(presented.text))
    if (entry === undefined) return this.#isComplete ? 'token_unknown' : 'tokens_unavailable'
    if (this.#byHeader.size >= MAX_REMEMBERED) this.#byHeader.clear()
    this.#byHeader.set(authorization, entry)
    return entry
  }

  /** The entry behind what a request carried, as far as it costs nothing to know. */
  #shown(
    authorization: string | undefined,
    certificate: ClientCertificate | undefined,
  ): KnownToken | undefined {
    const entry = authorization === undefined ? undefined : this.#byHeader.get(authorization)
    if (entry !== undefined || certificate === undefined) return entry
    const hasToken = authorization !== undefined && bearerFrom(authorization) !== 'token_missing'
    return hasToken ? undefined : this.#entryOfCertificate(certificate)
  }

  /** The entry that names a certificate: by the most exact of its names that any entry has. */
  #entryOfCertificate(certificate: ClientCertificate): KnownToken | undefined {
    let entry = this.#byCertificate.get(certificate)
    if (entry === undefined) {
      entry = null
      for (const name of certificate.names) {
        entry = this.#byDigest?.get(certificateDigest(name)) ?? null
        if (entry !== null) break
      }
      this.#byCertificate.set(certificate, entry)
    }
    return entry ?? undefined
  }

  #unknownCertificate(): TokenProblem {
    return this.#isComplete ? 'certificate_unknown' : 'tokens_unavailable'
  }

  /** What ended a certificate while its connection went on; undefined where it is still good. */
  #endOf(certificate: ClientCertificate, wallMs: number): string | undefined {
    if (wallMs >= certificate.notAfterMs)
      return `its client certificate expired on ${iso(certificate.notAfterMs)}`
    return this.#options.isRevoked?.(certificate) ? 'its client certificate was revoked' : undefined
  }

  #hasGrace(entry: KnownToken, state: TokenState, wallMs: number): boolean {
    const { expiresAtMs } = entry.record
    if (this.#graceMs === 0 || state !== 'expired' || expiresAtMs === undefined) return false
    return wallMs < expiresAtMs + this.#graceMs && usedSuccessor(entry) === undefined
  }

  #usedByGrace({ record, account }: KnownToken, expiredAtMs: number, wallMs: number): void {
    account.graceUses += 1
    if (account.graceToldMs !== 0 && wallMs - account.graceToldMs < GRACE_TOLD_MS) return
    account.graceToldMs = wallMs
    const { id, holder } = record
    const untilMs = expiredAtMs + this.#graceMs
    this.#options.onGrace?.({ id, holder, address: account.address, expiredAtMs, untilMs })
  }

  #changed(): void {
    if (this.#isChanged) return
    this.#isChanged = true
    this.#onChange?.()
  }
}

function isRefusal(outcome: Ending['outcome']): outcome is RefusalReason {
  return outcome !== 'accepted' && outcome !== 'collector_refused' && REFUSALS.has(outcome)
}

function iso(wallMs: number | undefined): string {
  return wallMs === undefined ? 'an unknown day' : new Date(wallMs).toISOString()
}
