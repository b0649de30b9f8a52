/**
 * Keeps one address of the collector connected: dials at the start, again when the connection is
 * lost, and at once when it is about to be (GOAWAY). Hands out places on it, no more at a time than
 * the collector allows.
 */
import { type Address, originOf } from './address.ts'
import { pauseMs } from './backoff.ts'
import { type Connection, dial } from './connection.ts'
import { collectorUnavailable, wordsOf } from './fault.ts'

/** A connection that ends sooner than this counts as a failed attempt: no tight loop of dialling. */
const STABLE_MS = 1000
/** A first attempt is given up early, since a lost SYN or a changed address is best met by a new one. */
const SHORTEST_ATTEMPT_MS = 1500
const LONGEST_ATTEMPT_MS = 5000

/** How an address stands. */
export interface AddressState {
  readonly protocol: 'grpc' | 'http'
  /** `http://host:port`. */
  readonly address: string
  readonly isConnected: boolean
  /** Why it is not, or last was not; undefined where it always was. In words, without secrets. */
  readonly lastError: string | undefined
  /** Monotonic time since when it stands so. */
  readonly sinceMs: number
}

/** Someone who needs a place on the connection. Exactly one of the two is called, once. */
export interface Taker {
  /** There is room for one stream, which is opened now or not at all. */
  take(connection: Connection): void
  /** There is no connection (any more); nothing was sent. */
  refuse(fault: Error): void
}

export interface LinkOptions {
  readonly address: Address
  /** PEM of the only CAs to trust; undefined for those of the system. */
  readonly ca: string | undefined
  readonly now: () => number
  /** Called when `isAvailable` may have changed. */
  readonly onChange: () => void
}

/**
 * - idle: not started
 * - connecting: never connected yet, an attempt is under way
 * - connected
 * - renewing: the old connection is leaving, the first attempt at a new one is under way; calls wait for it
 * - away: lost; attempts follow each other with pauses
 * - closed
 */
type State = 'idle' | 'connecting' | 'connected' | 'renewing' | 'away' | 'closed'

export class Link {
  readonly #options: LinkOptions
  readonly #connections = new Set<Connection>()
  #current: Connection | undefined
  #state: State = 'idle'
  #sinceMs: number
  #lastError: string | undefined
  #attempts = 0
  #timer: NodeJS.Timeout | undefined
  #waiting: Taker[] = []

  constructor(options: LinkOptions) {
    this.#options = options
    this.#sinceMs = options.now()
  }

  get isAvailable(): boolean {
    return this.#state === 'connected' || this.#state === 'renewing'
  }

  get state(): AddressState {
    return {
      protocol: 'grpc',
      address: originOf(this.#options.address),
      isConnected: this.isAvailable,
      lastError: this.#lastError,
      sinceMs: this.#sinceMs,
    }
  }

  start(): void {
    if (this.#state !== 'idle') return
    this.#become('connecting')
    this.#dial()
  }

  /** Ends the connections and whatever is still open on them. */
  async close(): Promise<void> {
    this.#become('closed')
    clearTimeout(this.#timer)
    this.#refuseWaiting('the gateway is stopping')
    await Promise.all([...this.#connections].map((connection) => connection.destroy()))
  }

  /** Asks for a place. Served in the order asked, at once where there is room. */
  ask(taker: Taker): void {
    if (!this.isAvailable) {
      taker.refuse(collectorUnavailable(true, this.#lastError ?? 'the collector is not connected'))
      return
    }
    this.#waiting.push(taker)
    this.#serve()
  }

  /** Takes back the asking: neither function is called any more. */
  forget(taker: Taker): void {
    const at = this.#waiting.indexOf(taker)
    if (at >= 0) this.#waiting.splice(at, 1)
  }

  /** A stream has ended, so there may be room for who waits. */
  released(): void {
    if (this.#waiting.length > 0) this.#serve()
  }

  /** A call ran out of time and nothing arrived on its connection meanwhile: new calls use another. */
  suspect(connection: Connection): void {
    if (this.#current !== connection) return
    this.#lastError = 'nothing arrives on the connection any more'
    connection.http2.close()
    this.#renew(connection)
  }

  #serve(): void {
    const connection = this.#current
    while (connection?.http2.hasRoom) {
      const taker = this.#waiting.shift()
      if (taker === undefined) return
      taker.take(connection)
    }
  }

  #dial(): void {
    const { address, ca, now } = this.#options
    const timeoutMs = Math.min(LONGEST_ATTEMPT_MS, SHORTEST_ATTEMPT_MS * 2 ** this.#attempts)
    const connection = dial(address, ca, timeoutMs, now(), {
      ready: () => this.#ready(connection),
      leaving: () => this.#renew(connection),
      ended: (error) => this.#ended(connection, error),
    })
    this.#connections.add(connection)
    this.#current = undefined
    this.#dialled = connection
  }
  #dialled: Connection | undefined

  #ready(connection: Connection): void {
    if (connection === this.#dialled) {
      this.#dialled = undefined
      this.#current = connection
      this.#become('connected')
    }
    if (connection === this.#current) this.#serve()
  }

  /** The connection in use takes nothing new: the next one is dialled beside it. */
  #renew(connection: Connection): void {
    if (connection !== this.#current) return
    this.#current = undefined
    if (this.#wasStable(connection)) {
      this.#become('renewing')
      this.#dial()
    } else this.#retryLater('the collector closes each connection at once')
  }

  #ended(connection: Connection, error: Error | undefined): void {
    this.#connections.delete(connection)
    if (this.#state === 'closed') return
    if (connection !== this.#current && connection !== this.#dialled) return
    const words = error === undefined ? 'connection closed by the other side' : wordsOf(error)
    if (connection === this.#current) this.#wasStable(connection)
    this.#current = undefined
    this.#dialled = undefined
    this.#retryLater(words)
  }

  /** A connection that lasted makes the next attempt a first one again. */
  #wasStable({ sinceMs }: Connection): boolean {
    const isStable = this.#options.now() - sinceMs >= STABLE_MS
    if (isStable) this.#attempts = 0
    return isStable
  }

  #retryLater(words: string): void {
    this.#lastError = words
    this.#become('away')
    this.#refuseWaiting(words)
    const waitMs = pauseMs(this.#attempts)
    this.#attempts += 1
    this.#timer = setTimeout(() => this.#dial(), waitMs)
  }

  #refuseWaiting(words: string): void {
    const waiting = this.#waiting
    this.#waiting = []
    for (const taker of waiting)
      taker.refuse(collectorUnavailable(true, `the collector is away: ${words}`))
  }

  #become(state: State): void {
    if (this.#state === state) return
    const wasAvailable = this.isAvailable
    this.#state = state
    if (wasAvailable !== this.isAvailable) this.#sinceMs = this.#options.now()
    this.#options.onChange()
  }
}
