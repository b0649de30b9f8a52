/**
 * Keeps bans, the memory of ended ones and the vouched tokens over a restart. Bans live on the
 * monotonic clock, the file on the wall clock; times are converted when it is read and written.
 */
import { open, readFile, rename, rm } from 'node:fs/promises'
import type { Clock } from '../pipeline/ports.ts'
import type { Ban, BansSnapshot, EndedBan, VouchedPair } from './bans.ts'

/** A ban is on disk this long after it was made, a newly vouched token somewhat later. */
const SAVE_AFTER_MS = { bans: 500, vouched: 10_000 } as const
/** Most rows of each kind on disk, so that a flood of bans does not become a flood of writing. */
const MAX_ROWS = 10_000
/** At most one part in this many of the time goes into saving. */
const REST_SHARE = 20

/** Something to tell the operator. A run of failing saves is told once, and its end once. */
export type BanFileEvent =
  | {
      readonly kind: 'broken'
      readonly path: string
      readonly movedTo: string
      readonly why: string
    }
  | { readonly kind: 'unreadable' | 'unsaved'; readonly path: string; readonly why: string }
  | { readonly kind: 'saved_again'; readonly path: string }

/** What is kept over restarts: `Bans` is one. */
export interface BansMemory {
  snapshot(nowMs: number, maxRows: number): BansSnapshot
  restore(snapshot: BansSnapshot, nowMs: number): void
  watch(onChange: (what: 'bans' | 'vouched') => void): void
}

export interface BanFileOptions {
  readonly path: string
  readonly clock: Clock
  readonly onEvent: (event: BanFileEvent) => void
}

/**
 * The file of bans. Losing it costs the memory of bans, never a request. It holds all bans set by
 * hand and the newest 10 000 of everything else.
 */
export class BanFile {
  readonly #options: BanFileOptions
  readonly #bans: BansMemory
  #timer: NodeJS.Timeout | undefined
  #dueMs = Number.POSITIVE_INFINITY
  #saving: Promise<void> | undefined
  #restMs = 0
  #isFailing = false
  #isClosed = false

  private constructor(options: BanFileOptions, bans: BansMemory) {
    this.#options = options
    this.#bans = bans
  }

