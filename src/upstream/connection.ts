/** One HTTP/2 connection to the collector, from dialling to its end. RFC 9113. */
import { connect as connectTcp, isIP, type Socket } from 'node:net'
import { connect as connectTls, type TLSSocket } from 'node:tls'
import { ClientConnection } from '../http2/client-connection.ts'
import { type Address, bareHost } from './address.ts'

/** Answers are small; these let a burst of large ones through without waiting for the window. */
const STREAM_WINDOW_BYTES = 1024 * 1024
const CONNECTION_WINDOW_BYTES = 16 * 1024 * 1024
/** Header fields of an answer; gRPC's own suggestion is half of it. */
const MAX_LIST_BYTES = 64 * 1024
const MAX_FIELDS = 256
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
export interface Connection {
  readonly http2: ClientConnection
  readonly sinceMs: number
  /** Bytes received so far: a connection on which nothing arrives any more may be dead. */
  readonly receivedBytes: number
  /** Ends it and everything open on it. Resolves when it is gone. */
  destroy(): Promise<void>
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
  let failure: Error | undefined
  socket.on('error', (error) => {
    failure ??= error
  })
  const patience = setTimeout(() => {
    socket.destroy(named('ETIMEDOUT', 'no HTTP/2 settings in time'))
  }, timeoutMs)
  const gone = new Promise<void>((resolve) => socket.once('close', () => resolve()))
  const http2 = new ClientConnection(socket, {
    maxListBytes: MAX_LIST_BYTES,
    maxFields: MAX_FIELDS,
    windowBytes: CONNECTION_WINDOW_BYTES,
    streamWindowBytes: STREAM_WINDOW_BYTES,
    onReady: () => {
      clearTimeout(patience)
      events.ready()
    },
    onLeaving: () => events.leaving(),
    onEnd: (words) => {
      clearTimeout(patience)
      events.ended(failure ?? (words === undefined ? undefined : named('ERR_HTTP2_ERROR', words)))
    },
  })
  return {
    http2,
    sinceMs: nowMs,
    get receivedBytes() {
      return socket.bytesRead
    },
    async destroy() {
      socket.destroy()
      await gone
    },
  }
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
  if (address.protocol === 'http:') return connectTcp(to)
  const socket: TLSSocket = connectTls({
    ...to,
    ...(isIP(host) === 0 ? { servername: host } : {}),
    ...(ca === undefined ? {} : { ca }),
    ALPNProtocols: ['h2'],
    minVersion: 'TLSv1.2',
  })
  // Written before the handshake is over, the preface would turn its errors into write errors.
  socket.cork()
  socket.on('secureConnect', () => {
    socket.uncork()
    if (socket.alpnProtocol !== 'h2')
      socket.destroy(named('ERR_HTTP2_ERROR', 'TLS without ALPN h2'))
  })
  return socket
}

function named(code: string, message: string): Error {
  return Object.assign(new Error(message), { code })
}
