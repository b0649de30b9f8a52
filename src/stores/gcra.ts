import type { Rate } from '../pipeline/ports.ts'
import { ExpiringTable } from './expiring-table.ts'

/** Smallest wait that is told; what is below it is the rounding of the arithmetic. */
const EPSILON_MS = 1e-6

/**
 * The generic cell rate algorithm (ITU-T I.371, virtual scheduling) over a bounded table: one
 * timestamp a key, the theoretical arrival time (TAT), at which the key's budget is full again. A key
 * whose TAT has passed means the same as an absent one.
 */
export class Gcra {
  readonly #tats: ExpiringTable<number>

  /** `maxKeys`: most keys remembered at once, default 100 000 (about 10 MB). */
  constructor(maxKeys = 100_000) {
    this.#tats = new ExpiringTable({ maxKeys, expiresMs: (tatMs) => tatMs })
  }

  /** Keys remembered now. */
  get size(): number {
    return this.#tats.size
  }

  /** Keys forgotten before their budget was full again, since the start. */
  get evictions(): number {
    return this.#tats.evictions
  }

  /**
   * Milliseconds until `cost` conforms; 0 = now. Takes nothing. A cost above the burst conforms when
   * the budget is full, so it is late but never refused for ever.
   */
  waitMs(key: string, rate: Rate, nowMs: number, cost = 1): number {
    const tatMs = this.#tats.get(key)
    if (tatMs === undefined || tatMs <= nowMs) return 0
    const room = rate.burst - Math.min(cost, rate.burst)
    const waitMs = tatMs - nowMs - (room * 1000) / rate.perSecond
    return waitMs > EPSILON_MS ? waitMs : 0
  }

  /** Takes `cost` whether it conforms or not; what is overdrawn is waited for by those who follow. */
  take(key: string, rate: Rate, nowMs: number, cost = 1): void {
    const fromMs = Math.max(this.#tats.get(key) ?? nowMs, nowMs)
    this.#tats.set(key, fromMs + (cost * 1000) / rate.perSecond, nowMs)
  }

  /** Whole units that conform now (0 when overdrawn), and the time until the budget is full again. */
  peek(key: string, rate: Rate, nowMs: number): { remaining: number; resetMs: number } {
    const resetMs = Math.max(0, (this.#tats.get(key) ?? nowMs) - nowMs)
    const remaining = rate.burst - (resetMs * rate.perSecond) / 1000
    return { remaining: Math.max(0, Math.floor(remaining + EPSILON_MS)), resetMs }
  }
}
