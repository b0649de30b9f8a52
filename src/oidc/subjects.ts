/** Who has shown JWTs and what became of it: what the ledger is for other tokens, for as long as the process runs. */
import { REFUSAL_REASONS } from '../pipeline/outcome.ts'
import type { Ending, Token } from '../pipeline/ports.ts'

const REFUSALS: ReadonlySet<string> = new Set(REFUSAL_REASONS)

/** What became of the JWTs of one subject since the start. Times are Unix milliseconds; undefined for never. */
export interface SubjectUsage {
  /** The same for every JWT of a subject. */
  readonly id: string
  readonly holder: string
  /** Subjects have no rotation of ours: as long as their issuer gives them JWTs they are current. */
  readonly state: 'current'
  /** Each JWT has its own end, which comes soon and is no news. */
  readonly expiresAtMs: undefined
  readonly firstUsedMs: number | undefined
  readonly lastUsedMs: number | undefined
  /** Requests admitted, and the bytes of their messages. */
  readonly requests: number
  readonly bytes: number
  readonly graceUses: 0
  readonly retiringUses: 0
  readonly refusals: ReadonlyMap<string, number>
}

class Subject implements SubjectUsage {
  readonly id: string
  readonly state = 'current'
  readonly expiresAtMs = undefined
  readonly graceUses = 0
  readonly retiringUses = 0
  readonly refusals = new Map<string, number>()
  holder: string
  firstUsedMs: number | undefined
  lastUsedMs: number | undefined
  requests = 0
  bytes = 0

  constructor({ id, holder }: Token) {
    this.id = id
    this.holder = holder
  }
}

/** The subjects; the one whose last JWT was verified longest ago goes when there is no room. */
export class Subjects {
  readonly #max: number
  readonly #subjects = new Map<string, Subject>()
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
  seen(token: Token): void {
    const subject = this.#subjects.get(token.id) ?? new Subject(token)
    subject.holder = token.holder
    this.#subjects.delete(token.id)
    if (this.#subjects.size >= this.#max) {
      const [oldest] = this.#subjects.keys()
      if (oldest !== undefined) this.#subjects.delete(oldest)
      this.#evictions += 1
    }
    this.#subjects.set(token.id, subject)
  }

  /** A request was admitted. */
  used({ id }: Token, wallMs: number): void {
    const subject = this.#subjects.get(id)
    if (subject === undefined) return
    subject.requests += 1
    subject.firstUsedMs ??= wallMs
    subject.lastUsedMs = wallMs
  }

  /** A request that showed one of its JWTs has ended. */
  ended({ id }: Token, { outcome, bytesIn }: Pick<Ending, 'outcome' | 'bytesIn'>): void {
    const subject = this.#subjects.get(id)
    if (subject === undefined) return
    subject.bytes += bytesIn
    if (REFUSALS.has(outcome))
      subject.refusals.set(outcome, (subject.refusals.get(outcome) ?? 0) + 1)
  }

  /** All that are remembered. */
  usage(): Iterable<SubjectUsage> {
    return this.#subjects.values()
  }
}
