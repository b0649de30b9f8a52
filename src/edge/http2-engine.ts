/** Serves HTTP/2 on sockets it is given and hands each request on as a `Call`. */
import type { Socket } from 'node:net'
import { ServerConnection } from '../http2/server-connection.ts'
import type { InFlightBytes } from './in-flight-bytes.ts'
import type { Link, OnCall } from './link.ts'

/** Header fields of one request, counted as RFC 9113 section 6.5.2 does: name + value + 32 each. */
const MAX_LIST_BYTES = 16 * 1024
const MAX_FIELDS = 64
/** What a call that waits may send ahead of being read, and all of a connection's calls together. */
const STREAM_WINDOW_BYTES = 256 * 1024
const WINDOW_BYTES = 1024 * 1024
/** How long an answer may wait for a client that takes next to nothing of it. */
const SEND_TIMEOUT_MS = 30_000
/** Answers written to sockets that clients do not read, over all connections. */
const MAX_UNSENT_BYTES = 64 * 1024 * 1024
const TICK_MS = 1000
/** How long new requests are still taken after the first GOAWAY: a round trip to anywhere. */
const GOAWAY_PAUSE_MS = 250

export interface Http2EngineOptions {
  readonly onCall: OnCall
  /** Streams a client may have open at once on a connection. */
  readonly maxStreams: number
  /** From the start to the client's SETTINGS and its ACK of ours; for each frame and header block too. */
  readonly headerTimeoutMs: number
  /** Without a request for so long, a connection is closed. */
  readonly idleTimeoutMs: number
  readonly nowMs: () => number
  /** Where the bytes of bodies that wait in connections are counted. */
  readonly inFlightBytes: InFlightBytes
  /** Answers written to sockets that clients do not read, over all connections. Default 64 MiB. */
  readonly maxUnsentBytes?: number
  /** A connection was ended for misuse, in a word for the metrics. */
  onMisuse(reason: string): void
}

export class Http2Engine {
  readonly #options: Http2EngineOptions
  /** Every connection, and the key of its peer. */
  readonly #connections = new Map<ServerConnection, string>()
  /** What connections measure time by: how long we were here to listen to them. */
  #nowMs: number
  #tickedMs: number
  #ticker: NodeJS.Timeout | undefined
  #isDraining = false

  constructor(options: Http2EngineOptions) {
    this.#options = options
    this.#nowMs = this.#tickedMs = options.nowMs()
  }

  /** Serves one connection whose next bytes are the client's preface. */
  take(socket: Socket, link: Link): void {
    const { onCall, onMisuse, inFlightBytes } = this.#options
    const { maxStreams, headerTimeoutMs, idleTimeoutMs } = this.#options
    const connection = new ServerConnection(
      socket,
      {
        maxStreams,
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
        onHold: (bytes) => {
          if (!inFlightBytes.add(bytes)) this.#evict((each) => each.heldBytes)
        },
        onLetGo: (bytes) => inFlightBytes.release(bytes),
      },
      this.#nowMs,
    )
    this.#connections.set(connection, link.peer.key)
    // Its handshake was under way when the drain began; its first request may be here already.
    if (this.#isDraining) this.#dismiss(connection)
    if (this.#ticker !== undefined) return
    this.#tickedMs = this.#options.nowMs()
    this.#ticker = setInterval(this.#tick, TICK_MS).unref()
  }

  /**
   * Tells every client to go elsewhere and lets what is open end (RFC 9113 section 6.8). Resolves
   * when every connection has ended, its last answer sent.
   */
  async drain(): Promise<void> {
    this.#isDraining = true
    const endings = [...this.#connections.keys()].map((connection) => {
      this.#dismiss(connection)
      return new Promise((resolve) => connection.socket.once('close', resolve))
    })
    await Promise.all(endings)
  }

  #dismiss(connection: ServerConnection): void {
    connection.announceEnd()
    setTimeout(() => connection.leave(), GOAWAY_PAUSE_MS)
  }

  /** Connections open now. */
  get size(): number {
    return this.#connections.size
  }

  /** Ends every connection at once. */
  destroy(): void {
    clearInterval(this.#ticker)
    for (const { socket } of this.#connections.keys()) socket.destroy()
  }

  readonly #tick = (): void => {
    const { maxUnsentBytes = MAX_UNSENT_BYTES } = this.#options
    const nowMs = this.#options.nowMs()
    // Time in which the process stood still is not the clients' delay.
    this.#nowMs += Math.min(nowMs - this.#tickedMs, 2 * TICK_MS)
    this.#tickedMs = nowMs
    let unsent = 0
    for (const connection of this.#connections.keys()) {
      connection.tick(this.#nowMs)
      unsent += connection.outbox.pendingBytes
    }
    while (unsent > maxUnsentBytes) unsent -= this.#evict((each) => each.outbox.pendingBytes)
  }

  /**
   * Ends the connection that holds the most of the peer that holds the most, and returns how much:
   * memory is short, and whoever uses much of it goes first.
   */
  #evict(bytesOf: (connection: ServerConnection) => number): number {
    const ofPeers = new Map<string, number>()
    for (const [connection, peerKey] of this.#connections) {
      const bytes = bytesOf(connection)
      if (bytes > 0) ofPeers.set(peerKey, (ofPeers.get(peerKey) ?? 0) + bytes)
    }
    let worstPeer: string | undefined
    for (const [peerKey, bytes] of ofPeers)
      if (bytes > (ofPeers.get(worstPeer ?? '') ?? 0)) worstPeer = peerKey
    let worst: ServerConnection | undefined
    for (const [connection, peerKey] of this.#connections)
      if (peerKey === worstPeer && bytesOf(connection) > (worst === undefined ? 0 : bytesOf(worst)))
        worst = connection
    if (worst === undefined) return Number.POSITIVE_INFINITY
    const bytes = bytesOf(worst)
    worst.evict()
    return bytes
  }
}
