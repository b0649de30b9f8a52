/** Removes what need not be kept any more. */
import type { World } from './backup.ts'
import { removable } from './retention.ts'
import type { Copy, Target } from './target.ts'
import { StageFault, said } from './unusable.ts'

/**
 * Removes copies of one target, or only says which they would be.
 *
 * @throws {StageFault} of the stage `prune`.
 */
export async function prune(
  { settings, log }: Pick<World, 'settings' | 'log'>,
  target: Target,
  isDryRun = false,
): Promise<readonly Copy[]> {
  try {
    const copies = await target.list()
    const dated = copies.map((copy) => ({ copy, timeMs: copy.name.timeMs, isWhole: copy.isWhole }))
    const gone = removable(dated, settings.keep, Date.now()).map(({ copy }) => copy)
    for (const { name } of isDryRun ? [] : gone) {
      await target.remove(name)
      log.info({ target: target.kind, archive: name.archive }, 'removed an old backup')
    }
    return gone
  } catch (error) {
    throw new StageFault('prune', said(error), error)
  }
}
