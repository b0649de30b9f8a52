import type { Peer } from '../pipeline/arrival.ts'
import type { Bans as BansPort, Token } from '../pipeline/ports.ts'
import { ExpiringTable } from './expiring-table.ts'
import { Vouched } from './vouched.ts'

const DAY_MS = 24 * 60 * 60_000
/** Longest ban that strikes can earn, however often a peer comes back. */
const MAX_BAN_MS = 30 * DAY_MS
/** Longest ban that can be set by hand. */
const MAX_MANUAL_MS = 3650 * DAY_MS
/** Without a ban for this long, a peer starts afresh. */
const FORGIVE_MS = 7 * DAY_MS
/** Times of offences remembered in all, about 32 MB: where a ban takes many strikes, fewer peers are watched. */
const MAX_STRIKE_TIMES = 4_000_000
/** How long a token used from a peer speaks for it. */
const VOUCH_MS = 7 * DAY_MS

export interface BansOptions {
  /** Offences within `windowMs` that make a ban; undefined: strikes never ban. */
  readonly strikes: number | undefined
  readonly windowMs: number
  /** Length of a peer's first ban; each further one is twice as long, up to 30 days. */
  readonly banMs: number
  /** Peers that never collect strikes. A ban set by hand holds for them too. */
  readonly exempt: (peer: Peer) => boolean
  /** The peer behind an address that somebody typed; undefined for what is not an address. */
  readonly peerOf: (address: string) => Peer | undefined
  /** Most peers in each table; default 100 000. */
  readonly maxKeys?: number
  readonly onBan?: (ban: Ban) => void
  /** A ban was lifted by hand. Bans that end by themselves end silently. */
  readonly onLift?: (peerKey: string) => void
}

/** A ban in force. */
export interface Ban {
  readonly peerKey: string
  /** The address that struck last, or the one that was banned by hand. */
  readonly address: string
  readonly remainingMs: number
  /** The ban's whole length. */
  readonly lengthMs: number
  /** How often this peer was banned before, as far as it is remembered. */
  readonly repeats: number
  /** Set by hand: holds for tokens that have been used from there, too. */
  readonly isManual: boolean
}

/** A ban that is over, remembered so that the next one is longer. */
export interface EndedBan {
  readonly peerKey: string
  readonly endedAgoMs: number
  readonly bans: number
}

/** A token that was used from a peer. */
export interface VouchedPair {
  readonly peerKey: string
  readonly tokenId: string
  readonly usedAgoMs: number
}

/** Everything worth keeping over a restart, in times relative to now. */
export interface BansSnapshot {
  readonly bans: readonly Ban[]
  readonly ended: readonly EndedBan[]
  readonly vouched: readonly VouchedPair[]
}

interface Entry {
  readonly address: string
  readonly untilMs: number
  readonly lengthMs: number
  readonly repeats: number
  readonly isManual: boolean
}

/** Who is shut out, for how long, and whose token opens the door all the same. */
export class Bans implements BansPort {
  readonly #options: BansOptions
  readonly #bans: ExpiringTable<Entry>
  readonly #ended: ExpiringTable<{ readonly endedMs: number; readonly bans: number }>
  /** The times of each peer's latest offences, oldest first. */
  readonly #strikes: ExpiringTable<number[]>
  readonly #vouched: Vouched
  #onChange: (what: 'bans' | 'vouched') => void = () => {}

