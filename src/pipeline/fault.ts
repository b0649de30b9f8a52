import type { FaultReason, Refusal } from './outcome.ts'
import type { FaultReport } from './serve.ts'

/** Whose doing a fault was. */
export type FaultSource = 'client' | 'collector' | 'gateway'

/** What the world did to a request that had been admitted. The cause is for the log, never for the wire. */
export class Fault extends Error implements FaultReport {
  override readonly name = 'Fault'
  readonly reason: FaultReason
  readonly source: FaultSource
  readonly canSendAgain: boolean

  constructor(
    reason: FaultReason,
    source: FaultSource,
    options: { cause?: unknown; canSendAgain?: boolean; message?: string } = {},
  ) {
    super(options.message ?? reason, { cause: options.cause })
    this.reason = reason
    this.source = source
    this.canSendAgain = options.canSendAgain ?? false
  }
}

/** Carries a refusal out of the middle of a body being read: the body turned out to be at fault. */
export class BodyRefused extends Error {
  override readonly name = 'BodyRefused'
  readonly refusal: Refusal

  constructor(refusal: Refusal) {
    super(refusal.reason)
    this.refusal = refusal
  }
}

/** What a thrown value means for the request. Anything we did not expect is our own fault. */
export function faultOf(thrown: unknown): FaultReport {
  return thrown instanceof Fault ? thrown : { reason: 'internal', canSendAgain: false }
}
