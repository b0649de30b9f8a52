/**
 * Serves HTTP/1.1 on sockets it is given, on Fastify, and hands each request on as a `Call`.
 * @fastify/rate-limit tells clients their budget in the usual headers; it reads the same limiter
 * that admission takes from, and never decides by itself.
 */
import {
  createServer,
  type IncomingMessage,
  type OutgoingHttpHeaders,
  type Server,
} from 'node:http'
import type { Socket } from 'node:net'
import rateLimit from '@fastify/rate-limit'
import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import { HTTP_PATHS, SIGNALS } from '../otlp/signal.ts'
import type { Body, BodySink, Call, Headers, OutgoingFields } from './call.ts'
import { awaitFirstByte } from './first-byte.ts'
import { Gone } from './gone.ts'
import { contentLength } from './headers.ts'
import { type Link, linkOf, type OnCall, setLink } from './link.ts'
import { rpcStatusToJson } from './rpc-status.ts'

/** What is left of the body of an answered request is read and dropped up to this size. */
const DRAIN_BYTES = 64 * 1024
/** The same where the client does not say how much is to come: the JavaScript SDKs never do. */
const DRAIN_CHUNKED_BYTES = 1024 * 1024
/** Beyond that the client has so long to read the answer before the connection is reset. */
const LINGER_MS = 5000
const MAX_HEADER_BYTES = 16 * 1024
/** Answers up to this size leave in one piece with their headers. */
const SMALL_BYTES = 4 * 1024
const NOTHING = Buffer.alloc(0)

/** What a peer has left, for the usual headers. */
export type PeekBudget = (peerKey: string) => { limit: number; remaining: number; resetMs: number }

export interface Http1EngineOptions {
  readonly onCall: OnCall
  /** From the first byte of a request, or of the connection, to the end of its headers. */
  readonly headerTimeoutMs: number
  /** Without a request for so long, a connection is closed. */
  readonly idleTimeoutMs: number
  /** The budget of a peer; undefined where peers have none. */
  readonly peekBudget: PeekBudget | undefined
  /** A connection was ended for misuse, in a word for the metrics. */
  onMisuse(reason: string): void
}

export class Http1Engine {
  readonly #server: Server
  readonly #expectsContinue: WeakSet<IncomingMessage>
  readonly #app: FastifyInstance
  readonly #options: Http1EngineOptions
  readonly #sockets = new Set<Socket>()
  #isReady: Promise<void> | undefined
  #isDraining = false

