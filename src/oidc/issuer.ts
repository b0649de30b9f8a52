/**
 * One issuer: where its keys are (OpenID Connect Discovery 1.0 section 4) and which they are. They are
 * read beside the requests, at start and from time to time; the last good ones stay while the issuer
 * is away.
 */
import type { Clock } from '../pipeline/ports.ts'
import { DocumentFault, isLoopbackUrl } from './documents.ts'
import { type KeySet, keySetFrom } from './key-set.ts'

/** Keys are read again after this time. */
const MAX_AGE_MS = 10 * 60_000
/** Unknown names of keys make them be read no more often than this, whoever sends them. */
const COOLDOWN_MS = 5000
/** Pauses after failures double from the first to the last. */
const FIRST_PAUSE_MS = 1000
const LAST_PAUSE_MS = 60_000

export interface IssuerOptions {
  /** As it stands in the `iss` claim, to the letter. */
  readonly url: string
  /** Where its keys are; undefined: discovery says it. */
  readonly jwksUrl: string | undefined
  readonly fetch: (url: URL) => Promise<unknown>
  readonly clock: Clock
  /** Told of each read: undefined for a good one, what was wrong in words otherwise. */
  readonly onRead?: (problem: string | undefined) => void
  /** For tests: default ten minutes, and five seconds. */
  readonly maxAgeMs?: number
  readonly cooldownMs?: number
}

export class Issuer {
  readonly url: string
  readonly #options: IssuerOptions
  #keys: KeySet | undefined
  #reading: Promise<void> | undefined
  /** Whoever waits for a read that has not begun. */
  #next: PromiseWithResolvers<void> | undefined
  #beganMs = Number.NEGATIVE_INFINITY
  #lastGoodMs: number | undefined
  #failures = 0
  #timer: NodeJS.Timeout | undefined
  #isClosed = false

  constructor(options: IssuerOptions) {
    this.#options = options
    this.url = options.url
  }

  /** The last good keys; undefined before the first. */
  get keys(): KeySet | undefined {
    return this.#keys
  }

  /** Whether the last read was good. */
  get isGood(): boolean {
    return this.#lastGoodMs !== undefined && this.#failures === 0
  }

  /** When the keys were last read well, as Unix time. */
  get lastGoodMs(): number | undefined {
    return this.#lastGoodMs
  }

  /** The read under way; undefined where there is none. Never rejects. */
  get reading(): Promise<void> | undefined {
    return this.#reading
  }

  /** Begins to read, and reads again from time to time. */
  start(): void {
    this.#plan(0)
  }

  /** Resolves when a read has ended, well or not, that begins after this call: soon, but not more often than the cooldown allows. */
  refreshed(): Promise<void> {
    this.#next ??= Promise.withResolvers()
    const { promise } = this.#next
    if (this.#reading === undefined) this.#plan(this.#cooldownLeftMs())
    return promise
  }

  close(): void {
    this.#isClosed = true
    clearTimeout(this.#timer)
    this.#next?.resolve()
  }

  #cooldownLeftMs(): number {
    const { clock, cooldownMs = COOLDOWN_MS } = this.#options
    return Math.max(0, this.#beganMs + cooldownMs - clock.nowMs())
  }

  #plan(pauseMs: number): void {
    clearTimeout(this.#timer)
    if (this.#isClosed) return
    if (pauseMs === 0) this.#begin()
    // Never what keeps the process alive.
    else this.#timer = setTimeout(() => this.#begin(), pauseMs).unref()
  }

  #begin(): void {
    const waiting = this.#next
    this.#next = undefined
    this.#beganMs = this.#options.clock.nowMs()
    this.#reading = this.#read().then(() => {
      this.#reading = undefined
      waiting?.resolve()
      this.#plan(this.#next === undefined ? this.#pauseMs() : this.#cooldownLeftMs())
    })
  }

  #pauseMs(): number {
    const { maxAgeMs = MAX_AGE_MS } = this.#options
    const failedMs = Math.min(LAST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (this.#failures - 1))
    const pauseMs = this.#failures === 0 ? maxAgeMs : Math.min(failedMs, maxAgeMs)
    // Several gateways do not ask in step.
    return pauseMs * (0.9 + Math.random() * 0.2)
  }

  async #read(): Promise<void> {
    const { jwksUrl, fetch, onRead, clock } = this.#options
    try {
      const at = jwksUrl === undefined ? await this.#discover() : new URL(jwksUrl)
      const keys = keySetFrom(await fetch(at), at.href)
      if (this.#isClosed) return
      this.#keys = keys
      this.#lastGoodMs = clock.wallMs()
      this.#failures = 0
      onRead?.(undefined)
    } catch (error) {
      if (this.#isClosed) return
      this.#failures += 1
      onRead?.(error instanceof Error ? error.message : String(error))
    }
  }

  /** Where discovery says the keys are. What a JWT itself says of that is never looked at. */
  async #discover(): Promise<URL> {
    const { fetch } = this.#options
    const at = new URL(`${this.url.replace(/\/$/, '')}/.well-known/openid-configuration`)
    const document = (await fetch(at)) as { issuer?: unknown; jwks_uri?: unknown } | null
    if (document?.issuer !== this.url) {
      const found = JSON.stringify(document?.issuer)?.slice(0, 200)
      throw new DocumentFault(`${at.href} is of the issuer ${found}; expected "${this.url}"`)
    }
    const { jwks_uri: jwksUri } = document
    const url = typeof jwksUri === 'string' && URL.canParse(jwksUri) ? new URL(jwksUri) : undefined
    if (url === undefined) throw new DocumentFault(`${at.href} has no URL as its jwks_uri`)
    // An issuer elsewhere has no business on this machine.
    const isLocal = isLoopbackUrl(at)
    if (isLoopbackUrl(url) !== isLocal || (!isLocal && url.protocol !== 'https:'))
      throw new DocumentFault(
        `${at.href} has the jwks_uri ${url.href}; expected ${isLocal ? 'one on this machine' : 'https, and not this machine'}`,
      )
    return url
  }
}
