/** A token set as a rotation changes it: entries stay as they were written, down to fields it does not know. */
import { parseTokenSet } from '../stores/token-set.ts'
import type { Rotation } from './rotation.ts'
import { RotationFault } from './rotation-fault.ts'

/** One token as it is written in the set. */
export interface Entry {
  readonly id: string
  readonly holder: string
  readonly sha256: string
  /** Stands in for a token, in place of `sha256`. */
  readonly clientCertificate?: unknown
  readonly createdAt?: string
  readonly notBefore?: string
  readonly expiresAt?: string
  readonly revokedAt?: string
  readonly retiringAt?: string
  readonly replacedBy?: string
  readonly scopes?: readonly string[]
  readonly allowFrom?: readonly string[]
  readonly limits?: Readonly<Record<string, string | number>>
  readonly labels?: Readonly<Record<string, string>>
}

/** Entries that were revoked longer ago are dropped when the set is written anyway. */
const KEEP_REVOKED_MS = 90 * 86_400_000

/** Reads a set. @throws {TokenSetError} where it cannot be used. */
export function entriesFrom(text: string | undefined, place: string): readonly Entry[] {
  if (text === undefined || text.trim() === '') return []
  parseTokenSet(text, place)
  return JSON.parse(text.replace(/^\ufeff/, '')).tokens
}

/** The text of a set. @throws {TokenSetError} where it could not be read again. */
export function textOf(entries: readonly Entry[], place: string): string {
  const text = `${JSON.stringify({ tokens: entries }, null, 2)}\n`
  parseTokenSet(text, place)
  return text
}

/** Whether a token opens the gate now or will later. */
export function isUsable({ revokedAt, expiresAt }: Entry, nowMs: number): boolean {
  return !isPast(revokedAt, nowMs) && !isPast(expiresAt, nowMs)
}

/** The tokens of a holder: not the client certificates that need none. */
export function tokensOf(entries: readonly Entry[], holder: string): readonly Entry[] {
  return entries.filter((entry) => entry.holder === holder && entry.clientCertificate === undefined)
}

/** The entry that a new token of this holder takes after: its newest usable one, else its newest. */
export function modelOf(
  entries: readonly Entry[],
  holder: string,
  nowMs: number,
): Entry | undefined {
  const own = tokensOf(entries, holder)
  const usable = own.filter((entry) => isUsable(entry, nowMs))
  const age = ({ createdAt = '' }: Entry) => Date.parse(createdAt) || 0
  // The later one in the set where both are of the same age.
  return (usable.length > 0 ? usable : own).reduce<Entry | undefined>(
    (best, entry) => (best === undefined || age(entry) >= age(best) ? entry : best),
    undefined,
  )
}

/**
 * How long tokens of this holder live: as long as its model was made to; undefined for ever. Of a
 * token that is being retired the end says nothing.
 */
export function lifetimeOf({ createdAt, notBefore, expiresAt, retiringAt }: Entry) {
  const from = Date.parse(notBefore ?? createdAt ?? '')
  const lifetimeMs = Date.parse(expiresAt ?? '') - from
  return retiringAt === undefined && lifetimeMs > 0 ? lifetimeMs : undefined
}

/** The set with the new token; the same set where it is in there already. */
export function withNew(entries: readonly Entry[], rotation: Rotation, nowMs: number) {
  const { id, sha256, holder, startedAtMs, plan } = rotation
  const twin = entries.find((entry) => entry.id === id)
  if (twin?.clientCertificate === undefined && twin?.sha256.toLowerCase() === sha256) return entries
  if (twin !== undefined) throw new RotationFault(`another token has the id ${id} by now`)
  const model = modelOf(entries, holder, nowMs)
  if (model === undefined)
    throw new RotationFault(`${plan.truth} has no token of ${holder} any more`)
  const { scopes, allowFrom, limits, labels } = model
  const entry: Entry = {
    id,
    holder,
    sha256,
    createdAt: iso(startedAtMs),
    ...(plan.lifetimeMs !== undefined && { expiresAt: iso(startedAtMs + plan.lifetimeMs) }),
    ...(scopes !== undefined && { scopes }),
    ...(allowFrom !== undefined && { allowFrom }),
    ...(limits !== undefined && { limits }),
    ...(labels !== undefined && { labels }),
  }
  const kept = entries.filter(({ revokedAt }) => !isPast(revokedAt, nowMs - KEEP_REVOKED_MS))
  return [...kept, entry]
}