  constructor(options: Http1EngineOptions) {
    const { headerTimeoutMs, idleTimeoutMs } = options
    this.#options = options
    this.#expectsContinue = new WeakSet()
    this.#server = createServer({
      maxHeaderSize: MAX_HEADER_BYTES,
      headersTimeout: headerTimeoutMs,
      requestTimeout: 0,
      keepAliveTimeout: idleTimeoutMs,
      connectionsCheckingInterval: Math.max(100, Math.min(headerTimeoutMs / 4, 5000)),
    })
    this.#app = fastify({
      serverFactory: (handler) => {
        this.#server.on('request', handler)
        // Without a listener Node asks for the body before anyone has looked at the headers.
        this.#server.on('checkContinue', (request, response) => {
          this.#expectsContinue.add(request)
          handler(request, response)
        })
        return this.#server
      },
      bodyLimit: Number.MAX_SAFE_INTEGER,
      exposeHeadRoutes: false,
      return503OnClosing: false,
      forceCloseConnections: false,
      requestTimeout: 0,
      connectionTimeout: 0,
      keepAliveTimeout: idleTimeoutMs,
      http: { headersTimeout: headerTimeoutMs },
      clientErrorHandler: (error, socket) => {
        const isSlow = error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
        // A client that hung up, or that has been told already, misuses nothing. One whose TLS broke
        // hears no answer, and `end` would wait for it.
        const isBroken = error.code === 'ECONNRESET' || error.code?.startsWith('ERR_SSL_') === true
        if (isBroken || !socket.writable) {
          socket.destroy()
          return
        }
        options.onMisuse(isSlow ? 'slow_headers' : 'malformed')
        const isLarge = error.code === 'HPE_HEADER_OVERFLOW'
        socket.end(isSlow ? TOO_SLOW : rawAnswer(isLarge ? 431 : 400, 'Bad Request'))
      },
      frameworkErrors: (_error, request, reply) => this.#onRequest(request, reply),
    })
  }

  /** Resolves when connections can be taken; rejects when a plugin cannot be loaded. */
  ready(): Promise<void> {
    this.#isReady ??= this.#register()
    return this.#isReady
  }

  async #register(): Promise<void> {
    const app = this.#app
    const { peekBudget } = this.#options
    // Bodies are the pipeline's business: every content type passes unread.
    app.removeAllContentTypeParsers()
    app.addContentTypeParser('*', (_request, payload, done) => done(null, payload))
    if (peekBudget !== undefined) {
      await app.register(rateLimit, {
        // Headers alone: the numbers come with each request from the shared limiter.
        max: (_request, key) => peekBudget(key).limit,
        timeWindow: 1000,
        keyGenerator: (request) => this.#linkOf(request.raw).peer.key,
        store: createBudgetStore(peekBudget),
      })
    }
    const handle = (request: FastifyRequest, reply: FastifyReply) => this.#onRequest(request, reply)
    for (const signal of SIGNALS) app.post(HTTP_PATHS[signal], handle)
    app.setNotFoundHandler(handle)
    app.setErrorHandler((_error, request, reply) => this.#onRequest(request, reply))
    await app.ready()
    // The timeouts of a server start with `listening`; this one is given its sockets instead.
    this.#server.emit('listening')
  }

  /** Serves one connection. Its parser comes with the first byte: who only shakes hands costs none. */
  take(socket: Socket, link: Link): void {
    setLink(socket, link)
    this.#sockets.add(socket)
    socket.on('close', () => this.#sockets.delete(socket))
    const begin = () => this.#server.emit('connection', socket)
    if (socket.readableLength > 0) begin()
    else {
      awaitFirstByte(socket, this.#options.headerTimeoutMs, begin, () => {
        this.#options.onMisuse('slow_headers')
        socket.resume().end(TOO_SLOW)
        setTimeout(() => socket.destroy(), LINGER_MS).unref()
      })
    }
  }

  /**
   * Closes idle connections, unless `keepsIdle`, and, from now on, each other one with its answer.
   * Resolves when every connection has ended.
   */
  async drain({ keepsIdle }: { readonly keepsIdle: boolean }): Promise<void> {
    this.#isDraining = true
    const endings = [...this.#sockets].map(
      (socket) => new Promise((resolve) => socket.once('close', resolve)),
    )
    if (!keepsIdle) this.#server.closeIdleConnections()
    await Promise.all(endings)
  }

  /** Ends every connection at once. */
  destroy(): void {
    for (const socket of this.#sockets) socket.destroy()
    this.#server.emit('close')
  }

  #linkOf(request: IncomingMessage): Link {
    const link = linkOf(request.socket)
    if (link === undefined) throw new TypeError('BUG: a request on a connection nobody knows')
    return link
  }

  #onRequest(request: FastifyRequest, reply: FastifyReply): void {
    const call = new Http1Call(
      request.raw,
      reply,
      this.#expectsContinue.has(request.raw),
      () => this.#isDraining,
    )
    this.#options.onCall(call, this.#linkOf(request.raw))
  }
}

/** A store as @fastify/rate-limit wants it, that only reads. */
function createBudgetStore(peekBudget: PeekBudget) {
  type Done = (error: Error | null, result?: { current: number; ttl: number }) => void
  return class BudgetStore {
    incr(key: string, done: Done): void {
      const { limit, remaining, resetMs } = peekBudget(key)
      // This request has not been taken yet; the plugin must not refuse what may wait.
      done(null, { current: Math.min(limit, limit - remaining + 1), ttl: resetMs })
    }

    child(): BudgetStore {
      return this
    }
  }
}

class Http1Call implements Call, Body {
  readonly httpVersion = 1
  readonly #request: IncomingMessage
  readonly #reply: FastifyReply
  readonly #expectsContinue: boolean
  readonly #isDraining: () => boolean
  readonly #gone = new Gone()
  #isReading = false
  isAnswered = false

  constructor(
    request: IncomingMessage,
    reply: FastifyReply,
    expectsContinue: boolean,
    isDraining: () => boolean,
  ) {
    this.#request = request
    this.#reply = reply
    this.#expectsContinue = expectsContinue
    this.#isDraining = isDraining
    request.on('error', () => {})
    reply.raw.on('close', () => {
      if (!reply.raw.writableFinished) this.#gone.fire()
    })
  }

