/** Puts the edge together: sockets, both HTTP engines, both protocols, and the pipeline behind them. */
import { setTimeout as pause } from 'node:timers/promises'
import type { TlsOptions } from 'node:tls'
import type { Peer } from '../pipeline/arrival.ts'
import { type Pipeline, serve } from '../pipeline/serve.ts'
import type { Call } from './call.ts'
import type { Challenges } from './challenge-door.ts'
import { type ClientAddressSource, createTrustedProxies } from './client-address.ts'
import { CallExchange, type ExchangeSettings } from './exchange.ts'
import { grpcDialect, isGrpc, readGrpc } from './grpc.ts'
import { answerHealth, isHealthCheck } from './grpc-health.ts'
import { first } from './headers.ts'
import { httpDialect, readHttp } from './http.ts'
import { Http1Engine, type PeekBudget } from './http1-engine.ts'
import { Http2Engine } from './http2-engine.ts'
import { createPeerOf, type Link, type Port } from './link.ts'
import {
  type CertificateOf,
  type GivenSocket,
  type Handshake,
  type ListenAddress,
  Listener,
} from './listener.ts'

/** How long clients have to read their last answers and hang up before it is done for them. */
const FAREWELL_MS = 1000

export interface FrontDoorOptions {
  readonly tls: TlsOptions | undefined
  readonly clientAddress: ClientAddressSource
  readonly trustedProxies: readonly string[]
  /** TLS-ALPN-01 challenges that are answered here; undefined for none. */
  readonly challenges?: Challenges | undefined
  readonly maxConnections: number
  readonly maxConnectionsPerPeer: number
  readonly maxStreams: number
  readonly handshakeTimeoutMs: number
  readonly headerTimeoutMs: number
  readonly idleTimeoutMs: number
  readonly exchange: ExchangeSettings
  readonly pipeline: Pipeline
  readonly peekBudget: PeekBudget | undefined
  isShut(peer: Peer): boolean
  /** Whether a health check (which needs no token) may be answered for this peer now. */
  mayProbe(peer: Peer): boolean
  isReady(): boolean
  /** A connection was let in; as the peer counts who a PROXY header named. */
  onOpen(port: Port, peer: Peer): void
  onClose(port: Port): void
  /** A connection was refused or ended for misuse, in a word. */
  onRefused(reason: string): void
  /** A TLS handshake failed: OpenSSL's code for it and who it was, for the log. */
  onHandshakeFailed(code: string, address: string): void
  /** A TLS handshake succeeded. */
  onHandshake(handshake: Handshake): void
  /** Asked once after each handshake; undefined where no client certificate is asked for. */
  readonly certificateOf?: CertificateOf | undefined
}

export class FrontDoor {
  readonly #options: FrontDoorOptions
  readonly #listener: Listener
  readonly #http1: Http1Engine
  readonly #http2: Http2Engine
  #calls = 0
  #onEmpty: (() => void) | undefined

  constructor(options: FrontDoorOptions) {
    this.#options = options
    const { headerTimeoutMs, idleTimeoutMs, maxStreams, peekBudget } = options
    const { onRefused: onMisuse } = options
    const isTrusted = createTrustedProxies(options.trustedProxies)
    const peerOf = createPeerOf(options.clientAddress, isTrusted)
    const onCall = (call: Call, link: Link) => this.#onCall(call, peerOf(call.headers, link), link)
    const timing = { onCall, headerTimeoutMs, idleTimeoutMs, onMisuse }
    this.#http1 = new Http1Engine({ ...timing, peekBudget })
    const { clock, inFlightBytes } = options.exchange
    this.#http2 = new Http2Engine({ ...timing, maxStreams, nowMs: clock.nowMs, inFlightBytes })
    this.#listener = new Listener({
      ...options,
      isTrusted,
      onHttp1: (socket, link) => this.#http1.take(socket, link),
      onHttp2: (socket, link) => this.#http2.take(socket, link),
    })
  }

  /** Opens a port, or takes over a socket that is open; both serve both protocols. */
  async listen(port: Port, at: ListenAddress | GivenSocket): Promise<ListenAddress> {
    await this.#http1.ready()
    return this.#listener.listen(port, at)
  }

  /** Calls that have not ended. */
  get calls(): number {
    return this.#calls
  }

  /** New connections get this certificate from now on. */
  setSecureContext(tls: TlsOptions): void {
    this.#listener.setSecureContext(tls)
  }

  /** Session tickets are sealed with this key from now on. */
  setTicketKey(key: Buffer): void {
    this.#listener.setTicketKey(key)
  }

  /** Stops accepting. What is connected goes on. */
  stopAccepting(): void {
    this.#listener.close()
  }

  /**
   * Stops accepting, asks clients to leave, and resolves when the last call has ended and its answer
   * has gone out. `isPatient`: when the last connection has ended, those in their handshake included,
   * and idle HTTP/1.1 connections are left until their next answer, for closing one may cross with a
   * request on its way.
   */
  async drain({ isPatient = false }: { readonly isPatient?: boolean } = {}): Promise<void> {
    this.stopAccepting()
    const http1End = this.#http1.drain({ keepsIdle: isPatient })
    const connectionsEnd = Promise.all([http1End, this.#http2.drain()])
    if (isPatient) await Promise.all([connectionsEnd, this.#listener.ended()])
    do {
      if (this.#calls > 0) await new Promise<void>((resolve) => (this.#onEmpty = resolve))
      // A call may still come from a client that has not read its GOAWAY.
      await Promise.race([connectionsEnd, pause(FAREWELL_MS, undefined, { ref: false })])
    } while (this.#calls > 0)
  }

  /** Ends every connection at once. */
  destroy(): void {
    this.#http1.destroy()
    this.#http2.destroy()
    this.#listener.destroy()
  }

  #onCall(call: Call, peer: Peer, { certificate }: Link): void {
    const { exchange: settings, mayProbe, isReady } = this.#options
    const { clock, collector, maxBodyBytes } = settings
    const speaksGrpc = call.httpVersion === 2 && isGrpc(first(call.headers, 'content-type'))
    if (speaksGrpc && isHealthCheck(call) && mayProbe(peer)) {
      answerHealth(call, isReady)
      return
    }
    const { arrival, shape } = speaksGrpc
      ? readGrpc(call, peer, clock.nowMs(), certificate)
      : readHttp(call, peer, { collector, maxBodyBytes, certificate })
    const dialect = speaksGrpc ? grpcDialect : httpDialect
    const exchange = new CallExchange(call, arrival, shape, dialect, settings, this.#onEnd)
    this.#calls += 1
    void serve(exchange, this.#options.pipeline)
  }

  readonly #onEnd = (): void => {
    this.#calls -= 1
    if (this.#calls === 0) this.#onEmpty?.()
  }
}
