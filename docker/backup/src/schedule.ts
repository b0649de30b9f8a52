/** When the next backup is due. Pure. */

const DAY_MS = 86_400_000
const MINUTE_MS = 60_000

/** Between a failure and the next attempt. */
export const RETRY_MS = 3_600_000

/** The last time of day (minutes since midnight, UTC) at or before now. */
export function lastDue(nowMs: number, atMinutes: number): number {
  const midnight = Math.floor(nowMs / DAY_MS) * DAY_MS
  const today = midnight + atMinutes * MINUTE_MS
  return today <= nowMs ? today : today - DAY_MS
}

/** What is known of backups so far. Times are Unix milliseconds. */
export interface Known<K> {
  /** When the newest whole backup of each target was begun; undefined for none, and where it cannot be asked. */
  readonly newestMs: ReadonlyMap<K, number | undefined>
  /** The last attempt since the start. */
  readonly attempt: { readonly atMs: number; readonly isSuccess: boolean } | undefined
}

/** What is to be done now. */
export type Duty<K> =
  | { readonly do: 'nothing' | 'backup' }
  /** Some targets have a backup already, and the others get a copy of it, not one more backup. */
  | { readonly do: 'copy'; readonly from: K; readonly to: readonly K[] }

/**
 * A backup is due where no target has one as new as the last time of day, and none failed within the
 * hour. So a machine that was off makes up for it, the first one does not wait for the night, and a
 * bucket that is away for a day does not fill the disk with hourly copies.
 */
export function dutyAt<K>(nowMs: number, atMinutes: number, known: Known<K>): Duty<K> {
  const { newestMs, attempt } = known
  const dueMs = lastDue(nowMs, atMinutes)
  if (attempt !== undefined && attempt.atMs >= dueMs) {
    const isTooSoon = attempt.isSuccess || nowMs - attempt.atMs < RETRY_MS
    if (isTooSoon) return { do: 'nothing' }
  }
  const isBehind = (timeMs: number | undefined) => timeMs === undefined || timeMs < dueMs
  const behind = [...newestMs].filter(([, timeMs]) => isBehind(timeMs)).map(([kind]) => kind)
  const [from] = [...newestMs.keys()].filter((kind) => !behind.includes(kind))
  if (behind.length === 0) return { do: 'nothing' }
  return from === undefined ? { do: 'backup' } : { do: 'copy', from, to: behind }
}
