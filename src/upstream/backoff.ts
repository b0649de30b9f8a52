/** Pauses between attempts to reach a collector that is away. */

const FIRST_MS = 100
/** While the calls that met its going still wait, its return is noticed quickly: about ten seconds. */
const QUICK_ATTEMPTS = 40
const QUICK_MS = 250
/** Later calls wait for it too, so even a long outage is looked at every two seconds. */
const LONGEST_MS = 2000

/**
 * The pause before attempt `attempts` (from 0) in milliseconds: none before the first, then 100 ms
 * growing to 250 ms, and to 2 s when the outage lasts; each shortened by up to a fifth at random so
 * that gateways do not march in step.
 */
export function pauseMs(attempts: number, random: () => number = Math.random): number {
  if (attempts <= 0) return 0
  const pause =
    attempts <= QUICK_ATTEMPTS
      ? Math.min(QUICK_MS, FIRST_MS * 2 ** (attempts - 1))
      : Math.min(LONGEST_MS, QUICK_MS * 2 ** Math.min(attempts - QUICK_ATTEMPTS, 10))
  return pause * (1 - random() / 5)
}
