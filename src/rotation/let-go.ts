/** The second half of a rotation: the old tokens are retired, watched, refused when unused, and revoked. */
import type { Outcome } from './advance.ts'
import { type Evidence, type OldUse, remembered, requestsOf, weigh } from './evidence.ts'
import { at } from './hand-out.ts'
import { pastOf, type Rotation, type Standing } from './rotation.ts'
import { RotationFault } from './rotation-fault.ts'
import { editSet, readSet } from './set-edit.ts'
import {
  type Entry,
  idsOf,
  isUsable,
  withRefused,
  withRetiring,
  withRevoked,
} from './set-entries.ts'
import { inWords, onDate, sinceWhen, who, whoIsLate } from './words.ts'
import type { World } from './world.ts'

/** Marks the old tokens and gives them an end. */
export async function retire(rotation: Rotation, world: World): Promise<Outcome> {
  const { holder, id, plan } = rotation
  const { truth, clock } = world
  const entries = await readSet(truth)
  const nowMs = clock.now().wallMs
  assertNewIsUsable(entries, rotation, nowMs)
  const answers = await world.gateways.ask(plan.gateways)
  const retiredAtMs = rotation.retiredAtMs ?? nowMs
  const planned: Rotation = {
    ...rotation,
    retiredAtMs,
    ...(plan.deadlineMs !== undefined && { deadlineAtMs: retiredAtMs + plan.deadlineMs }),
    old: rotation.old.flatMap((token) => {
      const entry = entries.find((each) => each.id === token.id)
      if (entry?.replacedBy === id) return [token]
      if (entry === undefined || !isUsable(entry, nowMs)) return []
      const { expiresAt } = entry
      const requestsBefore = requestsOf(token.id, answers)
      return [{ id: token.id, requestsBefore, ...(expiresAt !== undefined && { expiresAt }) }]
    }),
  }
  await world.journal.save(planned)
  const after = await editSet(truth, clock, (set) => withRetiring(set, planned, nowMs))
  for (const token of planned.old) {
    const end = after.find((each) => each.id === token.id)?.expiresAt
    const until =
      end === undefined
        ? 'it lives until nobody uses it'
        : `it ends on ${onDate(Date.parse(end))} at the latest`
    const words = `old token ${token.id} is retiring, in favour of ${id}; ${until}`
    await world.tell({ name: 'retiring', holder, id: token.id, place: plan.truth, words })
  }
  return { rotation: await at('watch', planned, world) }
}

/** Refuses each old token once it is proved that nobody uses it, or its time is up. */
export async function watch(rotation: Rotation, world: World): Promise<Outcome> {
  const { plan, deadlineAtMs = Number.POSITIVE_INFINITY } = rotation
  const { truth, clock } = world
  const answers = await world.gateways.ask(plan.gateways)
  const now = clock.now()
  const nowMs = now.wallMs
  const evidence = weigh(rotation, answers, now)
  let known = remembered(rotation, evidence)
  await world.journal.save(known)
  const isTimeUp = nowMs >= deadlineAtMs
  if (!isTimeUp) assertNewIsUsable(await readSet(truth), known, nowMs)
  const isProved = evidence.objections.length === 0 && evidence.newUsedMs !== undefined
  const over = evidence.old.filter(
    ({ quietForMs }) => isTimeUp || (isProved && quietForMs >= plan.quietMs),
  )
  const ids = idsOf(over.map(({ token }) => token))
  const after = await editSet(truth, clock, (set) => withRefused(set, ids, nowMs))
  // Its end may also have come by a date in the set, or by hand.
  const live = idsOf(after.filter((entry) => isUsable(entry, nowMs)))
  for (const use of evidence.old) {
    if (live.has(use.token.id) || use.token.refusedAtMs !== undefined) continue
    await tellRefused(use, known, world, isTimeUp)
  }
  known = {
    ...known,
    old: known.old.map((token) =>
      live.has(token.id) ? token : { ...token, refusedAtMs: token.refusedAtMs ?? nowMs },
    ),
  }
  const left = evidence.old.filter(({ token }) => live.has(token.id))
  if (left.length === 0)
    return { rotation: await at('revoke', { ...known, refusedAtMs: nowMs }, world) }
  await world.journal.save(known)
  return { rotation: known, standing: waitingFor(known, evidence, left, nowMs) }
}

