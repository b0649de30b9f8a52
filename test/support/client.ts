/**
 * Raw clients for every way into the gateway: OTLP/gRPC and OTLP/HTTP on HTTP/2, OTLP/HTTP on
 * HTTP/1.1. They show what libraries hide: whether an answer came in its headers alone, trailers,
 * which connection was used, what was sent of a body.
 */
import { once } from 'node:events'
import { Agent, type ClientRequest, type IncomingMessage, request as requestHttp1 } from 'node:http'
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect as connectHttp2,
  constants,
  type IncomingHttpHeaders,
} from 'node:http2'
import { connect as connectTcp, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { type ConnectionOptions, connect as connectTls, type TLSSocket } from 'node:tls'
import { GRPC_PATHS, HTTP_PATHS, type Signal } from '../../src/otlp/signal.ts'

export const WAYS = ['gRPC', 'HTTP/1.1', 'HTTP/2'] as const
/** `HTTP/1.1` and `HTTP/2` carry OTLP/HTTP. */
export type Way = (typeof WAYS)[number]

export interface ClientOptions {
  readonly way: Way
  /** `host:port`. */
  readonly address: string
  /** Undefined speaks plaintext. */
  readonly caPem: string | undefined
  /** Sent with every request that names none. */
  readonly token: string
  /** The address to come from. */
  readonly localAddress?: string
  /** Bytes in front of everything, such as a PROXY header. */
  readonly prelude?: Uint8Array
  readonly tls?: ConnectionOptions
}

/** One export. */
export interface Export {
  /** Default traces. */
  readonly signal?: Signal
  /** Instead of the path of the signal. */
  readonly path?: string
  /** Default POST. */
  readonly method?: string
  /** Undefined sends the client's; null none. */
  readonly token?: string | null
  /** Default empty. */
  readonly message?: Uint8Array
  /** What the message is compressed with: named in the headers, and in the prefix of gRPC. */
  readonly encoding?: string
  readonly format?: 'protobuf' | 'json'
  /** Added to the headers, or in place of them; undefined leaves one out. */
  readonly headers?: Readonly<Record<string, string | undefined>>
  /** Over HTTP: leave Content-Length out. */
  readonly isChunked?: boolean
}

/** What came back. */
export interface Answer {
  readonly way: Way
  readonly httpStatus: number
  /** From the trailers, or from the headers where there were no others. */
  readonly grpcStatus: number | undefined
  readonly grpcMessage: string | undefined
  readonly headers: IncomingHttpHeaders
  readonly trailers: IncomingHttpHeaders
  /** The message: over gRPC without its five bytes, undefined where none came. */
  readonly body: Buffer | undefined
  /** The headers ended the stream. */
  readonly endsOnHeaders: boolean
  /** HTTP/1.1: this connection had carried a request before. */
  readonly wasReused: boolean
}

/** A request whose body is sent piece by piece. */
export interface OpenCall {
  /** Resolves with the answer; rejects where the connection or the stream ended without one. */
  readonly answer: Promise<Answer>
  /** Resolves when the bytes are out of our hands. */
  write(bytes: Uint8Array): Promise<void>
  end(): void
  /** Goes away without waiting for the answer. */
  cancel(): void
}

/** Five bytes and the message: gRPC over HTTP/2, "Length-Prefixed-Message". */
export function frame(message: Uint8Array, isCompressed = false): Buffer {
  const prefix = Buffer.alloc(5)
  prefix.writeUInt8(isCompressed ? 1 : 0, 0)
  prefix.writeUInt32BE(message.length, 1)
  return Buffer.concat([prefix, message])
}

export class Client {
  readonly way: Way
  readonly #options: ClientOptions
  readonly #agent: Agent
  readonly #sockets = new Set<Duplex>()
  #session: ClientHttp2Session | undefined
  /** The last TLS socket that was opened; undefined before and in plaintext. */
  socket: TLSSocket | undefined

  constructor(options: ClientOptions) {
    this.#options = options
    this.way = options.way
    this.#agent = new Agent({ keepAlive: true })
    this.#agent.createConnection = () => this.#connect()
  }

  /** The HTTP/2 connection, made when it is first needed. */
  get session(): ClientHttp2Session {
    if (this.#session === undefined || this.#session.closed || this.#session.destroyed) {
      const { address, caPem } = this.#options
      const scheme = caPem === undefined ? 'http' : 'https'
      const session = connectHttp2(`${scheme}://${address}`, {
        createConnection: () => this.#connect(),
      })
      session.on('error', () => {})
      this.#session = session
    }
    return this.#session
  }

  /** Connects without sending a request, and resolves when the connection stands. */
  async handshake(): Promise<void> {
    if (this.way === 'HTTP/1.1') throw new Error('HTTP/1.1 connects with its first request')
    const { session } = this
    if (session.connecting) await once(session, 'connect')
  }

  /** Sends an export whole. */
  async send(request: Export = {}): Promise<Answer> {
    const message = request.message ?? Buffer.alloc(0)
    const bytes = this.way === 'gRPC' ? frame(message, request.encoding !== undefined) : message
    const call = this.open(request, request.isChunked === true ? undefined : bytes.length)
    // The answer may come before all of a large body is sent; it tells, not the write.
    call.write(bytes).then(
      () => call.end(),
      () => {},
    )
    return await call.answer
  }

  /** Sends the headers. `lengthBytes` is announced over OTLP/HTTP. */
  open(request: Export = {}, lengthBytes?: number): OpenCall {
    const headers = this.#headers(request, lengthBytes)
    return this.way === 'HTTP/1.1' ? this.#openHttp1(request, headers) : this.#openHttp2(headers)
  }

  close(): void {
    this.#session?.destroy()
    this.#agent.destroy()
    for (const socket of this.#sockets) socket.destroy()
  }

  #connect(): Socket {
    const { address, caPem, localAddress, prelude, tls = {} } = this.#options
    const { hostname, port } = new URL(`http://${address}`)
    const host = hostname.replace(/^\[|\]$/g, '')
    const raw = connectTcp({
      host,
      port: Number(port),
      ...(localAddress === undefined ? {} : { localAddress }),
    })
    // What goes wrong shows on the request.
    raw.on('error', () => {})
    this.#track(raw)
    if (prelude !== undefined) raw.write(prelude)
    if (caPem === undefined) return raw
    const ALPNProtocols = [this.way === 'HTTP/1.1' ? 'http/1.1' : 'h2']
    const socket = connectTls({
      socket: raw,
      ca: caPem,
      servername: 'localhost',
      ALPNProtocols,
      ...tls,
    })
    socket.on('error', () => {})
    this.#track(socket)
    this.socket = socket
    return socket
  }

  #track(socket: Duplex): void {
    this.#sockets.add(socket)
    socket.on('close', () => this.#sockets.delete(socket))
  }

  #headers(request: Export, lengthBytes: number | undefined): Record<string, string> {
    const { way } = this
    const { signal = 'traces', encoding, format = 'protobuf' } = request
    const token = request.token === undefined ? this.#options.token : request.token
    const { address, caPem } = this.#options
    const method = request.method ?? 'POST'
    const path = request.path ?? (way === 'gRPC' ? GRPC_PATHS : HTTP_PATHS)[signal]
    const pseudo = {
      ':method': method,
      ':path': path,
      ':scheme': caPem === undefined ? 'http' : 'https',
      ':authority': address,
    }
    const own =
      way === 'gRPC'
        ? { te: 'trailers', 'content-type': 'application/grpc' }
        : { 'content-type': format === 'json' ? 'application/json' : 'application/x-protobuf' }
    const coding = way === 'gRPC' ? 'grpc-encoding' : 'content-encoding'
    const all: Record<string, string | undefined> = {
      ...(way === 'HTTP/1.1' ? {} : pseudo),
      ...own,
      ...(encoding === undefined ? {} : { [coding]: encoding }),
      ...(way === 'gRPC' || lengthBytes === undefined
        ? {}
        : { 'content-length': String(lengthBytes) }),
      ...(token === null ? {} : { authorization: `Bearer ${token}` }),
      ...request.headers,
    }
    return Object.fromEntries(
      Object.entries(all).filter((field): field is [string, string] => field[1] !== undefined),
    )
  }

  #openHttp2(headers: Record<string, string>): OpenCall {
    const stream = this.session.request(headers, { endStream: false })
    return {
      answer: http2Answer(stream, this.way),
      write: (bytes) => write(stream, bytes),
      end: () => stream.end(),
      cancel: () => stream.close(constants.NGHTTP2_CANCEL),
    }
  }

  #openHttp1(request: Export, headers: Record<string, string>): OpenCall {
    const { hostname, port } = new URL(`http://${this.#options.address}`)
    const outgoing = requestHttp1({
      agent: this.#agent,
      host: hostname,
      port,
      method: request.method ?? 'POST',
      path: request.path ?? HTTP_PATHS[request.signal ?? 'traces'],
      headers,
    })
    outgoing.flushHeaders()
    return {
      answer: http1Answer(outgoing),
      write: (bytes) => write(outgoing, bytes),
      end: () => outgoing.end(),
      cancel: () => outgoing.destroy(),
    }
  }
}

