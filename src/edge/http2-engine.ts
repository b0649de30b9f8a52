/**
 * Serves HTTP/2 on sockets it is given, with Node's own implementation, and hands each request on
 * as a `Call`. It knows nothing of OTLP. To be replaced by an engine of our own; nothing beyond this
 * file knows which one it is.
 */
import {
  constants,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
  performServerHandshake,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2'
import type { Socket } from 'node:net'
import type { Body, BodySink, Call, Headers, OutgoingFields } from './call.ts'
import { Gone } from './gone.ts'
import type { Link, OnCall } from './link.ts'

/** Streams a client may have open at once on a connection. */
const MAX_CONCURRENT_STREAMS = 250
/** Header fields of one request, counted as RFC 9113 section 6.5.2 does: name + value + 32 each. */
const MAX_HEADER_LIST_BYTES = 16 * 1024
const MAX_HEADER_PAIRS = 64
/** What a call that waits may send ahead of being read. */
const STREAM_WINDOW_BYTES = 64 * 1024
/** PINGs a client may send between two requests. gRPC proposal A8 suggests far fewer; probes are common. */
const MAX_PINGS = 100
/** How long new requests are still taken after the first GOAWAY: a round trip to anywhere. */
const GOAWAY_PAUSE_MS = 250
/** RFC 9113 section 6.8: the first GOAWAY of a clean stop excludes no stream. */
const LAST_STREAM_ID = 2 ** 31 - 1

export interface Http2EngineOptions {
  readonly onCall: OnCall
  /** From the first byte of HTTP/2 until the client has said hello, acknowledged ours and sent a request. */
  readonly headerTimeoutMs: number
  /** Without a request for so long, a connection is closed. */
  readonly idleTimeoutMs: number
  /** A connection was ended for misuse, in a word for the metrics. */
  onMisuse(reason: string): void
}

export class Http2Engine {
  readonly #options: Http2EngineOptions
  readonly #sessions = new Set<ServerHttp2Session>()
  #isDraining = false

  constructor(options: Http2EngineOptions) {
    this.#options = options
  }

  /** Serves one connection whose next bytes are the client's preface. */
  take(socket: Socket, link: Link): void {
    const { onCall, onMisuse, headerTimeoutMs, idleTimeoutMs } = this.#options
    const session = performServerHandshake(socket, {
      maxHeaderListPairs: MAX_HEADER_PAIRS,
      maxSessionInvalidFrames: 50,
      maxSessionRejectedStreams: 100,
      maxSettings: 32,
      streamResetBurst: 200,
      streamResetRate: 33,
      settings: {
        enablePush: false,
        maxConcurrentStreams: MAX_CONCURRENT_STREAMS,
        maxHeaderListSize: MAX_HEADER_LIST_BYTES,
        initialWindowSize: STREAM_WINDOW_BYTES,
      },
    } as Parameters<typeof performServerHandshake>[1])
    this.#sessions.add(session)
    let pings = 0
    let isSettled = false
    let open = 0
    const end = (reason: string) => {
      onMisuse(reason)
      session.destroy()
    }
    const helloTimer = setTimeout(() => end('no_hello'), headerTimeoutMs)
    session.on('localSettings', () => {
      // The client's ACK: from here on nghttp2 itself holds the limit on header lists.
      isSettled = true
      if (open > 0 || pings > 0) clearTimeout(helloTimer)
    })
    session.setTimeout(idleTimeoutMs, () => {
      if (open === 0) session.close()
    })
    session.on('ping', () => {
      pings += 1
      if (pings > MAX_PINGS) end('ping_flood')
    })
    session.on('stream', (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => {
      pings = 0
      open += 1
      if (isSettled) clearTimeout(helloTimer)
      stream.on('error', () => {})
      stream.on('close', () => {
        open -= 1
      })
      if (!isSettled && headerListBytes(headers) > MAX_HEADER_LIST_BYTES) {
        stream.close(constants.NGHTTP2_ENHANCE_YOUR_CALM)
        return
      }
      onCall(new Http2Call(stream, headers), link)
    })
    // What goes wrong on a connection shows on its streams; the socket is gone either way.
    session.on('error', () => {})
    session.on('close', () => {
      clearTimeout(helloTimer)
      this.#sessions.delete(session)
    })
    if (this.#isDraining) session.close()
  }

  /**
   * Tells every client to go elsewhere and lets what is open end (RFC 9113 section 6.8). Resolves
   * when every connection has ended, its last answer sent.
   */
  async drain(): Promise<void> {
    this.#isDraining = true
    // One that is destroyed already only waits to say so.
    const open = [...this.#sessions].filter(({ destroyed }) => !destroyed)
    const endings = open.map((session) => {
      session.goaway(constants.NGHTTP2_NO_ERROR, LAST_STREAM_ID)
      setTimeout(() => {
        if (!session.destroyed) session.close()
      }, GOAWAY_PAUSE_MS)
      return new Promise<void>((resolve) => session.once('close', resolve))
    })
    await Promise.all(endings)
  }

  /** Connections open now. */
  get size(): number {
    return this.#sessions.size
  }

  /** Ends every connection at once. */
  destroy(): void {
    for (const session of this.#sessions) session.destroy()
  }
}

function headerListBytes(headers: IncomingHttpHeaders): number {
  let bytes = 0
  for (const name in headers) bytes += name.length + String(headers[name]).length + 32
  return bytes
}

class Http2Call implements Call, Body {
  readonly httpVersion = 2
  readonly headers: Headers
  readonly #stream: ServerHttp2Stream
  readonly #gone = new Gone()
  isAnswered = false

  constructor(stream: ServerHttp2Stream, headers: IncomingHttpHeaders) {
    this.#stream = stream
    this.headers = headers
    stream.on('close', () => {
      if (!this.isAnswered || stream.rstCode !== constants.NGHTTP2_NO_ERROR) this.#gone.fire()
    })
  }

  get method(): string {
    return String(this.headers[':method'])
  }

  get target(): string {
    return String(this.headers[':path'])
  }

  get body(): Body {
    return this
  }

  start(sink: BodySink): void {
    const stream = this.#stream
    // Node ends the readable side of an empty body whether anybody listens or not.
    if (stream.readableEnded && !stream.aborted) {
      sink.end()
      return
    }
    if (stream.destroyed) {
      sink.failed(new Error(`the stream was closed with code ${stream.rstCode}`))
      return
    }
    let hasEnded = false
    stream.on('data', (bytes: Buffer) => sink.chunk(bytes))
    stream.on('end', () => {
      hasEnded = true
      // Node ends the readable side of a stream that was reset, too.
      if (stream.aborted) sink.failed(new Error('the stream was reset'))
      else sink.end()
    })
    stream.on('close', () => {
      if (!hasEnded) sink.failed(new Error(`the stream was closed with code ${stream.rstCode}`))
    })
  }

  pause(): void {
    this.#stream.pause()
  }

  resume(): void {
    this.#stream.resume()
  }

  answer(
    status: number,
    fields: OutgoingFields,
    body?: Uint8Array,
    trailers?: OutgoingFields,
  ): void {
    const stream = this.#stream
    if (this.isAnswered || stream.destroyed) return
    this.isAnswered = true
    const { connection, ...headers } = fields as OutgoingHttpHeaders
    headers[':status'] = status
    const endStream = body === undefined && trailers === undefined
    stream.respond(headers, { endStream, waitForTrailers: trailers !== undefined })
    if (!endStream) {
      if (trailers !== undefined) {
        stream.once('wantTrailers', () => stream.sendTrailers(trailers as OutgoingHttpHeaders))
      }
      stream.end(body)
    }
    // RFC 9113 section 8.1: an answer may come before the request is complete; the rest is then
    // refused without an error.
    if (!stream.readableEnded) stream.close(constants.NGHTTP2_NO_ERROR)
    // What is a header in HTTP/1.1 is an act in HTTP/2.
    if (connection === 'close') stream.session?.close()
  }

  abandon(): void {
    this.#stream.close(constants.NGHTTP2_CANCEL)
  }

  onGone(listener: () => void): void {
    this.#gone.listen(listener)
  }
}
