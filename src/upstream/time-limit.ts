/** How long a call may take: the collector's time limit and the client's deadline. */

/** Node's timers overflow beyond; nobody waits that long. */
const LONGEST_TIMER_MS = 2 ** 31 - 1

/**
 * The client's deadline is a point in time. Our own limit counts the time the collector takes, so
 * it starts again with each piece a slow client sends and rests while the client is awaited.
 */
export class TimeLimit {
  readonly #timeoutMs: number
  readonly #deadlineMs: number
  readonly #now: () => number
  #own: NodeJS.Timeout | undefined
  #client: NodeJS.Timeout | undefined
  #isOver = false
  #expire: (message: string) => void = () => {}

  constructor(timeoutMs: number, deadlineMs: number, now: () => number) {
    this.#timeoutMs = timeoutMs
    this.#deadlineMs = deadlineMs
    this.#now = now
  }

  /** What the collector is told: the client's rest, and of a message that is at hand our limit too. */
  remainingMs(isStreamed: boolean): number {
    const clientMs = this.#deadlineMs - this.#now()
    return isStreamed ? clientMs : Math.min(clientMs, this.#timeoutMs)
  }

  /** Calls `expire` once, with the reason in words, unless stopped before. */
  start(expire: (message: string) => void): void {
    this.#expire = expire
    this.#own = setTimeout(() => this.#end('our time limit'), this.#timeoutMs)
    const clientMs = this.#deadlineMs - this.#now()
    if (clientMs < LONGEST_TIMER_MS) {
      this.#client = setTimeout(() => this.#end("the client's deadline"), Math.max(0, clientMs))
    }
  }

  /** Stops and restarts our own limit. */
  pause(isPaused: boolean): void {
    clearTimeout(this.#own)
    if (!isPaused && !this.#isOver)
      this.#own = setTimeout(() => this.#end('our time limit'), this.#timeoutMs)
  }

  stop(): void {
    this.#isOver = true
    clearTimeout(this.#own)
    clearTimeout(this.#client)
  }

  #end(whose: string): void {
    this.stop()
    this.#expire(`no answer of the collector within ${whose}`)
  }
}
