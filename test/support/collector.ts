/**
 * A collector that does what a test tells it: OTLP/gRPC on raw HTTP/2 and OTLP/HTTP on HTTP/1.1,
 * good, bad and dying. Counts what arrives, with headers and bytes.
 */
import { EventEmitter, once } from 'node:events'
import { createServer as createHttp1, type IncomingMessage, type ServerResponse } from 'node:http'
import {
  constants,
  createServer as createHttp2,
  createSecureServer,
  type Http2Server,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
  type Settings,
} from 'node:http2'
import { createServer as createHttps } from 'node:https'
import type { AddressInfo, Server, Socket } from 'node:net'

/** What the collector does with a request. */
export type Behaviour =
  /** Reads all of it and accepts. */
  | {
      readonly kind: 'ok'
      /** Response message, without prefix; default empty. */
      readonly message?: Uint8Array
      /** Marks the message as compressed with this. */
      readonly encoding?: string
      readonly headers?: OutgoingHttpHeaders
      readonly trailers?: OutgoingHttpHeaders
      readonly delayMs?: number
    }
  /** Refuses: over gRPC with `status` (Trailers-Only unless told), over HTTP with `httpStatus`. */
  | {
      readonly kind: 'refuse'
      readonly status?: number
      readonly message?: string
      readonly detailsBin?: string
      readonly trailers?: OutgoingHttpHeaders
      readonly isTrailersOnly?: boolean
      /** Answers before reading the body. */
      readonly isEarly?: boolean
      readonly httpStatus?: number
      readonly body?: Uint8Array
      readonly headers?: OutgoingHttpHeaders
    }
  /** A plain HTTP answer on the gRPC port, as a proxy in between would give. */
  | { readonly kind: 'bare'; readonly httpStatus: number; readonly body?: string }
  /** Reads everything and never answers. */
  | { readonly kind: 'stall' }
  /** Does not read the body until `resumeReading()` is called, then accepts. */
  | { readonly kind: 'slow' }
  /** Resets the stream: at once, or after half an answer. Over HTTP: closes the connection. */
  | { readonly kind: 'reset'; readonly code?: number; readonly when: 'at-once' | 'mid-answer' }
  /** GOAWAY that disowns this stream and later ones (there must have been an earlier one), or takes it still. */
  | { readonly kind: 'goaway'; readonly takesThis: boolean; readonly code?: number }
  /** Reads everything, then the connection dies. */
  | { readonly kind: 'die' }

/** One request that reached the collector. */
export interface Reached {
  readonly protocol: 'grpc' | 'http'
  readonly path: string
  readonly headers: IncomingHttpHeaders | IncomingMessage['headers']
  /** What was read so far; over gRPC with the five bytes in front. */
  readonly bytes: () => Buffer
  /** All of it was read. */
  isComplete: boolean
  /** HTTP/2 code with which the other side cancelled it. */
  resetCode: number | undefined
}

export interface CollectorSettings {
  readonly grpcPort?: number
  readonly httpPort?: number
  /** PEM; both ports speak TLS. */
  readonly tls?: { readonly key: string; readonly cert: string }
  /** HTTP/2 settings of the gRPC port. */
  readonly settings?: Settings
}

export class ScriptedCollector extends EventEmitter {
  readonly reached: Reached[] = []
  readonly sessions = new Set<ServerHttp2Session>()
  /** Connections made to the gRPC port, in all. */
  connections = 0
  readonly #servers: readonly Server[]
  grpcPort = 0
  httpPort = 0
  readonly #sockets = new Set<Socket>()
  readonly #script: Behaviour[] = []
  #behaviour: Behaviour = { kind: 'ok' }
  #paused: (() => void)[] = []