  constructor(options: BansOptions) {
    this.#options = options
    const { strikes = 1, windowMs, maxKeys = 100_000 } = options
    this.#bans = new ExpiringTable<Entry>({
      maxKeys,
      expiresMs: ({ untilMs }) => untilMs,
      onDrop: (key, entry) => this.#remember(key, entry),
    })
    this.#ended = new ExpiringTable({ maxKeys, expiresMs: ({ endedMs }) => endedMs + FORGIVE_MS })
    this.#strikes = new ExpiringTable({
      maxKeys: Math.min(maxKeys, Math.max(1, Math.floor(MAX_STRIKE_TIMES / strikes))),
      expiresMs: (times) => (times.at(-1) ?? 0) + windowMs,
    })
    this.#vouched = new Vouched({ maxKeys, keepMs: VOUCH_MS })
  }

  isBanned(peer: Peer, nowMs: number): boolean {
    return this.#inForce(peer.key, nowMs) !== undefined
  }

  /** Whether to close a connection before a byte is read: banned, and no token speaks for anybody there. */
  isShut(peer: Peer, nowMs: number): boolean {
    const ban = this.#inForce(peer.key, nowMs)
    return ban !== undefined && (ban.isManual || !this.#vouched.hasAny(peer.key, nowMs))
  }

  remainingMs(peer: Peer, nowMs: number): number {
    const ban = this.#inForce(peer.key, nowMs)
    return ban === undefined ? 0 : ban.untilMs - nowMs
  }

  strike(peer: Peer, nowMs: number): void {
    const { strikes, windowMs, banMs, exempt } = this.#options
    // Offences during a ban do not prolong it.
    if (strikes === undefined || this.isBanned(peer, nowMs) || exempt(peer)) return
    const times = this.#strikes.get(peer.key) ?? []
    while (times.length > 0 && (times[0] ?? 0) + windowMs <= nowMs) times.shift()
    times.push(nowMs)
    if (times.length < strikes) {
      this.#strikes.set(peer.key, times, nowMs)
      return
    }
    this.#strikes.delete(peer.key)
    const repeats = this.#repeats(peer.key, nowMs)
    const lengthMs = Math.min(banMs * 2 ** repeats, Math.max(MAX_BAN_MS, banMs))
    this.#ban(peer, { lengthMs, repeats, isManual: false }, nowMs)
  }

  vouch(peer: Peer, token: Token, nowMs: number): void {
    if (this.#vouched.note(peer.key, token.id, nowMs)) this.#onChange('vouched')
  }

  isVouched(peer: Peer, token: Token, nowMs: number): boolean {
    if (this.#inForce(peer.key, nowMs)?.isManual) return false
    return this.#vouched.has(peer.key, token.id, nowMs)
  }

  /**
   * Bans by hand, for `ms` milliseconds (default: the first ban's length; at most ten years) from
   * now. Takes the place of a ban already in force. Undefined where the text is neither an address nor a peer's key.
   */
  add(text: string, ms: number | undefined, nowMs: number): Ban | undefined {
    const peer = this.#peerOf(text)
    if (peer === undefined) return undefined
    const lengthMs = Math.min(ms ?? this.#options.banMs, MAX_MANUAL_MS)
    const repeats = this.#inForce(peer.key, nowMs)?.repeats ?? this.#repeats(peer.key, nowMs)
    return this.#ban(peer, { lengthMs, repeats, isManual: true }, nowMs)
  }

  /**
   * Ends a ban and forgets the peer's offences. False where it was not banned, undefined where the
   * text is neither an address nor a peer's key.
   */
  lift(text: string, nowMs: number): boolean | undefined {
    const key = this.#peerOf(text)?.key
    if (key === undefined) return undefined
    const wasBanned = this.#inForce(key, nowMs) !== undefined
    this.#strikes.delete(key)
    const wasKnown = this.#ended.delete(key)
    if (wasBanned) {
      this.#bans.delete(key)
      this.#options.onLift?.(key)
    }
    if (wasBanned || wasKnown) this.#onChange('bans')
    return wasBanned
  }

  /** The bans in force, oldest first. */
  list(nowMs: number): Ban[] {
    const list: Ban[] = []
    for (const [key, entry] of this.#bans.entries()) {
      if (entry.untilMs > nowMs) list.push(told(key, entry, nowMs))
    }
    return list
  }

  /** How many bans are in force. */
  count(nowMs: number): number {
    let count = 0
    for (const [, { untilMs }] of this.#bans.entries()) if (untilMs > nowMs) count += 1
    return count
  }

  /** Sizes of the tables and what they have had to forget, for the metrics. */
  tables(): readonly {
    readonly table: string
    readonly size: number
    readonly evictions: number
  }[] {
    return [
      { table: 'bans', size: this.#bans.size, evictions: this.#bans.evictions },
      { table: 'strikes', size: this.#strikes.size, evictions: this.#strikes.evictions },
      { table: 'vouched', size: this.#vouched.size, evictions: this.#vouched.evictions },
    ]
  }

  /** Has someone called whenever there is something new worth saving. */
  watch(onChange: (what: 'bans' | 'vouched') => void): void {
    this.#onChange = onChange
  }

  /** What should outlive the process: all bans set by hand, and the newest `maxRows` of each kind. */
  snapshot(nowMs: number, maxRows = Number.POSITIVE_INFINITY): BansSnapshot {
    const bans: Ban[] = []
    const ended: EndedBan[] = []
    const vouched: VouchedPair[] = []
    let older = this.#bans.size - maxRows
    for (const [peerKey, entry] of this.#bans.entries()) {
      older -= 1
      if (older >= 0 && !entry.isManual) continue
      if (entry.untilMs > nowMs) bans.push(told(peerKey, entry, nowMs))
      else ended.push({ peerKey, endedAgoMs: nowMs - entry.untilMs, bans: entry.repeats + 1 })
    }
    older = this.#ended.size - maxRows
    for (const [peerKey, { endedMs, bans: count }] of this.#ended.entries()) {
      older -= 1
      if (older >= 0 || nowMs >= endedMs + FORGIVE_MS) continue
      ended.push({ peerKey, endedAgoMs: nowMs - endedMs, bans: count })
    }
    for (const { peer, token, lastMs } of this.#vouched.pairs(nowMs, maxRows)) {
      vouched.push({ peerKey: peer, tokenId: token, usedAgoMs: nowMs - lastMs })
    }
    return { bans, ended, vouched }
  }

  /** Takes up what an earlier process knew. Peers that have become exempt are let go. */
  restore({ bans, ended, vouched }: BansSnapshot, nowMs: number): void {
    for (const ban of bans) {
      const peer = this.#peerOf(ban.address)
      if (peer === undefined || peer.key !== ban.peerKey) continue
      if (!ban.isManual && this.#options.exempt(peer)) continue
      const { address, lengthMs, repeats, isManual } = ban
      // A wall clock that was set back must not make a ban longer than it was.
      const untilMs = nowMs + Math.min(ban.remainingMs, lengthMs)
      this.#bans.set(ban.peerKey, { address, untilMs, lengthMs, repeats, isManual }, nowMs)
    }
    for (const { peerKey, endedAgoMs, bans: count } of ended) {
      this.#ended.set(peerKey, { endedMs: nowMs - Math.max(0, endedAgoMs), bans: count }, nowMs)
    }
    for (const { peerKey, tokenId, usedAgoMs } of vouched) {
      this.#vouched.note(peerKey, tokenId, nowMs - Math.max(0, usedAgoMs))
    }
  }

  #ban(
    peer: Peer,
    ban: { lengthMs: number; repeats: number; isManual: boolean },
    nowMs: number,
  ): Ban {
    const entry: Entry = { address: peer.address, untilMs: nowMs + ban.lengthMs, ...ban }
    this.#ended.delete(peer.key)
    this.#bans.set(peer.key, entry, nowMs)
    const result = told(peer.key, entry, nowMs)
    this.#options.onBan?.(result)
    this.#onChange('bans')
    return result
  }

  /** The ban in force. One that is over moves on to the memory of repeats. */
  #inForce(key: string, nowMs: number): Entry | undefined {
    const entry = this.#bans.get(key)
    if (entry === undefined || entry.untilMs > nowMs) return entry
    this.#bans.delete(key)
    this.#remember(key, entry)
    return undefined
  }

  #remember(key: string, { untilMs, repeats }: Entry): void {
    this.#ended.set(key, { endedMs: untilMs, bans: repeats + 1 }, untilMs)
  }

  #repeats(key: string, nowMs: number): number {
    const ended = this.#ended.get(key)
    return ended !== undefined && nowMs < ended.endedMs + FORGIVE_MS ? ended.bans : 0
  }

  /** Understands addresses and keys such as `2001:db8:0:1::/64`. */
  #peerOf(text: string): Peer | undefined {
    const isKey = text.includes(':') && text.endsWith('/64')
    return this.#options.peerOf(isKey ? text.slice(0, -'/64'.length) : text)
  }
}

function told(peerKey: string, entry: Entry, nowMs: number): Ban {
  const { untilMs, ...rest } = entry
  return { peerKey, ...rest, remainingMs: Math.ceil(untilMs - nowMs) }
}
