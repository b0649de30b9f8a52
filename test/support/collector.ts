/**
 * A collector that does what a test tells it: OTLP/gRPC on raw HTTP/2 and OTLP/HTTP on HTTP/1.1,
 * good, bad and dying. Counts what arrives, with headers and bytes.
 */
import { EventEmitter, once } from 'node:events'
import { createServer as createHttp1, type IncomingMessage, type ServerResponse } from 'node:http'
import {
  createServer as createHttp2,
  createSecureServer,
  type Http2Server,
  type ServerHttp2Session,
  type Settings,
} from 'node:http2'
import { createServer as createHttps } from 'node:https'
import type { AddressInfo, Server, Socket } from 'node:net'
import { answerGrpc, answerHttp } from './collector-answers.ts'
import type { Behaviour, Reached, Stage } from './collector-script.ts'

export interface CollectorSettings {
  readonly grpcPort?: number
  readonly httpPort?: number
  /** PEM; both ports speak TLS. */
  readonly tls?: { readonly key: string; readonly cert: string }
  /** HTTP/2 settings of the gRPC port. */
  readonly settings?: Settings
}

export class ScriptedCollector extends EventEmitter implements Stage {
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
  grpc.on('stream', (stream, headers, _flags, rawHeaders) =>
    answerGrpc(collector, stream, headers, rawHeaders),
  )
  http.on('request', (request: IncomingMessage, response: ServerResponse) =>
    answerHttp(collector, request, response),
  )
  collector.grpcPort = await listen(grpc as unknown as Server, options.grpcPort)
  collector.httpPort = await listen(http, options.httpPort)
  return collector
}

async function listen(server: Server, port = 0): Promise<number> {
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}