function write(to: ClientHttp2Stream | ClientRequest, bytes: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    const onClose = () => reject(new Error('closed while writing'))
    to.once('close', onClose)
    to.write(bytes, (error) => {
      to.off('close', onClose)
      if (error) reject(error)
      else resolve()
    })
  })
}

function http2Answer(stream: ClientHttp2Stream, way: Way): Promise<Answer> {
  const answer = new Promise<Answer>((resolve, reject) => {
    let headers: IncomingHttpHeaders | undefined
    let trailers: IncomingHttpHeaders = {}
    let endsOnHeaders = false
    let failure: Error | undefined
    const chunks: Buffer[] = []
    stream.on('response', (fields, flags) => {
      headers = fields
      endsOnHeaders = (flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0
    })
    stream.on('trailers', (fields) => {
      trailers = fields
    })
    stream.on('data', (chunk: Buffer) => chunks.push(chunk))
    stream.on('error', (error) => {
      failure = error
    })
    stream.on('close', () => {
      if (headers === undefined || failure !== undefined) {
        reject(failure ?? new Error(`the stream was closed with code ${stream.rstCode}`))
        return
      }
      const ending = endsOnHeaders ? headers : trailers
      const status = ending['grpc-status']
      const bytes = Buffer.concat(chunks)
      resolve({
        way,
        httpStatus: Number(headers[':status']),
        grpcStatus: way === 'gRPC' && status !== undefined ? Number(status) : undefined,
        grpcMessage:
          ending['grpc-message'] === undefined
            ? undefined
            : decodeURIComponent(String(ending['grpc-message'])),
        headers,
        trailers,
        body: headers['content-type'] === 'application/grpc' ? unframed(bytes) : bytes,
        endsOnHeaders,
        wasReused: false,
      })
    })
  })
  return handled(answer)
}

function unframed(bytes: Buffer): Buffer | undefined {
  if (bytes.length === 0) return undefined
  if (bytes.readUInt32BE(1) !== bytes.length - 5) throw new Error('not one gRPC message')
  return bytes.subarray(5)
}

function http1Answer(request: ClientRequest): Promise<Answer> {
  const answer = new Promise<Answer>((resolve, reject) => {
    request.on('error', reject)
    request.on('close', () => reject(new Error('closed without an answer')))
    request.on('response', (response: IncomingMessage) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('error', reject)
      response.on('end', () =>
        resolve({
          way: 'HTTP/1.1',
          httpStatus: response.statusCode ?? 0,
          grpcStatus: undefined,
          grpcMessage: undefined,
          headers: response.headers,
          trailers: response.trailers,
          body: Buffer.concat(chunks),
          endsOnHeaders: false,
          wasReused: request.reusedSocket,
        }),
      )
    })
  })
  return handled(answer)
}

/** A test that does not look at an answer does not fail by it. */
function handled<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => {})
  return promise
}
