/** Times and users of a token, as sentences say them. */
import type { OldUse } from './evidence.ts'
import { iso } from './set-entries.ts'

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
  if (lastUse === undefined) return ''
  const program = lastUse.program === undefined ? '' : ` with ${lastUse.program}`
  return ` from ${lastUse.address}${program}`
}
