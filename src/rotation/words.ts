/** Times and users of a token, as sentences say them. */
import type { OldUse } from './evidence.ts'
import { iso } from './set-entries.ts'
import type { LastUse } from './token-report.ts'

const UNITS = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['m', 60_000],
  ['s', 1000],
] as const

/** The two largest units of a duration, rounded down to a second: `1h 5m`. */
export function inWords(ms: number): string {
  let restMs = Math.max(0, ms)
  const parts: string[] = []
  for (const [unit, lengthMs] of UNITS) {
    const count = Math.floor(restMs / lengthMs)
    restMs -= count * lengthMs
    if (count > 0) parts.push(`${count}${unit}`)
    if (parts.length === 2) break
  }
  return parts.join(' ') || '0s'
}

/** A moment as sentences say it: to the second. */
export function onDate(ms: number): string {
  return iso(ms).replace(/\.\d+Z$/, 'Z')
}

/** When a token was used last. */
export function sinceWhen(lastUsedMs: number | undefined): string {
  return lastUsedMs === undefined ? 'never used' : `last used on ${onDate(lastUsedMs)}`
}

/** Who used it last. */
export function who({ lastUse }: OldUse): string {
  return lastUse === undefined ? '' : ` ${fromWhere(lastUse)}`
}

/** Who has met with a refusal since the token is refused; empty where nobody has. */
export function whoIsLate({ token, refused }: OldUse): string {
  if (refused === undefined || refused.lastMs < (token.refusedAtMs ?? Number.POSITIVE_INFINITY))
    return ''
  const times = refused.count === 1 ? 'once' : `${refused.count} times`
  return `${token.id} was refused ${times}, last on ${onDate(refused.lastMs)} ${fromWhere(refused)}: give that agent the new token`
}

function fromWhere({ address, program }: Pick<LastUse, 'address' | 'program'>): string {
  return `from ${address}${program === undefined ? '' : ` with ${program}`}`
}