  /**
   * Reads the file into `bans` and saves them from then on. Never throws: a file that cannot be
   * read or understood is moved aside and told of.
   */
  static async open(options: BanFileOptions, bans: BansMemory): Promise<BanFile> {
    const file = new BanFile(options, bans)
    await file.#load()
    bans.watch((what) => file.#saveSoon(SAVE_AFTER_MS[what]))
    return file
  }

  /** Saves a last time, after which changes are not followed any more. */
  async close(): Promise<void> {
    this.#isClosed = true
    clearTimeout(this.#timer)
    await this.#saving
    await this.#save()
  }

  async #load(): Promise<void> {
    const { path, clock, onEvent } = this.#options
    try {
      const text = await readFile(path, 'utf8')
      this.#bans.restore(parseBanFile(text, clock.wallMs()), clock.nowMs())
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return
      // The next save would write over it.
      const movedTo = `${path}.broken-${clock.wallMs()}`
      try {
        await rename(path, movedTo)
        onEvent({ kind: 'broken', path, movedTo, why: said(error) })
      } catch (second) {
        onEvent({ kind: 'unreadable', path, why: `${said(error)}; ${said(second)}` })
      }
    }
  }

  #saveSoon(leastMs: number): void {
    const waitMs = Math.max(leastMs, this.#restMs)
    const dueMs = this.#options.clock.nowMs() + waitMs
    if (this.#isClosed || dueMs >= this.#dueMs) return
    clearTimeout(this.#timer)
    this.#dueMs = dueMs
    this.#timer = setTimeout(() => {
      this.#dueMs = Number.POSITIVE_INFINITY
      this.#saving = (this.#saving ?? Promise.resolve()).then(() => this.#save())
    }, waitMs)
    this.#timer.unref()
  }

  /** Never throws. Whole or not at all: written beside the file, synced, then renamed over it. */
  async #save(): Promise<void> {
    const { path, clock, onEvent } = this.#options
    const temporary = `${path}.new`
    try {
      const startMs = clock.nowMs()
      const text = formatBanFile(this.#bans.snapshot(startMs, MAX_ROWS), clock.wallMs())
      this.#restMs = (clock.nowMs() - startMs) * REST_SHARE
      // A leftover might have another mode, or be a link to somewhere else.
      await rm(temporary, { force: true })
      const handle = await open(temporary, 'wx', 0o600)
      try {
        await handle.writeFile(text)
        await handle.sync()
      } finally {
        await handle.close()
      }
      await rename(temporary, path)
      if (this.#isFailing) onEvent({ kind: 'saved_again', path })
      this.#isFailing = false
    } catch (error) {
      await rm(temporary, { force: true }).catch(() => {})
      if (!this.#isFailing) onEvent({ kind: 'unsaved', path, why: said(error) })
      this.#isFailing = true
    }
  }
}

/** The file's text: JSON, times in UTC so that a person can read them. */
export function formatBanFile({ bans, ended, vouched }: BansSnapshot, wallMs: number): string {
  const file = {
    version: 1,
    bans: bans.map(({ peerKey, address, remainingMs, lengthMs, repeats, isManual }) => {
      return {
        peer: peerKey,
        address,
        until: iso(wallMs + remainingMs),
        lengthMs,
        repeats,
        isManual,
      }
    }),
    ended: ended.map(({ peerKey, endedAgoMs, bans: count }) => {
      return { peer: peerKey, endedAt: iso(wallMs - endedAgoMs), bans: count }
    }),
    vouched: vouched.map(({ peerKey, tokenId, usedAgoMs }) => {
      return { peer: peerKey, token: tokenId, usedAt: iso(wallMs - usedAgoMs) }
    }),
  }
  return `${JSON.stringify(file, undefined, 1)}\n`
}

/** Reads what `formatBanFile` wrote. Throws an Error that names the place that is wrong. */
export function parseBanFile(text: string, wallMs: number): BansSnapshot {
  const file = asObject(JSON.parse(text), 'the file')
  if (file.version !== 1)
    throw new Error(`version: got ${JSON.stringify(file.version)}, expected 1`)
  const bans = rows(file, 'bans').map(([row, at]): Ban => {
    return {
      peerKey: asText(row.peer, `${at}.peer`),
      address: asText(row.address, `${at}.address`),
      remainingMs: asTime(row.until, `${at}.until`) - wallMs,
      lengthMs: asCount(row.lengthMs, `${at}.lengthMs`),
      repeats: asCount(row.repeats, `${at}.repeats`),
      isManual: row.isManual === true,
    }
  })
  const ended = rows(file, 'ended').map(([row, at]): EndedBan => {
    return {
      peerKey: asText(row.peer, `${at}.peer`),
      endedAgoMs: wallMs - asTime(row.endedAt, `${at}.endedAt`),
      bans: asCount(row.bans, `${at}.bans`),
    }
  })
  const vouched = rows(file, 'vouched').map(([row, at]): VouchedPair => {
    return {
      peerKey: asText(row.peer, `${at}.peer`),
      tokenId: asText(row.token, `${at}.token`),
      usedAgoMs: wallMs - asTime(row.usedAt, `${at}.usedAt`),
    }
  })
  return { bans, ended, vouched }
}

type Row = Readonly<Record<string, unknown>>

function asObject(value: unknown, at: string): Row {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Row
  throw new Error(`${at}: expected an object`)
}

function rows(file: Row, name: string): [Row, string][] {
  const list = file[name]
  if (!Array.isArray(list)) throw new Error(`${name}: expected a list`)
  return list.map((row, index) => [asObject(row, `${name}[${index}]`), `${name}[${index}]`])
}

function asText(value: unknown, at: string): string {
  if (typeof value === 'string' && value !== '') return value
  throw new Error(`${at}: expected a text, got ${JSON.stringify(value)}`)
}

function asCount(value: unknown, at: string): number {
  if (typeof value === 'number' && Number.isFinite(value) && value >= 0) return value
  throw new Error(`${at}: expected a number of at least 0, got ${JSON.stringify(value)}`)
}

function asTime(value: unknown, at: string): number {
  const wallMs = typeof value === 'string' ? Date.parse(value) : Number.NaN
  if (!Number.isNaN(wallMs)) return wallMs
  throw new Error(
    `${at}: expected a time such as 2030-01-31T12:00:00Z, got ${JSON.stringify(value)}`,
  )
}

function iso(wallMs: number): string {
  return new Date(wallMs).toISOString()
}

function said(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined
}
