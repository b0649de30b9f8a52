/** Looks before a rotation begins whether it could go to its end, and changes nothing. */
import { FileFault } from '../secrets/file-fault.ts'
import { SourceFault } from '../secrets/source-fault.ts'
import type { Beginning } from './begin.ts'
import { nameOf } from './evidence.ts'
import type { Plan } from './rotation.ts'
import type { World } from './world.ts'

export interface Preflight {
  /** What would be done, a sentence for each place. */
  readonly findings: readonly string[]
  /** What stands in the way. */
  readonly obstacles: readonly string[]
}

/** Asks every gateway for the present token, and every place whether it would take a new one. */
export async function preflight(
  plan: Plan,
  { model }: Beginning,
  { gateways, openDelivery }: Pick<World, 'gateways' | 'openDelivery'>,
): Promise<Preflight> {
  const findings: string[] = []
  const obstacles: string[] = []
  for (const { gateway, report, problem } of await gateways.ask(plan.gateways)) {
    const name = nameOf(gateway)
    const token = report?.tokens.get(model.id)
    if (report === undefined) obstacles.push(`${name} cannot be asked: ${problem}`)
    else if (token?.fingerprint !== model.sha256.slice(0, 8).toLowerCase()) {
      const sources = report.sources.map(({ place }) => place).join(' and ')
      obstacles.push(
        `${name} does not know the present token ${model.id}, so it does not take its tokens from ${plan.truth}${sources && `, but from ${sources}`}`,
      )
    } else findings.push(`${name} knows the present token ${model.id}`)
  }
  for (const place of plan.deliver) {
    try {
      const delivery = await openDelivery(place)
      const words = await delivery.check().finally(() => delivery.close().catch(() => undefined))
      findings.push(`${place}: ${words}`)
    } catch (error) {
      if (!(error instanceof SourceFault || error instanceof FileFault)) throw error
      obstacles.push(error.message)
    }
  }
  return { findings, obstacles }
}
