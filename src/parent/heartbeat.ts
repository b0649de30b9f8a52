/**
 * Asks a gateway again and again whether it still turns its event loop. One that hangs keeps its
 * sockets and looks alive from outside, so nobody else would replace it.
 *
 * The time is counted in this process's own ticks and not on a clock: where the machine was suspended,
 * or both processes were stopped, one late tick is one tick, however much later it is.
 */
import type { GatewayProcess } from './gateway-process.ts'

/** How often it is asked. */
const EVERY_MS = 5_000
/** So many ticks without an answer, half a minute, and it hangs. Garbage collection takes a second at worst. */
const PATIENCE_TICKS = 6

export interface HeartbeatOptions {
  readonly gateway: Pick<GatewayProcess, 'order' | 'isStopped'>
  /** Told once, when it has not answered for `silentMs`. */
  onSilent(silentMs: number): void
  /** Default 5 s. */
  readonly everyMs?: number
  /** Default 6. */
  readonly patienceTicks?: number
}

export class Heartbeat {
  readonly #options: HeartbeatOptions
  readonly #timer: NodeJS.Timeout
  /** One of an older version never answers. */
  #canAnswer = false
  #isAsked = false
  #missedTicks = 0

  constructor(options: HeartbeatOptions) {
    this.#options = options
    this.#timer = setInterval(() => this.#tick(), options.everyMs ?? EVERY_MS).unref()
    this.#ask()
  }

  /** It has answered. */
  answered(): void {
    this.#canAnswer = true
    this.#isAsked = false
    this.#missedTicks = 0
  }

  /** Asks no more. */
  stop(): void {
    clearInterval(this.#timer)
  }

  #ask(): void {
    this.#isAsked = true
    this.#options.gateway.order({ kind: 'ping' })
  }

  #tick(): void {
    // A question is never lost, so there is one at a time, however long it waits.
    if (!this.#isAsked) this.#ask()
    else if (this.#canAnswer) this.#missed()
  }

  #missed(): void {
    const { gateway, onSilent, everyMs = EVERY_MS, patienceTicks = PATIENCE_TICKS } = this.#options
    this.#missedTicks += 1
    if (this.#missedTicks < patienceTicks) return
    if (gateway.isStopped()) {
      // Somebody has stopped it, or looks at it with a debugger. From then on it has its time anew.
      this.#missedTicks = 0
      return
    }
    this.stop()
    onSilent(patienceTicks * everyMs)
  }
}
