/**
 * The tokens in force: which one an Authorization header holds, and when and from where each was
 * last used. Looked up by digest, so the cost does not grow with their number and the time a lookup
 * takes says nothing about any of them.
 */
import { BlockList, isIP } from 'node:net'
import type { Signal } from '../otlp/signal.ts'
import type { Arrival, Peer, Protocol } from '../pipeline/arrival.ts'
import type { Token, TokenLimits, TokenProblem, Tokens } from '../pipeline/ports.ts'
import type { Network } from './token-fields.ts'
import { MAX_TOKEN_LENGTH } from './token-list.ts'
import type { TokenRecord } from './token-record.ts'
import { digestOf } from './token-secret.ts'
import type { TokenSet } from './token-set.ts'

/** Authorization headers whose token is known are remembered, so that a busy agent's is hashed once. */
const MAX_REMEMBERED = 10_000

/** A User-Agent is kept this far. */
const MAX_USER_AGENT_LENGTH = 200

export interface TokenStoreOptions {
  /** Limits of a token that names none of its own. */
  readonly defaultLimits: TokenLimits
}

/** Whether a token would be accepted now. `revoked` wins over the others. */
export type TokenState = 'active' | 'not_yet_valid' | 'expired' | 'revoked'

/** What is known of one token of the set. Times are Unix milliseconds. */
export interface TokenUsage {
  readonly id: string
  readonly holder: string
  readonly state: TokenState
  /** When it stops being valid; undefined for never. */
  readonly expiresAtMs: number | undefined
  /** Requests admitted with it since the gateway started. */
  readonly count: number
  /** When the first and the last request with it were admitted; undefined for never. */
  readonly firstUsedMs: number | undefined
  readonly lastUsedMs: number | undefined
  /** Where the last request came from and what it was. */
  readonly last: LastUse | undefined
}

export interface LastUse {
  readonly address: string
  readonly signal: Signal | 'none'
  readonly protocol: Protocol
  /** As the client sent it, cut at 200 characters: not to be trusted. */
  readonly userAgent: string | undefined
}

interface Entry {
  readonly token: Token
  readonly record: TokenRecord
  readonly allowFrom: BlockList | undefined
  readonly usage: Usage
}

interface Usage {
  count: number
  firstUsedMs: number | undefined
  lastUsedMs: number | undefined
  last: LastUse | undefined
}

export class TokenStore implements Tokens {
  readonly #defaultLimits: TokenLimits
  #byDigest: ReadonlyMap<string, Entry> | undefined
  #byId: ReadonlyMap<string, Entry> = new Map()
  /** Only of tokens in the set: strangers cannot fill it. Emptied with each set. */
  #byHeader = new Map<string, Entry>()

