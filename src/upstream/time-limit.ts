/** How long a call may take: the collector's time limit and the client's deadline. */

/** Node's timers overflow beyond; nobody waits that long. */
const LONGEST_TIMER_MS = 2 ** 31 - 1
/** Node keeps a list for each length of timers: lengths are rounded up to a few. */
const GRAIN_MS = 100

/** Who is told that the time is up. */
export interface Limited {
  timeOut(message: string): void
}

/**
 * The client's deadline is a point in time. Our own limit counts the time the collector takes, so
 * it starts again with each piece a slow client sends and rests while the client is awaited.
 */
export class TimeLimit {
  readonly #timeoutMs: number
  readonly #deadlineMs: number
  readonly #now: () => number
  readonly #limited: Limited
  #timer: NodeJS.Timeout | undefined

  constructor(timeoutMs: number, deadlineMs: number, now: () => number, limited: Limited) {
    this.#timeoutMs = timeoutMs
    this.#deadlineMs = deadlineMs
    this.#now = now
    this.#limited = limited
  }

  /** What the collector is told: the client's rest, and of a message that is at hand our limit too. */
  remainingMs(isStreamed: boolean): number {
    if (this.#deadlineMs === Number.POSITIVE_INFINITY) {
      return isStreamed ? this.#deadlineMs : this.#timeoutMs
    }
    const clientMs = this.#deadlineMs - this.#now()
    return isStreamed ? clientMs : Math.min(clientMs, this.#timeoutMs)
  }

  /** Begins. `timeOut` is called once, with the reason in words, unless stopped before. */
  start(): void {
    this.#arm(this.#timeoutMs)
  }

  /** Stops and restarts our own limit. */
  pause(isPaused: boolean): void {
    this.#arm(isPaused ? LONGEST_TIMER_MS : this.#timeoutMs)
  }

  stop(): void {
    clearTimeout(this.#timer)
  }

  #arm(ownMs: number): void {
    clearTimeout(this.#timer)
    const hasDeadline = this.#deadlineMs !== Number.POSITIVE_INFINITY
    const clientMs = hasDeadline ? Math.max(0, this.#deadlineMs - this.#now()) : ownMs
    if (ownMs <= clientMs) {
      this.#timer = setTimeout(OWN_IS_OVER, ownMs, this.#limited)
    } else {
      const grainMs = clientMs > 10 * GRAIN_MS ? GRAIN_MS : 1
      // Never early: Node drops fractions.
      const ms = Math.ceil(clientMs / grainMs) * grainMs
      this.#timer = setTimeout(CLIENTS_IS_OVER, ms, this.#limited)
    }
  }
}

const OWN_IS_OVER = (limited: Limited) =>
  limited.timeOut('no answer of the collector within our time limit')
const CLIENTS_IS_OVER = (limited: Limited) =>
  limited.timeOut("no answer of the collector within the client's deadline")
