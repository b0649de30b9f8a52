/**
 * The ledger: what became of each token. Written to on the path of every request, so an entry is a
 * handful of numbers and the strings of the last request as they came; what they mean is worked out
 * when somebody looks. Entries belong to an id and a digest: another token under the same id begins
 * anew.
 */
import type { Signal } from '../otlp/signal.ts'
import type { Arrival, Protocol } from '../pipeline/arrival.ts'
import type { RefusalReason } from '../pipeline/outcome.ts'

/** Tokens that have left the set are remembered so long, and at most so many of them. */
const REMEMBER_MS = 90 * 86_400_000
export const MAX_LEFT = 100_000
/** A User-Agent is kept this far. */
const MAX_USER_AGENT_LENGTH = 200
/** Hexadecimal digits of the digest that tell one token from another under the same id. */
const MARK_LENGTH = 16

/** Numbers that only grow. */
export interface Totals {
  readonly requests: number
  /** Bytes of the messages of admitted requests, as they came in. */
  readonly bytes: number
  /** Requests admitted after the token's end, by grace. */
  readonly graceUses: number
  /** Requests admitted while a newer token of the holder had been delivered. */
  readonly retiringUses: number
  readonly refusals: ReadonlyMap<RefusalReason, number>
}

const NOTHING: Totals = {
  requests: 0,
  bytes: 0,
  graceUses: 0,
  retiringUses: 0,
  refusals: new Map(),
}

/** What is kept of one token. Times are Unix milliseconds, 0 for never. */
export class Account implements Totals {
  readonly mark: string
  firstUsedMs = 0
  lastUsedMs = 0
  address = ''
  signal: Signal | 'none' = 'none'
  protocol: Protocol = 'grpc'
  userAgent: string | undefined
  lastRefusedMs = 0
  refusedReason: RefusalReason | undefined
  refusedAddress = ''
  refusedUserAgent: string | undefined
  /** Since the process started, as counters on the metrics page begin at 0. */
  requests = 0
  bytes = 0
  graceUses = 0
  retiringUses = 0
  /** What earlier processes counted. */
  before: Totals = NOTHING
  /** When a log line last told of its grace. */
  graceToldMs = 0
  /** When it was first seen to be in the set no more; 0 while it is in it. */
  leftMs = 0
  isInSet = false
  #refusals: Map<RefusalReason, number> | undefined

  constructor(mark: string) {
    this.mark = mark
  }

  /** Refusals of requests that carried the token, by reason; since the process started. */
  get refusals(): ReadonlyMap<RefusalReason, number> {
    return this.#refusals ?? NOTHING.refusals
  }

  /** A request was admitted. */
  used({ peer, signal, protocol, userAgent }: Arrival, wallMs: number): void {
    this.requests += 1
    if (this.firstUsedMs === 0) this.firstUsedMs = wallMs
    this.lastUsedMs = wallMs
    this.address = peer.address
    this.signal = signal
    this.protocol = protocol
    this.userAgent = shortened(userAgent)
  }

  /** A request was refused. */
  refused({ peer, userAgent }: Arrival, reason: RefusalReason, wallMs: number): void {
    this.#refusals ??= new Map()
    this.#refusals.set(reason, (this.#refusals.get(reason) ?? 0) + 1)
    this.lastRefusedMs = wallMs
    this.refusedReason = reason
    this.refusedAddress = peer.address
    this.refusedUserAgent = shortened(userAgent)
  }

  /** All there ever was, over restarts. */
  totals(): Totals {
    const { before } = this
    const refusals = new Map(before.refusals)
    for (const [reason, count] of this.refusals)
      refusals.set(reason, (refusals.get(reason) ?? 0) + count)
    return {
      requests: before.requests + this.requests,
      bytes: before.bytes + this.bytes,
      graceUses: before.graceUses + this.graceUses,
      retiringUses: before.retiringUses + this.retiringUses,
      refusals,
    }
  }
}

/** The accounts of the tokens in the set, and of those that have left it. */
export class Ledger {
  readonly #accounts = new Map<string, Account>()

  /** Begins a new set: until `open` is asked for it again, no token is in it. */
  clearSet(): void {
    for (const account of this.#accounts.values()) account.isInSet = false
  }

  /** The account of a token of the set. */
  open(id: string, sha256: string): Account {
    const mark = sha256.slice(0, MARK_LENGTH)
    let account = this.#accounts.get(id)
    if (account?.mark !== mark) {
      account = new Account(mark)
      this.#accounts.set(id, account)
    }
    account.isInSet = true
    account.leftMs = 0
    return account
  }

  /** Every account by id, those that have left the set too. */
  entries(): IterableIterator<[string, Account]> {
    return this.#accounts.entries()
  }

  /** Puts back what an earlier process kept. An account that has one already goes on from it. */
  restore(id: string, kept: Account): void {
    const account = this.#accounts.get(id)
    if (account === undefined) {
      this.#accounts.set(id, kept)
      return
    }
    if (account.mark !== kept.mark || account.before !== NOTHING) return
    const since = account.lastUsedMs
    account.before = kept.before
    account.firstUsedMs = kept.firstUsedMs || account.firstUsedMs
    if (since === 0) {
      account.lastUsedMs = kept.lastUsedMs
      account.address = kept.address
      account.signal = kept.signal
      account.protocol = kept.protocol
      account.userAgent = kept.userAgent
    }
    if (account.lastRefusedMs === 0) {
      account.lastRefusedMs = kept.lastRefusedMs
      account.refusedReason = kept.refusedReason
      account.refusedAddress = kept.refusedAddress
      account.refusedUserAgent = kept.refusedUserAgent
    }
  }

  /** Forgets tokens that left the set long ago or unused, and the first of them where there are too many. */
  forget(wallMs: number): void {
    let left = 0
    for (const [id, account] of this.#accounts) {
      if (account.isInSet) continue
      if (account.leftMs === 0) account.leftMs = wallMs
      const isBlank = account.firstUsedMs === 0 && account.lastRefusedMs === 0
      if (isBlank || wallMs - account.leftMs >= REMEMBER_MS) this.#accounts.delete(id)
      else left += 1
    }
    for (const [id, { isInSet }] of this.#accounts) {
      if (left <= MAX_LEFT) return
      if (isInSet) continue
      this.#accounts.delete(id)
      left -= 1
    }
  }
}

/** A copy where it is cut: a slice would keep all of a stranger's header in memory. */
function shortened(userAgent: string | undefined): string | undefined {
  return userAgent === undefined || userAgent.length <= MAX_USER_AGENT_LENGTH
    ? userAgent
    : Buffer.from(userAgent.slice(0, MAX_USER_AGENT_LENGTH)).toString()
}