/**
 * Revokes what was refused for long enough, and ends the rotation. Gateways may be set to accept
 * those who are late for a while: a token that is used in that way is not revoked yet.
 */
export async function revoke(rotation: Rotation, world: World): Promise<Outcome> {
  const { holder, id, plan, old, refusedAtMs = 0 } = rotation
  const { truth, clock } = world
  const answers = await world.gateways.ask(plan.gateways)
  const evidence = weigh(rotation, answers, clock.now())
  const nowMs = clock.now().wallMs
  const lastMs = Math.max(refusedAtMs, ...evidence.old.map(({ lastUsedMs }) => lastUsedMs ?? 0))
  const untilMs = lastMs + plan.revokeAfterMs
  if (old.length > 0 && nowMs < untilMs) {
    const late = evidence.old.map(whoIsLate).filter((each) => each !== '')
    const dates = `the old token is refused since ${onDate(refusedAtMs)} and is revoked after ${onDate(untilMs)}`
    const words = [dates, ...late].join('; ')
    return { rotation, standing: { kind: 'waiting', words, untilMs } }
  }
  const entries = await editSet(truth, clock, (set) => withRevoked(set, idsOf(old), nowMs))
  for (const token of old) {
    const isThere = entries.some((entry) => entry.id === token.id)
    const words = `old token ${token.id} is ${isThere ? 'revoked' : 'no longer in the set'}`
    await world.tell({ name: 'revoked', holder, id: token.id, place: plan.truth, words })
  }
  await world.tell({ name: 'finished', holder, id, words: `${id} is the token of ${holder} now` })
  await world.journal.end(pastOf(rotation, 'finished', nowMs))
  return { rotation, standing: { kind: 'finished', outcome: 'finished' } }
}

/** Nothing old may end while what replaces it does not work. */
function assertNewIsUsable(entries: readonly Entry[], rotation: Rotation, nowMs: number): void {
  const entry = entries.find((each) => each.id === rotation.id)
  if (entry !== undefined && isUsable(entry, nowMs)) return
  const what = entry === undefined ? 'is no longer in' : 'has ended or was revoked in'
  throw new RotationFault(
    `the new token ${rotation.id} ${what} ${rotation.plan.truth}, so the old one stays as it is; go back with tollgate rotate abort, and begin again`,
  )
}

async function tellRefused(use: OldUse, rotation: Rotation, world: World, isTimeUp: boolean) {
  const { id } = use.token
  const { holder, plan } = rotation
  const why =
    use.quietForMs >= plan.quietMs
      ? `nobody has used it for ${inWords(use.quietForMs)}`
      : isTimeUp
        ? `its deadline has come; ${sinceWhen(use.lastUsedMs)}${who(use)}`
        : `it was ended by a date of its own, or by hand; ${sinceWhen(use.lastUsedMs)}${who(use)}`
  const words = `old token ${id} is refused: ${why}`
  await world.tell({ name: 'refused', holder, id, place: plan.truth, words })
}

function waitingFor(
  rotation: Rotation,
  { objections, newUsedMs }: Evidence,
  left: readonly OldUse[],
  nowMs: number,
): Standing {
  const { plan, id, deadlineAtMs } = rotation
  const deadline = deadlineAtMs ?? Number.POSITIVE_INFINITY
  const quietAtMs = Math.max(...left.map(({ quietForMs }) => nowMs + plan.quietMs - quietForMs))
  const end =
    deadlineAtMs === undefined
      ? 'however long that takes'
      : `at the latest on ${onDate(deadlineAtMs)}`
  const rest = left
    .map(
      (use) =>
        `old token ${use.token.id}: ${sinceWhen(use.lastUsedMs)}${who(use)}, quiet for ${inWords(use.quietForMs)} of ${inWords(plan.quietMs)}`,
    )
    .join('; ')
  const isQuiet = quietAtMs <= nowMs
  const reason =
    objections.length > 0
      ? `${objections.join('; ')}; what cannot be asked is not taken for unused`
      : newUsedMs === undefined && isQuiet
        ? `the new token ${id} has not been used yet`
        : rest
  const untilMs = Math.min(deadline, Math.max(quietAtMs, nowMs))
  return {
    kind: 'waiting',
    words: `${reason}; the old one is refused when unused, ${end}`,
    untilMs,
  }
}
