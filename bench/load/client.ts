/** One connection of the load generator: gRPC calls over TLS, their header sections in Go's order. */
import { readFileSync } from 'node:fs'
import { connect, type TLSSocket } from 'node:tls'
import { ClientConnection } from '../../src/http2/client-connection.ts'
import type { AnswerReader } from '../../src/http2/client-stream.ts'
import type { Fields } from '../../src/http2/request-fields.ts'
import { GRPC_PATH, TLS_SUITE } from '../wire.ts'
import { type FieldList, HpackEncoder } from './hpack-encoder.ts'

/** Where to, and with what. */
export interface Target {
  readonly port: number
  readonly certPath: string
  readonly bodyPath: string
}

/** How a call ended. */
export interface Ending {
  /** The HTTP status; undefined where there was no answer. */
  readonly status: string | undefined
  readonly grpcStatus: string | undefined
}

const WINDOW_BYTES = 1024 * 1024

/** Opens a TLS connection that speaks HTTP/2. */
export async function openTls({ port, certPath }: Target): Promise<TLSSocket> {
  const socket = connect({
    port,
    host: '127.0.0.1',
    servername: 'localhost',
    ca: readFileSync(certPath),
    ALPNProtocols: ['h2'],
    minVersion: 'TLSv1.3',
    ciphers: TLS_SUITE,
  })
  socket.setNoDelay(true)
  await new Promise<void>((resolve, reject) => {
    socket.once('secureConnect', resolve)
    socket.once('error', reject)
  })
  return socket
}

export class Client {
  readonly #connection: ClientConnection
  readonly #encoder = new HpackEncoder()
  readonly #authority: string
  readonly #body: Buffer

  private constructor(connection: ClientConnection, target: Target) {
    this.#connection = connection
    this.#authority = `127.0.0.1:${target.port}`
    this.#body = readFileSync(target.bodyPath)
  }

  /** Resolves when the server's SETTINGS have arrived. */
  static async open(target: Target): Promise<Client> {
    const socket = await openTls(target)
    return await new Promise((resolve, reject) => {
      const connection = new ClientConnection(socket, {
        maxListBytes: 64 * 1024,
        maxFields: 100,
        windowBytes: WINDOW_BYTES,
        streamWindowBytes: WINDOW_BYTES,
        onReady: () => resolve(new Client(connection, target)),
        onLeaving: () => reject(new Error('the server wants to end the connection')),
        onEnd: (words) => reject(new Error(words ?? 'the connection was closed')),
      })
    })
  }

  /** Makes one call; `fields` come behind those that every call has. */
  call(fields: FieldList, onEnd: (ending: Ending) => void): void {
    const connection = this.#connection
    if (connection.owesTableUpdate) throw new Error('the server allows no dynamic table')
    const block = this.#encoder.encode([
      [':method', 'POST'],
      [':scheme', 'https'],
      [':path', GRPC_PATH],
      [':authority', this.#authority],
      ['content-type', 'application/grpc'],
      ['user-agent', 'OTel OTLP Exporter Go/1.38.0 grpc-go/1.75.0'],
      ['te', 'trailers'],
      ...fields,
    ])
    connection.request([block], new Answer(onEnd)).end(this.#body)
  }

  close(): void {
    this.#connection.close()
  }
}

class Answer implements AnswerReader {
  readonly #onEnd: (ending: Ending) => void
  #headers: Fields | undefined
  #trailers: Fields | undefined

  constructor(onEnd: (ending: Ending) => void) {
    this.#onEnd = onEnd
  }

  onHeaders(fields: Fields): void {
    this.#headers = fields
  }

  onData(): void {}

  onTrailers(fields: Fields): void {
    this.#trailers = fields
  }

  onDrain(): void {}

  onClosed(): void {
    const text = (value: Fields[string] | undefined) => value?.toString()
    this.#onEnd({
      status: text(this.#headers?.[':status']),
      grpcStatus: text((this.#trailers ?? this.#headers)?.['grpc-status']),
    })
  }
}
