/** Renews the development certificate while the gateway runs; what watches its files takes it up. */
import {
  type DevelopmentCertificate,
  type DevelopmentOptions,
  ensureDevelopmentCertificate,
} from './development.ts'

const HOUR_MS = 3_600_000

export interface DevelopmentRenewalOptions
  extends Pick<DevelopmentOptions, 'stateDir' | 'hostName' | 'lifeMs'> {
  readonly wallMs?: () => number
  /** A new server certificate is in its files. */
  readonly onRenewed: (made: DevelopmentCertificate) => void
  /** It could not be renewed; told once for the same reason. It is tried again every hour. */
  readonly onTrouble: (error: Error) => void
  /** Longest wait between two looks; default an hour, as clocks are set and machines sleep. */
  readonly everyMs?: number
}

/**
 * Looks after the development certificate: it is renewed with a third of its life left, under the same
 * CA. A new CA is never made here. The timer does not keep the process alive.
 */
export class DevelopmentRenewal {
  readonly #options: DevelopmentRenewalOptions
  #timer: NodeJS.Timeout | undefined
  #work: Promise<void> = Promise.resolve()
  #toldOf: string | undefined
  #isClosed = false

  constructor(options: DevelopmentRenewalOptions) {
    this.#options = options
  }

  /** Looks in an hour, and from then on by itself: the certificate was good a moment ago. */
  start(): void {
    this.#lookIn(this.#options.everyMs ?? HOUR_MS)
  }

  /** Looks now, and from now on by itself. Never rejects; resolves when the look is over. */
  look(): Promise<void> {
    this.#work = this.#work.then(() => this.#lookNow())
    return this.#work
  }

  /** Ends it; a look under way is finished first. */
  async close(): Promise<void> {
    this.#isClosed = true
    clearTimeout(this.#timer)
    await this.#work
  }

  async #lookNow(): Promise<void> {
    if (this.#isClosed) return
    clearTimeout(this.#timer)
    const { wallMs = Date.now, onRenewed, onTrouble, everyMs = HOUR_MS, ...rest } = this.#options
    let waitMs = everyMs
    try {
      const made = await ensureDevelopmentCertificate({ ...rest, wallMs: wallMs(), newCa: 'never' })
      this.#toldOf = undefined
      waitMs = Math.min(Math.max(made.dueMs - wallMs(), 0), everyMs)
      if (made.made !== 'nothing') onRenewed(made)
    } catch (thrown) {
      const error = thrown instanceof Error ? thrown : new Error(String(thrown))
      if (error.message !== this.#toldOf) onTrouble(error)
      this.#toldOf = error.message
    }
    this.#lookIn(waitMs)
  }

  #lookIn(waitMs: number): void {
    if (this.#isClosed) return
    this.#timer = setTimeout(() => void this.look(), waitMs)
    this.#timer.unref()
  }
}
