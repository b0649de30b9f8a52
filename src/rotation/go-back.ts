/** Goes back on a rotation: the old tokens are as they were, and the new one is revoked. */
import type { Outcome } from './advance.ts'
import { weigh } from './evidence.ts'
import { pastOf, type Rotation } from './rotation.ts'
import { editSet } from './set-edit.ts'
import { withoutRotation } from './set-entries.ts'
import type { GatewayAnswer, World } from './world.ts'

/**
 * Why revoking the new token could lose data, a sentence each; none where nobody can have it. The
 * old token cannot be delivered again: nobody but the agents has it in plain.
 */
export function risksOfAbort(rotation: Rotation, answers: readonly GatewayAnswer[]): string[] {
  const { id, delivered, delivering, step } = rotation
  const risks = delivered.map(({ place }) => `${place} has the new token ${id} already`)
  if (delivering !== undefined) risks.push(`${delivering} may have the new token ${id} already`)
  const { newUsedMs } = weigh(rotation, answers, { wallMs: 0, uptimeMs: 0, boot: '' })
  if (newUsedMs !== undefined) risks.push(`the new token ${id} is in use already`)
  if (step === 'revoke') risks.push('the old token is refused already')
  return risks
}

/** Takes back what is in the set, in one change, and ends the rotation. */
export async function goBack(rotation: Rotation, world: World): Promise<Outcome> {
  const { holder, id, plan, old, abort } = rotation
  const { truth, clock } = world
  const nowMs = clock.now().wallMs
  await editSet(truth, clock, (set) => withoutRotation(set, rotation, nowMs))
  const kept = abort?.keepsNew ? `${id} stays valid beside it` : `${id} is revoked`
  const words = `gone back: ${old.map((token) => token.id).join(', ') || 'the old token'} is as it was, ${kept}`
  await world.tell({ name: 'aborted', holder, id, place: plan.truth, words })
  await world.gateways.reload(plan.gateways)
  await world.journal.end(pastOf(rotation, 'aborted', nowMs))
  return { rotation, standing: { kind: 'finished', outcome: 'aborted' } }
}
