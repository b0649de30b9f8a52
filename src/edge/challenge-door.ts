/**
 * Answers TLS-ALPN-01 challenges (RFC 8737) on the public ports: looks at hellos while a challenge waits,
 * takes those that ask for `acme-tls/1` alone, and leaves everybody else as they came.
 */
import type { Socket } from 'node:net'
import { createServer, type SecureContext, type Server } from 'node:tls'
import { MAX_HELLO_BYTES, offeredProtocols } from './client-hello.ts'

const PROTOCOL = 'acme-tls/1'

/** The challenges that wait. */
export interface Challenges {
  readonly isWaiting: boolean
  /** The certificate that answers the challenge of a name; undefined where none waits for it. */
  contextFor(name: string): SecureContext | undefined
}

export interface ChallengeDoorOptions {
  readonly challenges: Challenges
  /** For the hello, and again for the handshake. */
  readonly handshakeTimeoutMs: number
}

export class ChallengeDoor {
  readonly #options: ChallengeDoorOptions
  readonly #server: Server

  constructor(options: ChallengeDoorOptions) {
    this.#options = options
    this.#server = createServer({
      ALPNProtocols: [PROTOCOL],
      minVersion: 'TLSv1.2',
      handshakeTimeout: options.handshakeTimeoutMs,
      SNICallback: (name, settle) => {
        const context = options.challenges.contextFor(name)
        if (context === undefined) settle(new Error('no challenge waits for this name'))
        else settle(null, context)
      },
    })
    // The handshake was the answer: RFC 8737 section 3.
    this.#server.on('secureConnection', (socket) => socket.on('error', () => {}).end())
    this.#server.on('tlsClientError', (_error, socket) => socket.destroy())
  }

  /** Whether hellos have to be looked at now. */
  get isWatching(): boolean {
    return this.#options.challenges.isWaiting
  }

  /** Reads the hello of a connection. Takes it if it is for a challenge; else `onOther` gets it as it came. */
  take(socket: Socket, onOther: () => void, onTimeout: () => void): void {
    const timer = setTimeout(onTimeout, this.#options.handshakeTimeoutMs)
    const stopTimer = () => clearTimeout(timer)
    socket.on('close', stopTimer)
    let read = Buffer.alloc(0)
    const onReadable = () => {
      const more: Buffer | null = socket.read()
      if (more === null) return
      read = Buffer.concat([read, more])
      const offered = offeredProtocols(read)
      if (offered === 'incomplete' && read.length <= MAX_HELLO_BYTES) return
      stopTimer()
      socket.off('close', stopTimer)
      socket.off('readable', onReadable)
      socket.unshift(read)
      const isChallenge =
        offered !== 'incomplete' && offered.length === 1 && offered[0] === PROTOCOL
      if (isChallenge) this.#server.emit('connection', socket)
      else onOther()
    }
    socket.on('readable', onReadable)
  }
}
