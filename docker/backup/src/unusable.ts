/** Errors of this tool, in words for the person who runs it. */

/** A backup that must not be trusted. */
export class Unusable extends Error {
  override readonly name = 'Unusable'
}

/** Where a run was when it failed; the label of the counter of failures. */
export const STAGES = [
  'lock',
  'space',
  'snapshot',
  'gateway',
  'local',
  's3',
  'verify',
  'prune',
] as const

export type Stage = (typeof STAGES)[number]

/** What kept a run from its end. */
export class StageFault extends Error {
  override readonly name = 'StageFault'
  readonly stage: Stage

  constructor(stage: Stage, message: string, cause?: unknown) {
    super(message, { cause })
    this.stage = stage
  }
}

/** An error as one line. */
export function said(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0)
    return error.errors.map(said).join('; ')
  if (!(error instanceof Error)) return String(error)
  // fetch says "fetch failed", and why in its cause.
  if (error.message === 'fetch failed' && error.cause !== undefined) return said(error.cause)
  return error.message || error.name
}
