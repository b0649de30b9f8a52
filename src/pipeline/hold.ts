/**
 * Calls that wait instead of being refused: for budget, or for the collector to come back. Their
 * headers were judged and their bodies are unread, so a waiting call costs a stream and no buffer.
 *
 * A lane is one token from one peer. Within a lane calls leave in the order they came; between
 * lanes the next turn goes round, so a holder with many waiting calls delays himself, not others.
 * Calls that keep a permit wait in lanes of their own: those without one may be waiting for theirs.
 */
import { type Admission, admit, Delay, Permit } from './admit.ts'
import type { Arrival } from './arrival.ts'
import type { Refusal } from './outcome.ts'
import type { Clock, HoldReason, Journal } from './ports.ts'
import { Unverified } from './unverified.ts'
import { Verifying } from './verifying.ts'

/** A client that says when it will stop waiting is answered this long before. */
const MARGIN_MS = 250
/** The queue is not looked through more often than this, whatever the rates. */
const MIN_PAUSE_MS = 5
/** No one token may hold more than this share of the places. */
const TOKEN_SHARE = 0.1

export interface HoldOptions {
  /** Longest wait in milliseconds; 0 turns waiting off. */
  readonly holdMs: number
  /**
   * Calls waiting at once, over all. A token may hold a tenth of them (at least one). As many again
   * may wait for their credential to be checked.
   */
  readonly maxHeld: number
}

/** How a wait ended: admitted, refused, or the client left. */
export type Released = Permit | Refusal | 'gone'

interface Waiter {
  readonly arrival: Arrival
  readonly tokenId: string
  readonly laneKey: string
  readonly hasPermit: boolean
  /** Why the wait began; what the call waits for may change. */
  readonly why: HoldReason
  readonly sinceMs: number
  /** Asks again. A Delay keeps the call waiting. */
  readonly retry: (nowMs: number) => Permit | Refusal | Delay
  readonly settle: (released: Released) => void
  readonly fail: (thrown: unknown) => void
  delay: Delay
  timer: NodeJS.Timeout | undefined
}

export class Hold {
  readonly #lanes = new Map<string, Waiter[]>()
  readonly #heldByToken = new Map<string, number>()
  readonly #queuedByToken = new Map<string, number>()
  readonly #queuedByPeer = new Map<string, number>()
  readonly #options: HoldOptions
  readonly #admission: Admission
  readonly #clock: Clock
  readonly #journal: Journal
  readonly #verifying: Verifying
  #held = 0
  #timer: NodeJS.Timeout | undefined
  #timerDueMs = Number.POSITIVE_INFINITY

  constructor(options: HoldOptions, admission: Admission, clock: Clock, journal: Journal) {
    this.#options = options
    this.#admission = admission
    this.#clock = clock
    this.#journal = journal
    this.#verifying = new Verifying(options.maxHeld, clock)
  }

  /** Calls waiting now for budget or the collector. */
  get held(): number {
    return this.#held
  }

  /** Calls whose credential is being checked now. */
  get verifying(): number {
    return this.#verifying.size
  }

