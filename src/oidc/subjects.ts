/** Who has shown JWTs, and how often: the usage that the ledger keeps of other tokens, for as long as the process runs. */
import type { Token } from '../pipeline/ports.ts'

/** Times are Unix milliseconds; undefined for never. */
export interface SubjectUsage {
  /** The same for every JWT of a subject. */
  readonly id: string
  readonly holder: string
  /** Requests admitted since the gateway started. */
  readonly count: number
  readonly firstUsedMs: number | undefined
  readonly lastUsedMs: number | undefined
}

/** Usage of JWTs by subject; the one whose last JWT was verified longest ago goes when there is no room. */
export class Subjects {
  readonly #max: number
  readonly #subjects = new Map<string, { -readonly [K in keyof SubjectUsage]: SubjectUsage[K] }>()
  #evictions = 0

  /** `max`: most subjects, at least 1. */
  constructor(max: number) {
    this.#max = max
  }

  get size(): number {
    return this.#subjects.size
  }

  /** Subjects forgotten for want of room, since the start. */
  get evictions(): number {
    return this.#evictions
  }

  /** A JWT of this subject was verified. */
  seen({ id, holder }: Token): void {
    const known = this.#subjects.get(id)
    this.#subjects.delete(id)
    if (this.#subjects.size >= this.#max) {
      const [oldest] = this.#subjects.keys()
      if (oldest !== undefined) this.#subjects.delete(oldest)
      this.#evictions += 1
    }
    const fresh = { id, holder, count: 0, firstUsedMs: undefined, lastUsedMs: undefined }
    this.#subjects.set(id, known === undefined ? fresh : { ...known, holder })
  }

  /** A request was admitted. */
  used(id: string, wallMs: number): void {
    const usage = this.#subjects.get(id)
    if (usage === undefined) return
    usage.count += 1
    usage.firstUsedMs ??= wallMs
    usage.lastUsedMs = wallMs
  }

  /** All that are remembered. */
  usage(): Iterable<SubjectUsage> {
    return this.#subjects.values()
  }
}