  constructor(grpc: Server, http: Server) {
    super()
    this.setMaxListeners(0)
    this.#servers = [grpc, http]
    for (const server of this.#servers) {
      server.on('connection', (socket: Socket) => {
        this.#sockets.add(socket)
        socket.on('close', () => this.#sockets.delete(socket))
      })
    }
    grpc.on('connection', () => {
      this.connections += 1
    })
  }

  /** What it does from now on. */
  behave(behaviour: Behaviour): void {
    this.#behaviour = behaviour
  }

  /** What it does with the next requests, one each; afterwards as `behave` says. */
  script(...behaviours: Behaviour[]): void {
    this.#script.push(...behaviours)
  }

  /** Resolves when `isTrue` is, looking whenever something arrives. */
  async until(isTrue: () => boolean): Promise<void> {
    while (!isTrue()) await once(this, 'change')
  }

  /** Resolves when so many requests have begun to arrive. */
  async hasReached(count: number): Promise<void> {
    await this.until(() => this.reached.length >= count)
  }

  /** Lets the slow ones be read. */
  resumeReading(): void {
    const paused = this.#paused
    this.#paused = []
    for (const resume of paused) resume()
  }

  /** Stops listening and cuts every connection. */
  async die(): Promise<void> {
    const closed = this.#servers.map((server) => (server.listening ? once(server, 'close') : []))
    for (const server of this.#servers) if (server.listening) server.close()
    for (const socket of this.#sockets) socket.destroy()
    await Promise.all(closed)
  }

  next(): Behaviour {
    return this.#script.shift() ?? this.#behaviour
  }

  paused(resume: () => void): void {
    this.#paused.push(resume)
  }

  changed(): void {
    this.emit('change')
  }
}

/** Starts one on 127.0.0.1; ports are free ones unless given. */
export async function startCollector(options: CollectorSettings = {}): Promise<ScriptedCollector> {
  const { tls, settings = {} } = options
  const http2Options = { settings, maxSessionMemory: 1000 }
  const grpc: Http2Server =
    tls === undefined ? createHttp2(http2Options) : createSecureServer({ ...tls, ...http2Options })
  const http = tls === undefined ? createHttp1() : createHttps(tls)
  const collector = new ScriptedCollector(grpc as unknown as Server, http)
  grpc.on('session', (session) => {
    collector.sessions.add(session)
    session.on('close', () => collector.sessions.delete(session))
    session.on('error', () => {})
  })
  grpc.on('sessionError', () => {})
  grpc.on('stream', (stream, headers) => answerGrpc(collector, stream, headers))
  http.on('request', (request: IncomingMessage, response: ServerResponse) =>
    answerHttp(collector, request, response),
  )
  collector.grpcPort = await listen(grpc as unknown as Server, options.grpcPort)
  collector.httpPort = await listen(http, options.httpPort)
  return collector
}

function answerGrpc(
  collector: ScriptedCollector,
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
): void {
  const behaviour = collector.next()
  const reached = record(collector, 'grpc', String(headers[':path']), headers, stream)
  stream.on('error', () => {})
  stream.on('close', () => {
    reached.resetCode = stream.rstCode
    collector.changed()
  })
  if (behaviour.kind === 'reset' && behaviour.when === 'at-once') {
    stream.close(behaviour.code ?? constants.NGHTTP2_INTERNAL_ERROR)
    return
  }
  if (behaviour.kind === 'goaway') {
    const { code = constants.NGHTTP2_NO_ERROR, takesThis } = behaviour
    stream.session?.goaway(code, Number(stream.id) - (takesThis ? 0 : 2))
    if (!takesThis) return
  }
  if (behaviour.kind === 'refuse' && behaviour.isEarly === true) {
    respondGrpc(stream, behaviour)
    return
  }
  if (behaviour.kind === 'slow') collector.paused(() => stream.resume())
  else stream.resume()
  stream.on('end', () => {
    if (!reached.isComplete) return
    if (behaviour.kind === 'die') stream.session?.destroy()
    else if (behaviour.kind === 'ok' && behaviour.delayMs !== undefined)
      setTimeout(() => respondGrpc(stream, behaviour), behaviour.delayMs)
    else if (behaviour.kind !== 'stall') respondGrpc(stream, behaviour)
  })
}

function respondGrpc(stream: ServerHttp2Stream, behaviour: Behaviour): void {
  const head = { ':status': 200, 'content-type': 'application/grpc' }
  if (stream.destroyed) return
  if (behaviour.kind === 'bare') {
    stream.respond({ ':status': behaviour.httpStatus, 'content-type': 'text/html' })
    stream.end(behaviour.body ?? '')
    return
  }
  if (behaviour.kind === 'refuse') {
    const { status = 14, message, detailsBin, trailers, isTrailersOnly = true } = behaviour
    const ending = {
      'grpc-status': String(status),
      ...(message === undefined ? {} : { 'grpc-message': message }),
      ...(detailsBin === undefined ? {} : { 'grpc-status-details-bin': detailsBin }),
      ...trailers,
    }
    if (isTrailersOnly) {
      stream.respond({ ...head, ...behaviour.headers, ...ending }, { endStream: true })
      return
    }
    stream.respond({ ...head, ...behaviour.headers }, { waitForTrailers: true })
    stream.on('wantTrailers', () => stream.sendTrailers(ending))
    stream.end()
    return
  }
  if (behaviour.kind === 'reset') {
    stream.respond(head)
    stream.write(Buffer.from([0, 0, 0, 0, 9]), () =>
      stream.close(behaviour.code ?? constants.NGHTTP2_INTERNAL_ERROR),
    )
    return
  }
  const ok: Extract<Behaviour, { kind: 'ok' }> =
    behaviour.kind === 'ok' ? behaviour : { kind: 'ok' }
  const message = ok.message ?? Buffer.alloc(0)
  const prefix = Buffer.alloc(5)
  prefix[0] = ok.encoding === undefined ? 0 : 1
  prefix.writeUInt32BE(message.length, 1)
  const encoding = ok.encoding === undefined ? {} : { 'grpc-encoding': ok.encoding }
  stream.respond({ ...head, ...encoding, ...ok.headers }, { waitForTrailers: true })
  stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0', ...ok.trailers }))
  stream.end(Buffer.concat([prefix, message]))
}

function answerHttp(
  collector: ScriptedCollector,
  request: IncomingMessage,
  response: ServerResponse,
): void {
  const behaviour = collector.next()
  const reached = record(collector, 'http', String(request.url), request.headers, request)
  request.on('error', () => {})
  request.on('close', () => {
    if (!request.complete) reached.resetCode = constants.NGHTTP2_CANCEL
    collector.changed()
  })
  response.on('close', () => {
    if (!response.writableEnded) reached.resetCode = constants.NGHTTP2_CANCEL
    collector.changed()
  })
  if (behaviour.kind === 'reset' && behaviour.when === 'at-once') {
    request.socket.destroy()
    return
  }
  if (behaviour.kind === 'refuse' && behaviour.isEarly === true) {
    respondHttp(request, response, behaviour)
    return
  }
  if (behaviour.kind === 'slow') {
    request.pause()
    collector.paused(() => request.resume())
  } else request.resume()
  request.on('end', () => {
    if (behaviour.kind === 'die') request.socket.destroy()
    else if (behaviour.kind !== 'stall') respondHttp(request, response, behaviour)
  })
}

function respondHttp(request: IncomingMessage, response: ServerResponse, behaviour: Behaviour) {
  const type = { 'content-type': request.headers['content-type'] ?? 'application/x-protobuf' }
  if (behaviour.kind === 'reset') {
    response.writeHead(200, { ...type, 'content-length': 10 })
    response.write('half', () => request.socket.destroy())
  } else if (behaviour.kind === 'refuse') {
    response.writeHead(behaviour.httpStatus ?? 503, { ...type, ...plain(behaviour.headers) })
    response.end(behaviour.body)
  } else if (behaviour.kind === 'bare') {
    response.writeHead(behaviour.httpStatus, { 'content-type': 'text/html' })
    response.end(behaviour.body)
  } else {
    const ok: Extract<Behaviour, { kind: 'ok' }> =
      behaviour.kind === 'ok' ? behaviour : { kind: 'ok' }
    const encoding = ok.encoding === undefined ? {} : { 'content-encoding': ok.encoding }
    response.writeHead(200, { ...type, ...encoding, ...plain(ok.headers) })
    response.end(ok.message)
  }
}

function plain(headers: OutgoingHttpHeaders = {}): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, String(value)]))
}

function record(
  collector: ScriptedCollector,
  protocol: Reached['protocol'],
  path: string,
  headers: Reached['headers'],
  body: ServerHttp2Stream | IncomingMessage,
): Reached {
  const chunks: Buffer[] = []
  const reached: Reached = {
    protocol,
    path,
    headers,
    bytes: () => Buffer.concat(chunks),
    isComplete: false,
    resetCode: undefined,
  }
  collector.reached.push(reached)
  body.on('data', (chunk: Buffer) => {
    chunks.push(chunk)
    collector.changed()
  })
  body.on('end', () => {
    // A request that was cancelled ends as well.
    reached.isComplete = !body.aborted
    collector.changed()
  })
  // A 'data' listener sets the stream flowing; the behaviour decides whether it may.
  body.pause()
  collector.changed()
  return reached
}

async function listen(server: Server, port = 0): Promise<number> {
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}
