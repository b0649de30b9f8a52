/**
 * A budget for the peer: frames that make work and carry nothing take points, time and requests that
 * came to an answer give them back.
 */
import { CODE, ConnectionError } from './protocol.ts'

/** Points that a peer may use up at once by frames that make work and carry nothing. */
const PATIENCE = 1000
/** Points that come back in a second. */
const PATIENCE_PER_SECOND = 100

/** What frames cost. Requests that were answered, and DATA that was sent, give points back. */
export const COST = {
  ping: 5,
  /** An ACK of nothing. */
  ack: 5,
  /** And one more for each value. */
  settings: 20,
  priority: 1,
  reset: 10,
  /** A reset of a stream that had its time: deadlines pass for many at once, and it is no rapid one. */
  lateReset: 0,
  windowUpdate: 1,
  emptyData: 5,
  /** Less than `TINY_BYTES`, and not the last of its stream. */
  tinyData: 1,
  continuation: 10,
  unknown: 2,
  goaway: 20,
  streamError: 20,
  refused: 10,
  /** A stream the peer could not know we would not take: our SETTINGS or GOAWAY were on their way. */
  crossed: 1,
} as const

export class Patience {
  #points = PATIENCE

  /** Takes points for work that carried nothing. Throws a `ConnectionError` when there are none left. */
  charge(points: number): void {
    this.#points -= points
    if (this.#points < 0) throw new ConnectionError(CODE.ENHANCE_YOUR_CALM, 'flood')
  }

  /** Gives points back for work that was worth it. */
  refund(points: number): void {
    this.#points = Math.min(PATIENCE, this.#points + points)
  }

  /** To be called once a second. */
  replenish(): void {
    this.refund(PATIENCE_PER_SECOND)
  }
}
