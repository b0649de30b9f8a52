/** Connections under test, each with a strict peer at its other end. */
import assert from 'node:assert/strict'
import { ClientConnection, type ClientOptions } from '../../../src/http2/client-connection.ts'
import type { AnswerReader } from '../../../src/http2/client-stream.ts'
import type { Fields } from '../../../src/http2/request-fields.ts'
import { ServerConnection } from '../../../src/http2/server-connection.ts'
import type { ServerOptions } from '../../../src/http2/server-options.ts'
import type { BodyReader, ServerStream } from '../../../src/http2/server-stream.ts'
import { FakeSocket } from './fake-socket.ts'
import type { Field } from './reference-hpack.ts'
import { type PeerStream, StrictPeer } from './strict-peer.ts'

export const WINDOWS = { windowBytes: 100_000, streamWindowBytes: 40_000 }
const LIMITS = { maxListBytes: 16_384, maxFields: 64, ...WINDOWS }

/** The header section of a request. */
export const REQUEST: readonly Field[] = [
  [':method', 'POST'],
  [':scheme', 'https'],
  [':path', '/a'],
  [':authority', 'localhost'],
]

/** One request as the server's application sees it. */
export class Served implements BodyReader {
  readonly stream: ServerStream
  readonly chunks: Uint8Array[] = []
  ends = 0
  failures = 0
  gone = 0
  onChunk: (() => void) | undefined

  constructor(stream: ServerStream) {
    this.stream = stream
    stream.onGone(() => {
      this.gone += 1
    })
  }

  get received(): Buffer {
    return Buffer.concat(this.chunks)
  }

  get isOver(): boolean {
    return this.ends + this.failures > 0
  }

  chunk(bytes: Uint8Array): void {
    assert.ok(!this.isOver, 'a chunk behind the end')
    this.chunks.push(bytes)
    this.onChunk?.()
  }

  end(): void {
    assert.ok(!this.isOver, 'a second end')
    this.ends += 1
  }

  failed(): void {
    assert.ok(!this.isOver, 'a second end')
    this.failures += 1
  }
}

export interface ServerUnderTest {
  readonly socket: FakeSocket
  readonly connection: ServerConnection
  readonly peer: StrictPeer
  /** Requests by stream id. */
  readonly served: Map<number, Served>
  readonly misuses: string[]
}

export function serve(options: Partial<ServerOptions> = {}, isGreeted = true): ServerUnderTest {
  const socket = new FakeSocket()
  const served = new Map<number, Served>()
  const misuses: string[] = []
  const connection = new ServerConnection(
    socket,
    {
      ...LIMITS,
      maxStreams: 100,
      headerTimeoutMs: 10_000,
      idleTimeoutMs: 60_000,
      sendTimeoutMs: 30_000,
      onRequest: (stream) => served.set(stream.id, new Served(stream)),
      onShut: () => {},
      onMisuse: (reason) => misuses.push(reason),
      ...options,
    },
    0,
  )
  const peer = new StrictPeer('client', socket, () => connection.outbox.flush(), WINDOWS)
  if (isGreeted) {
    peer.hello()
    peer.read()
  }
  return { socket, connection, peer, served, misuses }
}

/** Opens a request and gives both views of it. */
export function open(
  { peer, served }: ServerUnderTest,
  id: number,
  ends: boolean,
  more: readonly Field[] = [],
): { stream: PeerStream; request: Served } {
  const stream = peer.sendHeaders(id, [...REQUEST, ...more], ends)
  const request = served.get(id)
  assert.ok(request !== undefined, `no request came of stream ${id}`)
  return { stream, request }
}

/** One answer as the client's application sees it. */
export class Asked implements AnswerReader {
  headers: Fields | undefined
  trailers: Fields | undefined
  readonly chunks: Buffer[] = []
  drains = 0
  closes: { code: number | undefined; isUnseen: boolean }[] = []
  onChunk: (() => void) | undefined

  get received(): Buffer {
    return Buffer.concat(this.chunks)
  }

  onHeaders(fields: Fields): void {
    this.#expectOpen()
    assert.equal(this.headers, undefined, 'a second header section')
    this.headers = fields
  }

  onData(bytes: Buffer): void {
    this.#expectOpen()
    assert.ok(this.headers !== undefined, 'data before the header section')
    this.chunks.push(bytes)
    this.onChunk?.()
  }

  onTrailers(fields: Fields): void {
    this.#expectOpen()
    this.trailers = fields
  }

  onDrain(): void {
    this.#expectOpen()
    this.drains += 1
  }

  onClosed(code: number | undefined, isUnseen: boolean): void {
    this.#expectOpen()
    this.closes.push({ code, isUnseen })
  }

  #expectOpen(): void {
    assert.equal(this.closes.length, 0, 'something behind the end')
  }
}

export interface ClientUnderTest {
  readonly socket: FakeSocket
  readonly connection: ClientConnection
  readonly peer: StrictPeer
  readonly ends: (string | undefined)[]
  /** How often the connection said that it takes no more. */
  readonly leavings: string[]
}

export function ask(options: Partial<ClientOptions> = {}, isGreeted = true): ClientUnderTest {
  const socket = new FakeSocket()
  const ends: (string | undefined)[] = []
  const leavings: string[] = []
  const connection = new ClientConnection(socket, {
    ...LIMITS,
    onReady: () => {},
    onLeaving: () => leavings.push('leaving'),
    onEnd: (words) => ends.push(words),
    ...options,
  })
  const peer = new StrictPeer('server', socket, () => connection.outbox.flush(), WINDOWS)
  if (isGreeted) peer.hello()
  return { socket, connection, peer, ends, leavings }
}

/**
 * Whether all that the peer sent was given back to it: sends DATA on a new stream until a window
 * update of the connection comes, after which nothing may be missing.
 */
export function expectFullWindow(peer: StrictPeer, send: () => void): void {
  const before = peer.windowUpdates
  for (let i = 0; peer.windowUpdates === before; i += 1) {
    assert.ok(i < 1000, 'no window update comes')
    send()
  }
  assert.equal(peer.window, WINDOWS.windowBytes, 'the connection window has shrunk')
}
