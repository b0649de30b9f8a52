/**
 * Takes a rotation as far as it can go now. Each step can be done twice, and is in the journal before
 * the next one begins: a run that ends at any moment is taken up by the next one.
 */
import { FileFault } from '../secrets/file-fault.ts'
import { SourceFault } from '../secrets/source-fault.ts'
import { TokenSetError } from '../stores/token-set.ts'
import { timed } from './evidence.ts'
import { goBack } from './go-back.ts'
import { accept, deliver, publish } from './hand-out.ts'
import { retire, revoke, watch } from './let-go.ts'
import type { Rotation, Standing, Step } from './rotation.ts'
import { RotationFault } from './rotation-fault.ts'
import type { World } from './world.ts'

/** What a step came to: the rotation as it is in the journal now, and whether that is the end for now. */
export interface Outcome {
  readonly rotation: Rotation
  /** Undefined where the next step can begin. */
  readonly standing?: Standing
}

const STEPS = { publish, accept, deliver, retire, watch, revoke } satisfies Record<
  Step,
  (rotation: Rotation, world: World) => Promise<Outcome>
>

/** Problems with a file that pass by themselves. */
const PASSING = new Set(['ELOCKED', 'ENOSPC', 'EDQUOT', 'EIO', 'EMFILE', 'ENFILE'])

/**
 * Goes on with a rotation until it is over, has to wait, or meets a problem, which is an answer and
 * not thrown. What is thrown is a defect, or a journal that cannot be written.
 */
export async function advance(begun: Rotation, world: World): Promise<Standing> {
  const { problem: _, ...withoutProblem } = begun
  let rotation: Rotation = timed(withoutProblem, world.clock.now())
  await world.journal.save(rotation)
  for (;;) {
    const step = rotation.abort === undefined ? STEPS[rotation.step] : goBack
    try {
      const outcome: Outcome = await step(rotation, world)
      rotation = outcome.rotation
      if (outcome.standing !== undefined) return outcome.standing
    } catch (error) {
      const standing = stoppedBy(error)
      if (standing === undefined) throw error
      // The step may have come further than we know: the journal says how far.
      const latest = (await world.journal.load(begun.holder)) ?? rotation
      await world.journal.save({ ...latest, problem: standing.words })
      return standing
    }
  }
}

function stoppedBy(error: unknown): (Standing & { kind: 'stopped' }) | undefined {
  if (error instanceof SourceFault)
    return { kind: 'stopped', words: error.message, isTemporary: error.isTemporary }
  if (error instanceof FileFault)
    return { kind: 'stopped', words: error.message, isTemporary: PASSING.has(error.code ?? '') }
  if (error instanceof TokenSetError || error instanceof RotationFault)
    return { kind: 'stopped', words: error.message, isTemporary: false }
  return undefined
}
