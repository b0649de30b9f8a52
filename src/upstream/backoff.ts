/** Pauses between attempts to reach a collector that is away. */

const FIRST_MS = 100
/** Calls wait for the collector's return, so even a long outage is looked at every two seconds. */
const LONGEST_MS = 2000

/**
 * The pause before attempt `attempts` (from 0) in milliseconds: none before the first, then 100 ms
 * doubling to 2 s, each shortened by up to a fifth at random so that gateways do not march in step.
 */
export function pauseMs(attempts: number, random: () => number = Math.random): number {
  if (attempts <= 0) return 0
  const pause = Math.min(LONGEST_MS, FIRST_MS * 2 ** Math.min(attempts - 1, 10))
  return pause * (1 - random() / 5)
}
