import { Permit } from './admit.ts'
import type { Arrival } from './arrival.ts'
import type { Hold, Released } from './hold.ts'
import type { Answered, FaultReason, Outcome, Refusal } from './outcome.ts'
import type { Clock, Journal, Token } from './ports.ts'

/** One request and its answer, whichever protocol and HTTP version carry it. */
export interface Exchange {
  readonly arrival: Arrival
  /** Bytes of the message read so far, and of the answer sent. */
  readonly bytesIn: number
  readonly bytesOut: number
  /**
   * Reads the body, sends it to the collector and answers the client. A refusal is returned where
   * the body turns out to be at fault; what the collector or the client does wrong is thrown.
   */
  forward(permit: Permit): Promise<Answered | Refusal>
  /** Answers without reading any further. Never throws; does nothing once an answer has begun. */
  refuse(refusal: Refusal): void
  /** The request is over and accounted for: lets go of everything. Called once. */
  close(): void
  /** Calls back once when the client goes away before it was answered (at once if it has already). */
  onGone(listener: () => void): void
}

/** What a thrown fault means. */
export interface FaultReport {
  readonly reason: FaultReason
  /** Nothing of the call was processed and all of it is still at hand, so it may be sent again. */
  readonly canSendAgain: boolean
}

export interface Pipeline {
  readonly hold: Hold
  readonly journal: Journal
  readonly clock: Clock
  faultOf(thrown: unknown): FaultReport
}

/** A call that was not processed is sent again at most this often, with growing pauses. */
const MAX_SENDS = 5
const PAUSE_MS = 100

/**
 * The life of a request: admit (or wait), forward, answer, account. Never throws. Every call ends in
 * exactly one outcome, so `arrivals = Σ outcomes + in flight` at all times.
 */
export async function serve(
  exchange: Exchange,
  { hold, journal, clock, faultOf }: Pipeline,
): Promise<void> {
  const { arrival } = exchange
  const startMs = clock.nowMs()
  let outcome: Outcome = 'internal'
  let refusal: Refusal | undefined
  let permit: Permit | undefined
  let token: Token | undefined
  let cause: unknown
  journal.arrived(arrival)
  const onGone = (leave: () => void) => exchange.onGone(leave)
  try {
    const entered = hold.enter(arrival, onGone)
    let decision: Released | Answered = entered instanceof Promise ? await entered : entered
    for (let sends = 1; decision instanceof Permit; sends += 1) {
      permit = decision
      token = permit.token
      try {
        decision = await exchange.forward(permit)
        cause = undefined
      } catch (thrown) {
        const fault = faultOf(thrown)
        cause = thrown
        decision =
          fault.canSendAgain && sends < MAX_SENDS
            ? await hold.again(arrival, permit, PAUSE_MS * sends, startMs, onGone)
            : { reason: fault.reason }
      }
    }
    if (decision === 'gone') outcome = 'client_gone'
    else if (typeof decision === 'string') outcome = decision
    else {
      refusal = decision
      outcome = decision.reason
      exchange.refuse(decision)
    }
  } catch (thrown) {
    cause = thrown
    exchange.refuse({ reason: 'internal' })
  } finally {
    permit?.release()
    hold.wake()
    const durationMs = clock.nowMs() - startMs
    const { bytesIn, bytesOut } = exchange
    journal.ended(arrival, { outcome, token, refusal, durationMs, bytesIn, bytesOut, cause })
    exchange.close()
  }
}
