/** Serves HTTP/2 on sockets it is given and hands each request on as a `Call`. */
import type { Socket } from 'node:net'
import { ServerConnection } from '../http2/server-connection.ts'
import type { Link, OnCall } from './link.ts'

/** Streams a client may have open at once on a connection. */
const MAX_STREAMS = 250
/** Header fields of one request, counted as RFC 9113 section 6.5.2 does: name + value + 32 each. */
const MAX_LIST_BYTES = 16 * 1024
const MAX_FIELDS = 64
/** What a call that waits may send ahead of being read, and all of a connection's calls together. */
const STREAM_WINDOW_BYTES = 256 * 1024
const WINDOW_BYTES = 1024 * 1024
/** How long an answer may wait for its client to take any of it. */
const SEND_TIMEOUT_MS = 30_000
const TICK_MS = 1000
/** How long new requests are still taken after the first GOAWAY: a round trip to anywhere. */
const GOAWAY_PAUSE_MS = 250

export interface Http2EngineOptions {
  readonly onCall: OnCall
  /** From the first byte of HTTP/2 until the client has said hello, acknowledged ours and sent a request. */
  readonly headerTimeoutMs: number
  /** Without a request for so long, a connection is closed. */
  readonly idleTimeoutMs: number
  readonly nowMs: () => number
  /** A connection was ended for misuse, in a word for the metrics. */
  onMisuse(reason: string): void
}

export class Http2Engine {
  readonly #options: Http2EngineOptions
  readonly #connections = new Set<ServerConnection>()
  #ticker: NodeJS.Timeout | undefined
  #isDraining = false

  constructor(options: Http2EngineOptions) {
    this.#options = options
  }

  /** Serves one connection whose next bytes are the client's preface. */
  take(socket: Socket, link: Link): void {
    const { onCall, onMisuse, headerTimeoutMs, idleTimeoutMs, nowMs } = this.#options
    const connection = new ServerConnection(
      socket,
      {
        maxStreams: MAX_STREAMS,
        maxListBytes: MAX_LIST_BYTES,
        maxFields: MAX_FIELDS,
        windowBytes: WINDOW_BYTES,
        streamWindowBytes: STREAM_WINDOW_BYTES,
        sendTimeoutMs: SEND_TIMEOUT_MS,
        headerTimeoutMs,
        idleTimeoutMs,
        onMisuse,
        onRequest: (stream) => onCall(stream, link),
        onShut: (ended) => this.#connections.delete(ended),
      },
      nowMs(),
    )
    this.#connections.add(connection)
    if (this.#isDraining) connection.leave()
    this.#ticker ??= setInterval(this.#tick, TICK_MS).unref()
  }

  /**
   * Tells every client to go elsewhere and lets what is open end (RFC 9113 section 6.8). Resolves
   * when every connection has ended, its last answer sent.
   */
  async drain(): Promise<void> {
    this.#isDraining = true
    const endings = [...this.#connections].map((connection) => {
      connection.announceEnd()
      setTimeout(() => connection.leave(), GOAWAY_PAUSE_MS)
      return new Promise((resolve) => connection.socket.once('close', resolve))
    })
    await Promise.all(endings)
  }

  /** Connections open now. */
  get size(): number {
    return this.#connections.size
  }

  /** Ends every connection at once. */
  destroy(): void {
    clearInterval(this.#ticker)
    for (const { socket } of this.#connections) socket.destroy()
  }

  readonly #tick = (): void => {
    const nowMs = this.#options.nowMs()
    for (const connection of this.#connections) connection.tick(nowMs)
  }
}
