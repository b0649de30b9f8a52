/** What a rotation needs of the world: four things it acts on, a clock, and somebody to tell. */
import type { Delivery } from '../secrets/delivery.ts'
import type { Truth } from '../secrets/truth.ts'
import type { Moment, PastRotation, Rotation, RotationEvent } from './rotation.ts'
import type { TokenReport } from './token-report.ts'

/** What one gateway says of its tokens. */
export interface GatewayAnswer {
  /** `local`, or the URL it was asked at. */
  readonly gateway: string
  /** Undefined where it could not be asked. */
  readonly report: TokenReport | undefined
  /** Why it could not be asked. */
  readonly problem?: string
}

export interface Gateways {
  /** Asks all of them at once. Never rejects; a gateway that does not answer is in the list, too. */
  ask(gateways: readonly string[]): Promise<readonly GatewayAnswer[]>
  /** Asks those that can be asked to read their sources again now. Never rejects. */
  reload(gateways: readonly string[]): Promise<void>
}

/** Where rotations under way are kept. */
export interface Journal {
  load(holder: string): Promise<Rotation | undefined>
  /** Resolves when it is on the disk. */
  save(rotation: Rotation): Promise<void>
  /** Moves it to the history. Doing so twice is as good as once. */
  end(past: PastRotation): Promise<void>
}

export interface Clock {
  now(): Moment
  sleep(ms: number): Promise<void>
}

export interface World {
  readonly truth: Truth
  readonly gateways: Gateways
  readonly journal: Journal
  readonly clock: Clock
  /** Whether gateways did not take up another rotation of this run in time: then nobody waits for them as long again. */
  readonly isHurried?: () => boolean
  /** Opens a place to deliver to. @throws {SourceFault} or {FileFault}, in words. */
  openDelivery(place: string): Promise<Delivery>
  /** Told of everything that was done, before the journal says so: after a crash perhaps twice, never not at all. */
  tell(event: RotationEvent): Promise<void>
}
