/** The first half of a rotation: the new token is published, accepted everywhere, and only then delivered. */
import type { Outcome } from './advance.ts'
import { weigh } from './evidence.ts'
import type { Rotation, Standing, Step } from './rotation.ts'
import { RotationFault } from './rotation-fault.ts'
import { editSet } from './set-edit.ts'
import { withNew } from './set-entries.ts'
import type { World } from './world.ts'

/** Gateways are asked this often whether they accept the new token, at first and later. */
const FIRST_PAUSE_MS = 100
const LONGEST_PAUSE_MS = 2_000
/** So many looks are enough for a gateway that can take the set up at once. */
const HURRIED_LOOKS = 5

/** Puts the new token's digest into the source of truth. */
export async function publish(rotation: Rotation, world: World): Promise<Outcome> {
  const { holder, id, plan } = rotation
  const { truth, clock } = world
  const entries = await editSet(truth, clock, (before) =>
    withNew(before, rotation, clock.now().wallMs),
  )
  const words = `its digest is in ${plan.truth}, one of ${entries.length}, read back`
  await world.tell({ name: 'published', holder, id, place: plan.truth, words })
  return { rotation: await at('accept', rotation, world) }
}

/** Waits until every gateway accepts it. */
export async function accept(rotation: Rotation, world: World): Promise<Outcome> {
  const { holder, id, sha256, plan } = rotation
  const standing = await untilAccepted(rotation, world)
  if (standing !== undefined) return { rotation, standing }
  const count = plan.gateways.length
  const who = count === 1 ? 'the one gateway' : `all ${count} gateways`
  const words = `accepted by ${who} (${plan.gateways.join(', ')}) as ${sha256.slice(0, 8)}…`
  await world.tell({ name: 'accepted', holder, id, words })
  return { rotation: await at('deliver', rotation, world) }
}

/** Puts it where agents take it from, one place after the other. */
export async function deliver(rotation: Rotation, world: World): Promise<Outcome> {
  const { holder, id, token, plan } = rotation
  // Days may have passed since it was accepted, and a gateway may have been set back.
  const standing = await untilAccepted(rotation, world)
  if (standing !== undefined) return { rotation, standing }
  let current = rotation
  for (const place of plan.deliver) {
    if (current.delivered.some((done) => done.place === place)) continue
    if (token === undefined)
      throw new RotationFault(
        `the journal does not hold the new token any more, and ${place} has not got it; go back with tollgate rotate abort`,
      )
    current = { ...current, delivering: place }
    await world.journal.save(current)
    const delivery = await world.openDelivery(place)
    const words = await delivery
      .deliver({ id, holder, token })
      .finally(() => delivery.close().catch(() => undefined))
    await world.tell({ name: 'delivered', holder, id, place, words: `${place}: ${words}` })
    const done = { place, atMs: world.clock.now().wallMs, words }
    const { delivering: _, ...rest } = current
    current = { ...rest, delivered: [...rest.delivered, done] }
    if (plan.deliver.every((each) => current.delivered.some((one) => one.place === each))) break
    await world.journal.save(current)
  }
  const { token: _, ...withoutToken } = current
  return { rotation: await at('retire', withoutToken, world) }
}

/** Writes down that the next step begins. */
export async function at(step: Step, rotation: Rotation, { journal, clock }: World) {
  const next: Rotation = { ...rotation, step, stepSinceMs: clock.now().wallMs }
  await journal.save(next)
  return next
}

/** Undefined as soon as every gateway accepts the new token; else what is missing in the end. */
async function untilAccepted(rotation: Rotation, world: World): Promise<Standing | undefined> {
  const { gateways, acceptWithinMs } = rotation.plan
  const { clock } = world
  const startMs = clock.now().uptimeMs
  let pauseMs = FIRST_PAUSE_MS
  for (let looks = 1; ; looks += 1) {
    const answers = await world.gateways.ask(gateways)
    const { objections } = weigh(rotation, answers, clock.now())
    if (objections.length === 0) return undefined
    const isOver = clock.now().uptimeMs - startMs >= acceptWithinMs
    if (isOver || (looks >= HURRIED_LOOKS && world.isHurried?.())) {
      const problem = `the new token ${rotation.id} is not accepted everywhere: ${objections.join('; ')}`
      await world.journal.save({ ...rotation, problem })
      return { kind: 'stopped', words: problem, isTemporary: true, hasWaited: true }
    }
    await world.gateways.reload(gateways)
    await clock.sleep(pauseMs)
    pauseMs = Math.min(LONGEST_PAUSE_MS, pauseMs * 2)
  }
}
