/** Begins a rotation: a new token is made and written down before anybody else can know of it. */
import { createToken, digestOf, type NewToken } from '../stores/token-secret.ts'
import type { Plan, Rotation } from './rotation.ts'
import { RotationFault } from './rotation-fault.ts'
import { readSet } from './set-edit.ts'
import { type Entry, isUsable, lifetimeOf, modelOf, tokensOf } from './set-entries.ts'
import type { World } from './world.ts'

/** What a rotation of a holder would begin from. */
export interface Beginning {
  /** The token that the new one takes after. */
  readonly model: Entry
  /** The usable tokens of the holder, to be retired. */
  readonly old: readonly Entry[]
}

/** A token is due early where less than this part of its life is left. */
const LAST_PART = 1 / 3

/**
 * Looks at the set, and changes nothing.
 *
 * @throws {RotationFault} where the holder has no token; what reading the set throws.
 */
export async function beginningOf(
  holder: string,
  { truth, clock }: Pick<World, 'truth' | 'clock'>,
): Promise<Beginning> {
  const entries = await readSet(truth)
  const { wallMs } = clock.now()
  const model = modelOf(entries, holder, wallMs)
  if (model === undefined)
    throw new RotationFault(
      `${truth.place} has no token of ${JSON.stringify(holder)}; the first one is made by tollgate token create`,
    )
  const old = tokensOf(entries, holder).filter((entry) => isUsable(entry, wallMs))
  return { model, old }
}

/**
 * When a token is to be replaced, Unix milliseconds: when it is as old as `everyMs`, or in the last
 * third of its life, whichever is earlier. One that does not say when it was made is due.
 */
export function dueMs(model: Entry, everyMs: number): number {
  const madeMs = Date.parse(model.createdAt ?? '')
  if (Number.isNaN(madeMs)) return 0
  const lifetimeMs = lifetimeOf(model) ?? Number.POSITIVE_INFINITY
  const endMs = Date.parse(model.expiresAt ?? '')
  const lateMs = Number.isNaN(endMs) ? Number.POSITIVE_INFINITY : endMs - lifetimeMs * LAST_PART
  return Math.min(madeMs + everyMs, lateMs)
}

/** Makes the new token. When this resolves it is in the journal, and nowhere else. */
export async function begin(
  holder: string,
  plan: Plan,
  world: World,
  make: () => NewToken = createToken,
): Promise<Rotation> {
  const { model, old } = await beginningOf(holder, world)
  const entries = await readSet(world.truth)
  let made = make()
  while (entries.some(({ id }) => id === made.id)) made = make()
  const lifetimeMs = lifetimeOf(model)
  const now = world.clock.now()
  const rotation: Rotation = {
    v: 1,
    holder,
    id: made.id,
    sha256: digestOf(made.token),
    token: made.token,
    plan: lifetimeMs === undefined ? plan : { ...plan, lifetimeMs },
    startedAtMs: now.wallMs,
    step: 'publish',
    stepSinceMs: now.wallMs,
    old: old.map(({ id, expiresAt }) => ({ id, ...(expiresAt !== undefined && { expiresAt }) })),
    delivered: [],
    lastRun: now,
  }
  await world.journal.save(rotation)
  await world.tell({
    name: 'created',
    holder,
    id: made.id,
    words: `new token ${made.id} made, with the signals, addresses, limits and labels of ${model.id}`,
  })
  return rotation
}
