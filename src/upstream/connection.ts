/** One HTTP/2 connection to the collector, from dialling to its end. RFC 9113. */
import { type ClientHttp2Session, connect as connectHttp2 } from 'node:http2'
import { connect as connectTcp, isIP, type Socket } from 'node:net'
import { connect as connectTls, type TLSSocket } from 'node:tls'
import { type Address, bareHost, originOf } from './address.ts'

/**
 * In megabytes. Node counts what waits to be sent against it, and at its default of 10 ends uploads
 * with ENHANCE_YOUR_CALM that the collector has received. What is in flight is bounded at the edge.
 */
const SESSION_MEMORY_MB = 1_000_000
/** Answers are small; these let a burst of large ones through without waiting for the window. */
const STREAM_WINDOW_BYTES = 1024 * 1024
const CONNECTION_WINDOW_BYTES = 16 * 1024 * 1024
/** Idle connections are probed by TCP: HTTP/2 pings more often than every 5 min are an offence (gRFC A8). */
const TCP_KEEP_ALIVE_MS = 20_000

/** What a connection tells its owner. */
export interface ConnectionEvents {
  /** The other side has sent its SETTINGS, the first time or again. */
  ready(): void
  /** GOAWAY: what is open may end, nothing new is taken. */
  leaving(): void
  /** It is gone, whatever the reason; undefined where there was none. Called once. */
  ended(error: Error | undefined): void
}

/** One HTTP/2 connection. */
export class Connection {
  readonly session: ClientHttp2Session
  readonly #socket: Socket
  readonly sinceMs: number
  /** Streams open now. */
  open = 0
  #lastSeenStream = Number.POSITIVE_INFINITY

  constructor(session: ClientHttp2Session, socket: Socket, sinceMs: number) {
    this.session = session
    this.#socket = socket
    this.sinceMs = sinceMs
    session.on('goaway', (_code, lastStreamId) => {
      this.#lastSeenStream = Math.min(this.#lastSeenStream, lastStreamId)
    })
  }

  /** Whether one more stream is within what the collector allows at once. */
  get hasRoom(): boolean {
    return this.open < (this.session.remoteSettings.maxConcurrentStreams ?? Number.MAX_SAFE_INTEGER)
  }

  /** Bytes received so far: a connection on which nothing arrives any more may be dead. */
  get receivedBytes(): number {
    return this.#socket.bytesRead
  }

  /** Ends it and everything open on it. Node waits for the other side to hang up too; we do not. */
  destroy(): void {
    this.session.destroy()
    this.#socket.destroy()
  }

  /** The collector said in its GOAWAY that it has not seen this stream (RFC 9113 §6.8). */
  isUnseen(streamId: number | undefined): boolean {
    return streamId !== undefined && streamId > this.#lastSeenStream
  }
}

/**
 * Dials. The first `ready` comes with the SETTINGS of the other side, so that something that merely
 * accepts connections does not count as a collector; without them after `timeoutMs` it ends.
 */
export function dial(
  address: Address,
  ca: string | undefined,
  timeoutMs: number,
  nowMs: number,
  events: ConnectionEvents,
): Connection {
  const socket = open(address, ca)
  const session = connectHttp2(originOf(address), {
    createConnection: () => socket,
    maxSessionMemory: SESSION_MEMORY_MB,
    settings: { enablePush: false, initialWindowSize: STREAM_WINDOW_BYTES },
  })
  const connection = new Connection(session, socket, nowMs)
  let failure: Error | undefined
  const patience = setTimeout(() => {
    session.destroy(named('ETIMEDOUT', 'no HTTP/2 settings in time'))
  }, timeoutMs)
  session.on('connect', () => session.setLocalWindowSize(CONNECTION_WINDOW_BYTES))
  session.on('remoteSettings', () => {
    clearTimeout(patience)
    events.ready()
  })
  session.on('goaway', () => events.leaving())
  session.on('error', (error) => {
    failure ??= error
  })
  session.on('close', () => {
    clearTimeout(patience)
    events.ended(failure)
  })
  return connection
}

function open(address: Address, ca: string | undefined): Socket {
  const host = bareHost(address.host)
  const to = {
    host,
    port: address.port,
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: TCP_KEEP_ALIVE_MS,
  }
  if (address.protocol === 'http:') return quiet(connectTcp(to))
  const socket: TLSSocket = connectTls({
    ...to,
    ...(isIP(host) === 0 ? { servername: host } : {}),
    ...(ca === undefined ? {} : { ca }),
    ALPNProtocols: ['h2'],
    minVersion: 'TLSv1.2',
  })
  socket.on('secureConnect', () => {
    if (socket.alpnProtocol !== 'h2')
      socket.destroy(named('ERR_HTTP2_ERROR', 'TLS without ALPN h2'))
  })
  return quiet(socket)
}

/** The session reports errors of its socket; one that comes after its end must not be thrown. */
function quiet(socket: Socket): Socket {
  return socket.on('error', () => {})
}

function named(code: string, message: string): Error {
  return Object.assign(new Error(message), { code })
}
