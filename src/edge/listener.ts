/**
 * The public sockets: what happens to a connection before it speaks HTTP. Accept, PROXY header, ban,
 * TLS, and the choice between HTTP/2 and HTTP/1.1. Everything a stranger can hold open here has a
 * time limit and is counted.
 */
import { createServer, type Server, type Socket } from 'node:net'
import {
  createServer as createTlsServer,
  type TLSSocket,
  type TlsOptions,
  type Server as TlsServer,
} from 'node:tls'
import type { ClientCertificate, Peer } from '../pipeline/arrival.ts'
import { ChallengeDoor, type Challenges } from './challenge-door.ts'
import type { ClientAddressSource, IsTrusted } from './client-address.ts'
import { type Link, linkOf, type Port, setLink } from './link.ts'
import { peerFromAddress } from './peer.ts'
import { parseProxyHeader } from './proxy-protocol.ts'
import { TicketKey } from './session-tickets.ts'

const HTTP2_PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
/** Connections the kernel keeps while the event loop is busy. */
const BACKLOG = 1024

/** Why a connection was refused or ended. Metric labels. */
export const CONNECTION_REFUSALS = [
  'banned',
  'full',
  'peer_full',
  'proxy_header',
  'handshake',
  'handshake_timeout',
  'protocol_timeout',
] as const
export type ConnectionRefusal = (typeof CONNECTION_REFUSALS)[number]

export interface ListenerOptions {
  /** Undefined serves plaintext: h2c with prior knowledge and HTTP/1.1. */
  readonly tls: TlsOptions | undefined
  /** TLS-ALPN-01 challenges that are answered here; undefined for none. */
  readonly challenges?: Challenges | undefined
  readonly clientAddress: ClientAddressSource
  readonly isTrusted: IsTrusted
  readonly maxConnections: number
  /** Connections of one peer. Trusted proxies are not counted. */
  readonly maxConnectionsPerPeer: number
  /** From accept to the end of the handshake; the PROXY header and the first bytes of plaintext included. */
  readonly handshakeTimeoutMs: number
  /** Whether a peer's connections are closed before the handshake. */
  isShut(peer: Peer): boolean
  onHttp1(socket: Socket, link: Link): void
  onHttp2(socket: Socket, link: Link): void
  onOpen(port: Port, peer: Peer): void
  onClose(port: Port): void
  onRefused(reason: ConnectionRefusal): void
  /** A TLS handshake failed: OpenSSL's code for it and who it was, for the log. */
  onHandshakeFailed(code: string, address: string): void
  /** A TLS handshake succeeded, once a connection. */
  onHandshake(handshake: Handshake): void
  /** Asked once after each handshake; undefined where no client certificate is asked for. */
  readonly certificateOf?: CertificateOf | undefined
}

/** The client certificate that the requests of a connection may use; `refused` ends the connection. */
export type CertificateOf = (
  socket: TLSSocket,
  address: string,
) => ClientCertificate | 'refused' | undefined

/** What a TLS handshake came to. */
export interface Handshake {
  /** `TLSv1.3` */
  readonly version: string
  /** The cipher suite, by its name at IANA. */
  readonly suite: string
  readonly isResumed: boolean
}

/** An address to listen on. Port 0 takes a free one. */
export interface ListenAddress {
  readonly host: string
  readonly port: number
}

/** A socket that somebody else has bound: the number of its descriptor. */
export interface GivenSocket {
  readonly descriptor: number
}

/** A socket that was given cannot be listened on. The message is for the operator. */
export class AdoptionError extends Error {
  override readonly name = 'AdoptionError'
}

export class Listener {
  readonly #options: ListenerOptions
  readonly #tls: TlsServer | undefined
  readonly #ticketKey: TicketKey | undefined
  readonly #challengeDoor: ChallengeDoor | undefined
  readonly #servers: Server[] = []
  readonly #perPeer = new Map<string, number>()
  readonly #sockets = new Set<Socket>()
  #open = 0