  get method(): string {
    return this.#request.method ?? ''
  }

  get target(): string {
    return this.#request.url ?? ''
  }

  get headers(): Headers {
    return this.#request.headers
  }

  get body(): Body {
    return this
  }

  start(sink: BodySink): void {
    const request = this.#request
    this.#isReading = true
    if (this.#expectsContinue) this.#reply.raw.writeContinue()
    request.on('data', (bytes: Buffer) => sink.chunk(bytes))
    request.on('end', () => sink.end())
    request.on('close', () => {
      if (!request.complete) sink.failed(new Error('the connection was closed'))
    })
  }

  pause(): void {
    this.#request.pause()
  }

  resume(): void {
    this.#request.resume()
  }

  answer(status: number, headers: OutgoingFields, body?: Uint8Array): void {
    const { raw } = this.#reply
    if (this.isAnswered || raw.destroyed) return
    this.isAnswered = true
    // What listens would keep all of the call until the client has read.
    this.#gone.forget()
    const rest = this.#rest()
    const closes =
      headers.connection === 'close' || this.#isDraining() || rest === 'large' || rest === 'unsent'
    if (rest === 'small' || rest === 'large') this.#dropRest(closes)
    this.#write(status, closes ? { ...headers, connection: 'close' } : headers, body)
  }

  /** Past Fastify, which has set its headers by now: what it does to an answer costs as much as the rest of it. */
  #write(status: number, headers: OutgoingFields, body: Uint8Array = NOTHING): void {
    const { raw } = this.#reply
    const bytes = Buffer.from(body.buffer, body.byteOffset, body.length)
    this.#reply.hijack()
    const own = this.#reply.getHeaders() as OutgoingHttpHeaders
    raw.writeHead(status, { ...own, ...headers, 'content-length': bytes.length })
    // Node puts a text behind the headers in one write; of two buffers TLS makes a copy.
    if (bytes.length <= SMALL_BYTES) raw.end(bytes.toString('latin1'), 'latin1')
    else raw.end(bytes)
  }

  abandon(): void {
    this.#request.socket.destroy()
  }

  onGone(listener: () => void): void {
    this.#gone.listen(listener)
  }

  /** What is still to come of the body. */
  #rest(): 'none' | 'small' | 'large' | 'unsent' {
    const request = this.#request
    if (request.complete) return 'none'
    // Whether the client sends the body after all is anyone's guess: RFC 9110 section 10.1.1.
    if (this.#expectsContinue && !this.#isReading) return 'unsent'
    return (contentLength(request.headers) ?? 0) > DRAIN_BYTES ? 'large' : 'small'
  }

  /**
   * Gets rid of a body that will not be read. HTTP/1.1 has no way to refuse one, so a small rest is
   * dropped as it comes and the connection kept. Of a large one no more than that is read; the
   * client has a while to read the answer, which resetting at once would take from it.
   */
  #dropRest(closes: boolean): void {
    const request = this.#request
    const { socket } = request
    const limit = contentLength(request.headers) === undefined ? DRAIN_CHUNKED_BYTES : DRAIN_BYTES
    let dropped = 0
    const timer = setTimeout(() => socket.destroy(), LINGER_MS)
    request.removeAllListeners('data')
    request.on('data', (bytes: Buffer) => {
      dropped += bytes.length
      if (dropped > limit) request.pause()
    })
    request.on('close', () => clearTimeout(timer))
    request.on('end', () => clearTimeout(timer))
    if (closes) closeBehind(request)
    request.resume()
  }
}

/** Lets Node end a connection only when the request has been read, and say so right after the answer. */
function closeBehind(request: IncomingMessage): void {
  const { socket } = request
  const close = socket.destroySoon.bind(socket)
  socket.destroySoon = () => {
    if (request.complete) close()
    else socket.end()
  }
  request.once('end', () => {
    if (socket.writableEnded) close()
  })
}

/** An answer to what is not HTTP enough to be a request. */
function rawAnswer(status: number, words: string): string {
  const body = rpcStatusToJson({ code: 3, message: `${words}.` })
  return `HTTP/1.1 ${status} ${words}\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`
}

const TOO_SLOW = rawAnswer(408, 'Request Timeout')