  constructor({ defaultLimits }: TokenStoreOptions) {
    this.#defaultLimits = defaultLimits
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
   * Puts a set in force, all of it at once, and returns how many tokens it has. Usage is kept for
   * ids that still stand for the same token.
   */
  swap(set: TokenSet): number {
    const byDigest = new Map<string, Entry>()
    const byId = new Map<string, Entry>()
    for (const record of set.records) {
      const before = this.#byId.get(record.id)
      const entry: Entry = {
        token: tokenFrom(record, this.#defaultLimits),
        record,
        allowFrom: record.allowFrom === undefined ? undefined : blockListOf(record.allowFrom),
        usage: before?.record.sha256 === record.sha256 ? before.usage : unused(),
      }
      byDigest.set(record.sha256, entry)
      byId.set(record.id, entry)
    }
    this.#byDigest = byDigest
    this.#byId = byId
    this.#byHeader = new Map()
    return byId.size
  }

  /**
   * The token that an Authorization header holds, or why it is not accepted. A revoked token counts
   * as expired: its agent missed a rotation and is no attacker. RFC 6750 §2.1, RFC 9110 §11.4.
   */
  verify(authorization: string | undefined, peer: Peer, wallMs: number): Token | TokenProblem {
    if (this.#byDigest === undefined) return 'tokens_unavailable'
    const entry = this.#entryOf(authorization, this.#byDigest)
    if (typeof entry === 'string') return entry
    const state = stateOf(entry.record, wallMs)
    if (state === 'not_yet_valid') return 'token_not_yet_valid'
    if (state !== 'active') return 'token_expired'
    if (entry.allowFrom !== undefined && !isListed(entry.allowFrom, peer.address))
      return 'scope_denied'
    return entry.token
  }

  #entryOf(
    authorization: string | undefined,
    byDigest: ReadonlyMap<string, Entry>,
  ): Entry | 'token_missing' | 'token_unknown' {
    if (authorization === undefined) return 'token_missing'
    const remembered = this.#byHeader.get(authorization)
    if (remembered !== undefined) return remembered
    const presented = bearerFrom(authorization)
    if (typeof presented === 'string') return presented
    const entry = byDigest.get(digestOf(presented.text))
    if (entry === undefined) return 'token_unknown'
    if (this.#byHeader.size >= MAX_REMEMBERED) this.#byHeader.clear()
    this.#byHeader.set(authorization, entry)
    return entry
  }

  /** Remembers that a token was admitted. Ignored when the set no longer has it. */
  used(token: Token, arrival: Arrival, wallMs: number): void {
    const usage = this.#byId.get(token.id)?.usage
    if (usage === undefined) return
    usage.count += 1
    usage.firstUsedMs ??= wallMs
    usage.lastUsedMs = wallMs
    usage.last = {
      address: arrival.peer.address,
      signal: arrival.signal,
      protocol: arrival.protocol,
      userAgent: arrival.userAgent?.slice(0, MAX_USER_AGENT_LENGTH),
    }
  }

  /** Every token of the set with its state at `wallMs` and its use so far, in the set's order. */
  *usage(wallMs: number): Iterable<TokenUsage> {
    for (const { record, usage } of this.#byId.values()) {
      const { id, holder, expiresAtMs } = record
      yield { id, holder, state: stateOf(record, wallMs), expiresAtMs, ...usage }
    }
  }
}

/** What a token is at `wallMs`: valid from notBefore on, and before expiresAt and revokedAt. */
export function stateOf(record: TokenRecord, wallMs: number): TokenState {
  if (record.revokedAtMs !== undefined && wallMs >= record.revokedAtMs) return 'revoked'
  if (record.expiresAtMs !== undefined && wallMs >= record.expiresAtMs) return 'expired'
  if (record.notBeforeMs !== undefined && wallMs < record.notBeforeMs) return 'not_yet_valid'
  return 'active'
}

/** `Bearer`, one space or more, a token68. Another scheme is no token at all. */
function bearerFrom(
  authorization: string,
): { readonly text: string } | 'token_missing' | 'token_unknown' {
  const scheme = authorization.slice(0, 7).toLowerCase()
  if (scheme !== 'bearer ') return 'token_missing'
  // Header variables often end in a newline or a space that a careless client sends along.
  const text = authorization.slice(7).trim()
  if (text === '') return 'token_missing'
  return text.length <= MAX_TOKEN_LENGTH && /^[A-Za-z0-9._~+/-]+=*$/.test(text)
    ? { text }
    : 'token_unknown'
}

function tokenFrom({ id, holder, scopes, limits }: TokenRecord, defaults: TokenLimits): Token {
  const pick = <Limit>(own: Limit | 'off' | undefined, fallback: Limit | undefined) =>
    own === 'off' ? undefined : (own ?? fallback)
  return {
    id,
    holder,
    scopes,
    limits: {
      requests: pick(limits?.requests, defaults.requests),
      bytes: pick(limits?.bytes, defaults.bytes),
      inFlight: pick(limits?.inFlight, defaults.inFlight),
    },
  }
}

function blockListOf(networks: readonly Network[]): BlockList {
  const list = new BlockList()
  for (const { address, prefix, family } of networks) list.addSubnet(address, prefix, family)
  return list
}

function isListed(list: BlockList, address: string): boolean {
  // A link-local address may carry its zone (RFC 4007 §11), which BlockList does not know.
  const bare = address.replace(/%.*$/, '')
  const version = isIP(bare)
  return version !== 0 && list.check(bare, version === 4 ? 'ipv4' : 'ipv6')
}

function unused(): Usage {
  return { count: 0, firstUsedMs: undefined, lastUsedMs: undefined, last: undefined }
}