  constructor(options: ListenerOptions) {
    this.#options = options
    if (options.tls === undefined) return
    const { challenges, handshakeTimeoutMs } = options
    if (challenges !== undefined)
      this.#challengeDoor = new ChallengeDoor({ challenges, handshakeTimeoutMs })
    this.#tls = createTlsServer({ ...options.tls, handshakeTimeout: options.handshakeTimeoutMs })
    this.#ticketKey = new TicketKey(this.#tls)
    this.#tls.on('secureConnection', (socket) => this.#onSecure(socket))
    this.#tls.on('tlsClientError', (error: NodeJS.ErrnoException, socket) => {
      // Where its certificate was the reason, Node ends the connection and calls it a reset.
      const code = flawOf(socket) ?? error.code ?? 'unknown'
      options.onRefused(code === 'ERR_TLS_HANDSHAKE_TIMEOUT' ? 'handshake_timeout' : 'handshake')
      const link = linkOf(rawSocketOf(socket))
      if (link !== undefined) options.onHandshakeFailed(code, link.peer.address)
      socket.destroy()
    })
  }

  /**
   * Opens a port, or takes over a socket that is open. Rejects with Node's error (EADDRINUSE, EACCES)
   * where it cannot, and with an `AdoptionError` for a socket of another kind. Resolves with the
   * address taken.
   */
  async listen(port: Port, at: ListenAddress | GivenSocket): Promise<ListenAddress> {
    if (!('descriptor' in at)) {
      const { host, port: number } = at
      return (await this.#listen(port, { host, port: number })) ?? at
    }
    const { descriptor } = at
    const wrong = (why: string, cause?: unknown) =>
      new AdoptionError(
        `the socket ${port} (descriptor ${descriptor}): ${why}; expected a listening TCP socket (systemd: ListenStream= with a port, and Accept=no)`,
        { cause },
      )
    const taken = await this.#listen(port, { fd: descriptor }).catch((error: unknown) => {
      const { code, message } = error as NodeJS.ErrnoException
      // Somebody else listens there, between our bind and now: that has words of its own.
      throw code === 'EADDRINUSE' ? error : wrong(code ?? message, error)
    })
    if (taken !== undefined) return taken
    this.close()
    throw wrong('it is no TCP socket')
  }

  /** Resolves with the address; undefined for what has none, such as a unix socket. */
  #listen(
    port: Port,
    where: ListenAddress | { readonly fd: number },
  ): Promise<ListenAddress | undefined> {
    const server = createServer(
      { noDelay: true, keepAlive: true, pauseOnConnect: false },
      (socket) => this.#onAccept(socket, port),
    )
    this.#servers.push(server)
    return new Promise((resolve, reject) => {
      server.once('error', reject)
      server.listen({ ...where, backlog: BACKLOG }, () => {
        server.off('error', reject)
        // Accepting can fail later (EMFILE); the connection is lost, the gateway is not.
        server.on('error', () => this.#options.onRefused('full'))
        const address = server.address()
        resolve(
          typeof address === 'object' && address !== null
            ? { host: address.address, port: address.port }
            : undefined,
        )
      })
    })
  }

  /**
   * New connections get this certificate from now on; those that are open keep theirs. Sessions under
   * the one before are not resumed, since its `sessionIdContext` is another: whoever comes back sees
   * the new certificate, and is asked for its own under the new rules.
   */
  setSecureContext(options: TlsOptions): void {
    this.#tls?.setSecureContext(options)
    this.#ticketKey?.renew()
  }

  /** Session tickets are sealed with this key from now on, which is the caller's to replace. */
  setTicketKey(key: Buffer): void {
    this.#ticketKey?.take(key)
  }

  /** Stops accepting. What is open goes on. */
  close(): void {
    this.#ticketKey?.stop()
    for (const server of this.#servers) server.close()
  }

  /** Resolves when every connection that is open now has ended, those in their handshake included. */
  async ended(): Promise<void> {
    await Promise.all(
      Array.from(
        this.#sockets,
        (socket) => new Promise((resolve) => socket.once('close', resolve)),
      ),
    )
  }

  /** Stops accepting and ends every connection at once, those in their handshake included. */
  destroy(): void {
    this.close()
    for (const socket of this.#sockets) socket.destroy()
  }

  #onAccept(socket: Socket, port: Port): void {
    const { clientAddress, isTrusted, onRefused } = this.#options
    socket.on('error', ignore)
    this.#sockets.add(socket)
    socket.on('close', () => this.#onClose(socket))
    const peer = peerFromAddress(socket.remoteAddress ?? '')
    if (peer === undefined) {
      // The client was gone before we looked.
      socket.destroy()
    } else if (clientAddress === 'proxy-protocol' && isTrusted(peer.address)) {
      this.#readProxyHeader(socket, port, peer)
    } else if (this.#open >= this.#options.maxConnections) {
      onRefused('full')
      socket.resetAndDestroy()
    } else this.#admitConnection(socket, { port, peer })
  }

  #readProxyHeader(socket: Socket, port: Port, proxy: Peer): void {
    const { handshakeTimeoutMs, onRefused } = this.#options
    const refuse = () => {
      onRefused('proxy_header')
      socket.destroy()
    }
    const timer = setTimeout(refuse, handshakeTimeoutMs)
    socket.on('close', () => clearTimeout(timer))
    let read = Buffer.alloc(0)
    const onReadable = () => {
      const more: Buffer | null = socket.read()
      if (more === null) return
      read = Buffer.concat([read, more])
      const header = parseProxyHeader(read)
      if (header.kind === 'incomplete') return
      clearTimeout(timer)
      socket.off('readable', onReadable)
      const peer =
        header.kind === 'invalid' ? undefined : peerFromAddress(header.address ?? proxy.address)
      if (header.kind === 'invalid' || peer === undefined) {
        refuse()
        return
      }
      const rest = read.subarray(header.lengthBytes)
      if (rest.length > 0) socket.unshift(rest)
      this.#admitConnection(socket, { port, peer })
    }
    socket.on('readable', onReadable)
  }

  #admitConnection(socket: Socket, link: Link): void {
    const { isTrusted, isShut, maxConnections, maxConnectionsPerPeer, onRefused, onOpen } =
      this.#options
    const { key, address } = link.peer
    const ofPeer = this.#perPeer.get(key) ?? 0
    const reason = isShut(link.peer)
      ? 'banned'
      : this.#open >= maxConnections
        ? 'full'
        : ofPeer >= maxConnectionsPerPeer && !isTrusted(address)
          ? 'peer_full'
          : undefined
    if (reason !== undefined) {
      onRefused(reason)
      socket.resetAndDestroy()
      return
    }
    this.#open += 1
    this.#perPeer.set(key, ofPeer + 1)
    onOpen(link.port, link.peer)
    setLink(socket, link)
    if (this.#tls === undefined) this.#sniff(socket, link)
    else if (this.#challengeDoor?.isWatching !== true) this.#tls.emit('connection', socket)
    else {
      const onTimeout = () => {
        onRefused('handshake_timeout')
        socket.destroy()
      }
      this.#challengeDoor.take(socket, () => this.#tls?.emit('connection', socket), onTimeout)
    }
  }

  /** One listener for all that ends with a socket: each costs as much as what it does here. */
  #onClose(socket: Socket): void {
    this.#sockets.delete(socket)
    const link = linkOf(socket)
    if (link === undefined) return
    const { key } = link.peer
    this.#open -= 1
    const left = (this.#perPeer.get(key) ?? 1) - 1
    if (left > 0) this.#perPeer.set(key, left)
    else this.#perPeer.delete(key)
    this.#options.onClose(link.port)
  }

  #onSecure(socket: TLSSocket): void {
    socket.on('error', ignore)
    const link = linkOf(rawSocketOf(socket))
    if (link === undefined) throw new TypeError('BUG: a handshake on a connection nobody knows')
    const { certificateOf, onRefused, onHandshake, onHttp1, onHttp2 } = this.#options
    const certificate = certificateOf?.(socket, link.peer.address)
    if (certificate === 'refused') {
      onRefused('handshake')
      socket.destroy()
      return
    }
    onHandshake({
      version: socket.getProtocol() ?? '',
      suite: socket.getCipher().standardName,
      isResumed: socket.isSessionReused(),
    })
    const known = certificate === undefined ? link : { ...link, certificate }
    if (socket.alpnProtocol === 'h2') onHttp2(socket, known)
    else onHttp1(socket, known)
  }

  /** Plaintext tells its protocol by its first bytes: RFC 9113 section 3.4. */
  #sniff(socket: Socket, link: Link): void {
    const { handshakeTimeoutMs, onRefused, onHttp1, onHttp2 } = this.#options
    const timer = setTimeout(() => {
      onRefused('protocol_timeout')
      socket.destroy()
    }, handshakeTimeoutMs)
    socket.on('close', () => clearTimeout(timer))
    let read = Buffer.alloc(0)
    const onReadable = () => {
      const more: Buffer | null = socket.read()
      if (more === null) return
      read = Buffer.concat([read, more])
      const length = Math.min(read.length, HTTP2_PREFACE.length)
      const mayBeHttp2 = read.subarray(0, length).equals(HTTP2_PREFACE.subarray(0, length))
      if (mayBeHttp2 && length < HTTP2_PREFACE.length) return
      clearTimeout(timer)
      socket.off('readable', onReadable)
      socket.unshift(read)
      if (mayBeHttp2) onHttp2(socket, link)
      else onHttp1(socket, link)
    }
    socket.on('readable', onReadable)
  }
}

/** What goes wrong with a connection shows in its end. */
function ignore(): void {}

/** Why a client certificate was not accepted, in OpenSSL's word; undefined where it was none of the reasons. */
function flawOf({ authorizationError }: TLSSocket): string | undefined {
  // Declared as an error, and a text in truth.
  const flaw: unknown = authorizationError
  return typeof flaw === 'string' ? flaw : undefined
}

/** The socket that a TLS socket was made of, as `tls.Server` keeps it. */
function rawSocketOf(socket: TLSSocket): Socket {
  return (socket as unknown as { _parent: Socket })._parent
}
