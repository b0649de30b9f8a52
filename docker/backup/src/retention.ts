/** Which backups are kept. Pure: times in, a choice out. */
import type { KeepSettings } from './settings.ts'

const DAY_MS = 86_400_000
/** What was never finished may belong to somebody's copying by hand; it goes after a day. */
const UNFINISHED_MS = DAY_MS

export interface Dated {
  readonly timeMs: number
  /** False for one that was never finished. */
  readonly isWhole: boolean
}

/**
 * Those that may be removed, the oldest first. Kept are the newest whole one, always; those of the
 * last `days`; and the newest of each of the last so many days, ISO weeks and months that have one.
 * All in UTC. One from the future is kept: a clock is wrong, and it is not known which.
 */
export function removable<T extends Dated>(
  backups: readonly T[],
  keep: KeepSettings,
  nowMs: number,
): readonly T[] {
  const newestFirst = backups
    .filter(({ isWhole }) => isWhole)
    .toSorted((one, other) => other.timeMs - one.timeMs)
  const newest = newestFirst[0]
  // Nothing may go where nothing good is left.
  if (newest === undefined) return []
  const kept = new Set<T>([newest])
  for (const backup of newestFirst) if (backup.timeMs > nowMs - keep.days * DAY_MS) kept.add(backup)
  const rules: readonly (readonly [number, (timeMs: number) => string])[] = [
    [keep.daily, dayOf],
    [keep.weekly, weekOf],
    [keep.monthly, monthOf],
  ]
  for (const [count, periodOf] of rules) {
    const seen = new Set<string>()
    for (const backup of newestFirst) {
      const period = periodOf(backup.timeMs)
      if (seen.has(period) || seen.size >= count) continue
      seen.add(period)
      kept.add(backup)
    }
  }
  return backups
    .filter((backup) =>
      backup.isWhole ? !kept.has(backup) : isAbandoned(backup.timeMs, newest.timeMs, nowMs),
    )
    .toSorted((one, other) => one.timeMs - other.timeMs)
}

function isAbandoned(timeMs: number, newestMs: number, nowMs: number): boolean {
  return timeMs < nowMs - UNFINISHED_MS && timeMs < newestMs
}

function dayOf(timeMs: number): string {
  return new Date(timeMs).toISOString().slice(0, 10)
}

function monthOf(timeMs: number): string {
  return new Date(timeMs).toISOString().slice(0, 7)
}

/** The Monday that an ISO week begins with. */
function weekOf(timeMs: number): string {
  const sinceMonday = (new Date(timeMs).getUTCDay() + 6) % 7
  return dayOf(timeMs - sinceMonday * DAY_MS)
}