  /**
   * Admits, refuses or lets wait. A call does not overtake one that already waits for the same
   * budget. `onGone` is given what to call when the client leaves.
   */
  enter(
    arrival: Arrival,
    onGone: (leave: () => void) => void,
  ): Permit | Refusal | Promise<Released> {
    const nowMs = this.#clock.nowMs()
    const decision = admit(arrival, this.#admission, nowMs, this.#clock.wallMs(), this.#isQueued)
    if (decision instanceof Unverified) return this.#verify(arrival, decision, nowMs, onGone)
    return decision instanceof Delay ? this.#delay(arrival, decision, nowMs, onGone) : decision
  }

  /**
   * Waits until the collector can be reached again, for a call that keeps its permit because
   * nothing of it has been processed.
   */
  again(
    arrival: Arrival,
    permit: Permit,
    pauseMs: number,
    sinceMs: number,
    onGone: (leave: () => void) => void,
  ): Refusal | Promise<Released> {
    const notBeforeMs = this.#clock.nowMs() + pauseMs
    const retry = (nowMs: number) => {
      if (nowMs < notBeforeMs)
        return new Delay('collector_unavailable', permit.token, notBeforeMs - nowMs)
      if (this.#admission.destination.isAvailable()) return permit
      return new Delay('collector_unavailable', permit.token, Number.POSITIVE_INFINITY)
    }
    const delay = new Delay('collector_unavailable', permit.token, pauseMs)
    return this.#wait({ arrival, retry, hasPermit: true }, delay, sinceMs, onGone)
  }

  /** Something changed (the collector is back, a call ended, tokens were reloaded): look through the queue soon. */
  readonly wake = (): void => {
    if (this.#held > 0) this.#schedule(0)
  }

  /** Ends every wait with this refusal: the drain time is over. */
  refuseAll(refusal: Refusal): void {
    this.#verifying.refuseAll(refusal)
    for (const lane of [...this.#lanes.values()])
      for (const waiter of [...lane]) this.#end(waiter, refusal)
  }

  async #verify(
    arrival: Arrival,
    unverified: Unverified,
    sinceMs: number,
    onGone: (leave: () => void) => void,
  ): Promise<Released> {
    const checked = await this.#verifying.wait(unverified, arrival, onGone)
    if (checked === 'gone') return checked
    if (typeof checked === 'object' && 'refusal' in checked) return checked.refusal
    const nowMs = this.#clock.nowMs()
    const wallMs = this.#clock.wallMs()
    const decision = admit(arrival, this.#admission, nowMs, wallMs, this.#isQueued, checked)
    if (!(decision instanceof Delay)) return settled(decision)
    return this.#delay(arrival, decision, sinceMs, onGone)
  }

  #delay(
    arrival: Arrival,
    delay: Delay,
    sinceMs: number,
    onGone: (leave: () => void) => void,
  ): Refusal | Promise<Released> {
    const retry = (nowMs: number) =>
      settled(admit(arrival, this.#admission, nowMs, this.#clock.wallMs()))
    return this.#wait({ arrival, retry, hasPermit: false }, delay, sinceMs, onGone)
  }

  /** Whether others already wait for what this peer or this token would take. */
  readonly #isQueued = (peerKey: string, tokenId: string): boolean =>
    this.#held > 0 && (this.#queuedByPeer.has(peerKey) || this.#queuedByToken.has(tokenId))

  #wait(
    asking: Pick<Waiter, 'arrival' | 'retry' | 'hasPermit'>,
    delay: Delay,
    sinceMs: number,
    onGone: (leave: () => void) => void,
  ): Refusal | Promise<Released> {
    const { arrival, hasPermit } = asking
    const { holdMs, maxHeld } = this.#options
    const nowMs = this.#clock.nowMs()
    const untilMs = Math.min(sinceMs + holdMs, arrival.deadlineMs - MARGIN_MS)
    const tokenPlaces = Math.max(1, Math.floor(maxHeld * TOKEN_SHARE))
    const hasRoom =
      this.#held < maxHeld && (this.#heldByToken.get(delay.token.id) ?? 0) < tokenPlaces
    const canMakeIt =
      nowMs < untilMs &&
      (delay.waitMs === Number.POSITIVE_INFINITY || nowMs + delay.waitMs < untilMs)
    if (!hasRoom || !canMakeIt) return delay.refusal()

    return new Promise<Released>((settle, fail) => {
      const waiter: Waiter = {
        ...asking,
        tokenId: delay.token.id,
        laneKey: `${hasPermit ? 'again' : 'enter'} ${delay.token.id} ${arrival.peer.key}`,
        why: delay.why,
        sinceMs: nowMs,
        settle,
        fail,
        delay,
        timer: undefined,
      }
      waiter.timer = setTimeout(() => this.#end(waiter, waiter.delay.refusal()), untilMs - nowMs)
      const lane = this.#lanes.get(waiter.laneKey)
      if (lane === undefined) this.#lanes.set(waiter.laneKey, [waiter])
      else lane.push(waiter)
      this.#count(waiter, 1)
      this.#journal.held(arrival, delay.why)
      onGone(() => this.#end(waiter, 'gone'))
      this.#schedule(delay.waitMs)
    })
  }

  #schedule(waitMs: number): void {
    if (waitMs === Number.POSITIVE_INFINITY) return
    // Nobody waits longer than holdMs, and a timer beyond 2^31 ms would fire at once.
    const pauseMs = Math.max(MIN_PAUSE_MS, Math.min(waitMs, this.#options.holdMs))
    const dueMs = this.#clock.nowMs() + pauseMs
    if (dueMs >= this.#timerDueMs) return
    clearTimeout(this.#timer)
    this.#timerDueMs = dueMs
    this.#timer = setTimeout(this.#turn, pauseMs)
  }

  /** Goes round the lanes until nobody at the head of one can leave. */
  readonly #turn = (): void => {
    this.#timer = undefined
    this.#timerDueMs = Number.POSITIVE_INFINITY
    const blocked = new Map<string, number>()
    let someoneLeft = true
    while (someoneLeft) {
      someoneLeft = false
      for (const [key, lane] of [...this.#lanes]) {
        const head = lane[0]
        if (head === undefined || blocked.has(key)) continue
        const decision = this.#ask(head)
        if (decision instanceof Delay) {
          head.delay = decision
          blocked.set(key, decision.waitMs)
          continue
        }
        if (decision !== undefined) this.#end(head, decision)
        someoneLeft = true
        // The lane that had its turn goes to the end of the round.
        if (this.#lanes.delete(key) && lane.length > 0) this.#lanes.set(key, lane)
      }
    }
    let soonestMs = Number.POSITIVE_INFINITY
    for (const waitMs of blocked.values()) soonestMs = Math.min(soonestMs, waitMs)
    if (this.#held > 0) this.#schedule(soonestMs)
  }

  /** Asks for a waiter again. What is thrown ends its wait and goes to its own call, not to the others. */
  #ask(waiter: Waiter): Permit | Refusal | Delay | undefined {
    try {
      return waiter.retry(this.#clock.nowMs())
    } catch (thrown) {
      if (this.#leave(waiter, 'refused')) waiter.fail(thrown)
      return undefined
    }
  }

  #end(waiter: Waiter, released: Released): void {
    const how = released === 'gone' ? 'gone' : released instanceof Permit ? 'saved' : 'refused'
    if (this.#leave(waiter, how)) waiter.settle(released)
  }

  /** Takes a waiter out of the queue; false where it has left already. */
  #leave(waiter: Waiter, how: 'saved' | 'refused' | 'gone'): boolean {
    const lane = this.#lanes.get(waiter.laneKey)
    const at = lane?.indexOf(waiter) ?? -1
    if (lane === undefined || at < 0) return false
    lane.splice(at, 1)
    if (lane.length === 0) this.#lanes.delete(waiter.laneKey)
    clearTimeout(waiter.timer)
    this.#count(waiter, -1)
    if (this.#held === 0) {
      clearTimeout(this.#timer)
      this.#timerDueMs = Number.POSITIVE_INFINITY
    }
    const waitedMs = this.#clock.nowMs() - waiter.sinceMs
    this.#journal.unheld(waiter.arrival, waiter.why, how, waitedMs)
    return true
  }

  #count({ tokenId, arrival, hasPermit }: Waiter, by: 1 | -1): void {
    this.#held += by
    add(this.#heldByToken, tokenId, by)
    if (hasPermit) return
    add(this.#queuedByToken, tokenId, by)
    add(this.#queuedByPeer, arrival.peer.key, by)
  }
}

/** A credential that was checked and has been forgotten since: so many are in use that room ran out. */
function settled<D>(decision: D | Unverified): D | Refusal {
  return decision instanceof Unverified ? { reason: 'overloaded' } : decision
}

function add(counts: Map<string, number>, key: string, by: number): void {
  const count = (counts.get(key) ?? 0) + by
  if (count > 0) counts.set(key, count)
  else counts.delete(key)
}
