/** Waiting for what has been set going, with a limit beyond which it never will be. */
import assert from 'node:assert/strict'
import { setTimeout as pause } from 'node:timers/promises'

const GIVE_UP_MS = 15_000
const LOOK_EVERY_MS = 10

/** Resolves with the first value of `look` that is neither undefined nor false. Fails the test after `withinMs`. */
export async function eventually<T>(
  look: () => T | undefined | false | Promise<T | undefined | false>,
  what: string,
  withinMs = GIVE_UP_MS,
): Promise<T> {
  const giveUpMs = performance.now() + withinMs
  for (;;) {
    const found = await look()
    if (found !== undefined && found !== false) return found
    if (performance.now() > giveUpMs) assert.fail(`never saw ${what}`)
    await pause(LOOK_EVERY_MS)
  }
}

/** Resolves when `read` has given the same value for a quarter of a second, and with that value. */
export async function settled(read: () => number, what: string): Promise<number> {
  let last = read()
  let sinceMs = performance.now()
  return await eventually(() => {
    const now = read()
    if (now !== last) sinceMs = performance.now()
    last = now
    return performance.now() - sinceMs > 250 ? { now } : undefined
  }, what).then(({ now }) => now)
}
