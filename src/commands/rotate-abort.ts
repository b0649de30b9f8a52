/** `tollgate rotate abort`: goes back on a rotation, and says what could be lost by it. */
import { join } from 'node:path'
import { advance } from '../rotation/advance.ts'
import { risksOfAbort } from '../rotation/go-back.ts'
import type { Rotation } from '../rotation/rotation.ts'
import { RotationFault } from '../rotation/rotation-fault.ts'
import { takeRunLock } from '../rotation/run-lock.ts'
import type { CommandIo } from './io.ts'
import type { RotateOptions } from './rotate-options.ts'
import { audit, journalOf, type RotateSettings, worldOf } from './rotate-world.ts'
import { UsageError } from './token-entry.ts'

const OK = 0
const DATA = 65
const TRY_AGAIN = 75

/** Resolves with the exit code; 65 where the new token may be in somebody's hands, and nothing was done. */
export async function abortRotation(
  options: RotateOptions,
  settings: RotateSettings,
  io: CommandIo,
): Promise<number> {
  const journal = journalOf(settings)
  // Before the lock, which makes the directory.
  chosen(await journal.loadAll(), options)
  const lock = await takeRunLock(join(settings.stateDir, 'rotations'))
  try {
    const rotation = chosen(await journal.loadAll(), options)
    const { holder, plan } = rotation
    const world = await worldOf(plan.truth, settings, async (event) => {
      if (!options.isJson) io.stdout.write(`${event.holder}: ${event.words}\n`)
      await audit(settings, event, (words) => io.stderr.write(`tollgate rotate: ${words}\n`))
    })
    try {
      const risks = risksOfAbort(rotation, await world.gateways.ask(plan.gateways))
      if (risks.length > 0 && !options.isForced && !options.keepsNew) {
        io.stderr.write(
          `tollgate rotate: ${holder}: not gone back, because who has the new token would be refused: ${risks.join('; ')}. ` +
            'With --keep the old token is as it was and the new one stays valid beside it; with --force the new one is revoked all the same.\n',
        )
        return DATA
      }
      const aborting: Rotation = { ...rotation, abort: { keepsNew: options.keepsNew } }
      await journal.save(aborting)
      const standing = await advance(aborting, world)
      if (options.isJson)
        io.stdout.write(
          `${JSON.stringify({ holder, id: rotation.id, ...standing }, undefined, 2)}\n`,
        )
      if (standing.kind !== 'stopped') return OK
      io.stderr.write(`tollgate rotate: ${holder}: ${standing.words}; the next run goes back\n`)
      return standing.isTemporary ? TRY_AGAIN : DATA
    } finally {
      await world.truth.close().catch(() => undefined)
    }
  } finally {
    await lock.release()
  }
}

function chosen(rotations: readonly Rotation[], { holders }: RotateOptions): Rotation {
  if (holders.length > 1) throw new UsageError('--holder: expected one of them to go back on')
  const [holder] = holders
  const fitting = rotations.filter((each) => holder === undefined || each.holder === holder)
  const [rotation] = fitting
  if (rotation === undefined) {
    const whose = holder === undefined ? '' : ` of ${JSON.stringify(holder)}`
    throw new RotationFault(`no rotation${whose} is under way`)
  }
  if (fitting.length === 1) return rotation
  const names = fitting.map((each) => JSON.stringify(each.holder))
  throw new UsageError(`rotations of ${names.join(', ')} are under way; name one with --holder`)
}
