/**
 * Keeps bans, the memory of ended ones and the vouched tokens over a restart. Bans live on the
 * monotonic clock, the file on the wall clock; times are converted when it is read and written.
 */
import type { Ban, BansSnapshot, EndedBan, VouchedPair } from './bans.ts'
import { StateFile, type StateFileOptions } from './state-file.ts'
import { asCount, asObject, asText, asTime, iso, rows } from './state-rows.ts'

/** A ban is on disk this long after it was made, a newly vouched token somewhat later. */
const SAVE_AFTER_MS = { bans: 500, vouched: 10_000 } as const
/** Most rows of each kind on disk, so that a flood of bans does not become a flood of writing. */
const MAX_ROWS = 10_000

/** What is kept over restarts: `Bans` is one. */
export interface BansMemory {
  snapshot(nowMs: number, maxRows: number): BansSnapshot
  restore(snapshot: BansSnapshot, nowMs: number): void
  watch(onChange: (what: 'bans' | 'vouched') => void): void
}

/**
 * Keeps bans in a file: reads it into `bans`, and saves them from then on. It holds all bans set by
 * hand and the newest 10 000 of everything else.
 */
export async function keepBans(options: StateFileOptions, bans: BansMemory): Promise<StateFile> {
  const { clock } = options
  const file = await StateFile.open(options, {
    restore: (text) => bans.restore(parseBanFile(text, clock.wallMs()), clock.nowMs()),
    pieces: () => [formatBanFile(bans.snapshot(clock.nowMs(), MAX_ROWS), clock.wallMs())],
  })
  bans.watch((what) => file.saveSoon(SAVE_AFTER_MS[what]))
  return file
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