/** The set with the old tokens marked, and with an end that holds though nobody runs the command again. */
export function withRetiring(entries: readonly Entry[], rotation: Rotation, nowMs: number) {
  const { id, old, retiredAtMs = nowMs, deadlineAtMs } = rotation
  return changed(entries, idsOf(old), (entry) => {
    if (!isUsable(entry, nowMs)) return entry
    const marked = { ...entry, retiringAt: entry.retiringAt ?? iso(retiredAtMs), replacedBy: id }
    return deadlineAtMs === undefined ? marked : ending(marked, deadlineAtMs, nowMs)
  })
}

/** The set with these tokens ended now. */
export function withRefused(entries: readonly Entry[], ids: ReadonlySet<string>, nowMs: number) {
  return changed(entries, ids, (entry) =>
    isUsable(entry, nowMs) ? ending(entry, nowMs, nowMs) : entry,
  )
}

/** The set with these tokens revoked; one that is revoked keeps its date. */
export function withRevoked(entries: readonly Entry[], ids: ReadonlySet<string>, nowMs: number) {
  return changed(entries, ids, (entry) =>
    isPast(entry.revokedAt, nowMs) ? entry : { ...entry, revokedAt: iso(nowMs) },
  )
}

/**
 * The set as it was before the rotation: the old tokens have their own end again, unless somebody
 * has revoked them, and the new one is revoked, unless it is to be kept.
 */
export function withoutRotation(entries: readonly Entry[], rotation: Rotation, nowMs: number) {
  const ends = new Map(rotation.old.map(({ id, expiresAt }) => [id, expiresAt]))
  const back = changed(entries, new Set(ends.keys()), (entry) => {
    if (entry.replacedBy !== rotation.id || isPast(entry.revokedAt, nowMs)) return entry
    const { retiringAt: _, replacedBy: __, expiresAt: ___, ...rest } = entry
    const expiresAt = ends.get(entry.id)
    return expiresAt === undefined ? rest : { ...rest, expiresAt }
  })
  return rotation.abort?.keepsNew ? back : withRevoked(back, new Set([rotation.id]), nowMs)
}

/** Names of tokens. */
export function idsOf(tokens: readonly { readonly id: string }[]): ReadonlySet<string> {
  return new Set(tokens.map(({ id }) => id))
}

/** A moment as the set writes it. */
export function iso(ms: number): string {
  return new Date(ms).toISOString()
}

/** Ends a token; never later than it would have ended anyway. */
function ending(entry: Entry, atMs: number, nowMs: number): Entry {
  if (Date.parse(entry.expiresAt ?? '') <= atMs) return entry
  // A set whose token ends before it begins is refused as a whole.
  if (Date.parse(entry.notBefore ?? '') >= atMs) return { ...entry, revokedAt: iso(nowMs) }
  return { ...entry, expiresAt: iso(atMs) }
}

function changed(
  entries: readonly Entry[],
  ids: ReadonlySet<string>,
  change: (entry: Entry) => Entry,
): readonly Entry[] {
  const after = entries.map((entry) => {
    const next = ids.has(entry.id) ? change(entry) : entry
    return JSON.stringify(next) === JSON.stringify(entry) ? entry : next
  })
  return after.every((entry, index) => entry === entries[index]) ? entries : after
}

function isPast(date: string | undefined, nowMs: number): boolean {
  return date !== undefined && Date.parse(date) <= nowMs
}
