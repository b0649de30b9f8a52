/**
 * One address of the collector over OTLP/HTTP: a pool of connections, and whether anybody is there.
 * A connection is made when a call needs one, so while the address is away it is knocked at instead.
 */
import { connect, type Socket } from 'node:net'
import { Pool } from 'undici'
import { type Address, bareHost, originOf } from './address.ts'
import { pauseMs } from './backoff.ts'
import { wordsOf } from './fault.ts'
import type { AddressState } from './link.ts'

/** Each carries one request at a time. */
const MAX_CONNECTIONS = 128
const CONNECT_MS = 5000
const SHORTEST_KNOCK_MS = 1500
/** Below the idle limits of common servers (5 s and up), so that a call rarely meets a closing connection. */
const IDLE_MS = 4000

export interface HttpTargetOptions {
  readonly address: Address
  /** PEM of the only CAs to trust; undefined for those of the system. */
  readonly ca: string | undefined
  readonly timeoutMs: number
  readonly now: () => number
  /** Called when `isAvailable` may have changed. */
  readonly onChange: () => void
}

export class HttpTarget {
  readonly address: Address
  readonly pool: Pool
  readonly #options: HttpTargetOptions
  #isAvailable = false
  #isClosed = false
  #lastError: string | undefined
  #sinceMs: number
  #attempts = 0
  #isKnocking = false
  #timer: NodeJS.Timeout | undefined
  #knock: Socket | undefined

  constructor(options: HttpTargetOptions) {
    const { address, ca, timeoutMs, now } = options
    this.#options = options
    this.address = address
    this.#sinceMs = now()
    // Calls have a time limit of their own; these only stand behind it.
    const patienceMs = timeoutMs * 2
    this.pool = new Pool(originOf(address), {
      allowH2: false,
      pipelining: 1,
      connections: MAX_CONNECTIONS,
      headersTimeout: patienceMs,
      bodyTimeout: patienceMs,
      keepAliveTimeout: IDLE_MS,
      connect: { timeout: CONNECT_MS, ...(ca === undefined ? {} : { ca }) },
    })
  }

  get isAvailable(): boolean {
    return this.#isAvailable
  }

  get state(): AddressState {
    return {
      protocol: 'http',
      address: originOf(this.address),
      isConnected: this.#isAvailable,
      lastError: this.#lastError,
      sinceMs: this.#sinceMs,
    }
  }

  start(): void {
    this.#knockSoon()
  }

  async close(): Promise<void> {
    this.#isClosed = true
    clearTimeout(this.#timer)
    this.#knock?.destroy()
    await this.pool.destroy()
  }

  /** A call could not connect: nobody is there until a knock is answered. */
  lost(error: unknown): void {
    this.#lastError = wordsOf(error)
    this.#become(false)
    this.#knockSoon()
  }

  #knockSoon(): void {
    if (this.#isKnocking || this.#isClosed) return
    this.#isKnocking = true
    this.#timer = setTimeout(this.#knockNow, pauseMs(this.#attempts))
    this.#attempts += 1
  }

  readonly #knockNow = (): void => {
    const { host, port } = this.address
    const timeout = Math.min(CONNECT_MS, SHORTEST_KNOCK_MS * this.#attempts)
    const socket = connect({ host: bareHost(host), port })
    this.#knock = socket
    let failure: unknown
    let isOpen = false
    const patience = setTimeout(() => {
      socket.destroy(Object.assign(new Error('no answer in time'), { code: 'ETIMEDOUT' }))
    }, timeout)
    socket.on('connect', () => {
      isOpen = true
      socket.destroy()
    })
    socket.on('error', (error) => {
      failure = error
    })
    socket.on('close', () => {
      clearTimeout(patience)
      this.#isKnocking = false
      if (isOpen) this.#become(true)
      else if (!this.#isClosed) this.lost(failure)
    })
  }

  /** A call got its answer: the next outage starts with short pauses again. */
  answered(): void {
    this.#attempts = 0
  }

  #become(isAvailable: boolean): void {
    if (this.#isClosed) return
    if (this.#isAvailable !== isAvailable) {
      this.#isAvailable = isAvailable
      this.#sinceMs = this.#options.now()
    }
    this.#options.onChange()
  }
}
