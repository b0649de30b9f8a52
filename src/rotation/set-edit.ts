/** Changes the set in the source of truth: read, change, write only where nobody wrote in between, read back. */
import { SourceFault } from '../secrets/source-fault.ts'
import type { Truth } from '../secrets/truth.ts'
import { type Entry, entriesFrom, textOf } from './set-entries.ts'
import type { Clock } from './world.ts'

/** Somebody else may write in between so many times. */
const MAX_TRIES = 20
const PAUSE_MS = 50

/** The set as it is. @throws {SourceFault}, {FileFault} or {TokenSetError}, in words. */
export async function readSet(truth: Truth): Promise<readonly Entry[]> {
  return entriesFrom((await truth.readCurrent()).text, truth.place)
}

/**
 * Puts a change into the set and resolves with the set as it is read back. Where somebody else
 * writes in between, the change is made anew on what they wrote. Nothing is written where `change` returns
 * the very list that it was given. It is also right where an earlier write arrived though its
 * answer was lost, as long as `change` sees that it is done.
 *
 * @throws {SourceFault}, {FileFault} or {TokenSetError}, in words, and what `change` throws.
 */
export async function editSet(
  truth: Truth,
  clock: Clock,
  change: (entries: readonly Entry[]) => readonly Entry[],
): Promise<readonly Entry[]> {
  for (let tries = 1; tries <= MAX_TRIES; tries += 1) {
    const { text, version } = await truth.readCurrent()
    const before = entriesFrom(text, truth.place)
    const after = change(before)
    if (after === before) return before
    if (await truth.write(textOf(after, truth.place), version)) {
      const found = await readSet(truth)
      if (change(found) === found) return found
      continue
    }
    await clock.sleep(PAUSE_MS * (0.5 + Math.random()) * tries)
  }
  throw new SourceFault(
    truth.place,
    `somebody else changed it each of the ${MAX_TRIES} times that it was to be written`,
    'find out who writes there, and run the command again',
    { isTemporary: true },
  )
}
