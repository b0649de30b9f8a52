/** The bare engine on loopback with a clock held in hand, for attacks that take their time. */
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, Socket } from 'node:net'
import type { TestContext } from 'node:test'
import { ServerConnection } from '../../src/http2/server-connection.ts'
import type { ServerOptions } from '../../src/http2/server-options.ts'
import type { ServerStream } from '../../src/http2/server-stream.ts'
import { eventually } from '../support/eventually.ts'
import { RawHttp2, type RawHttp2Options } from '../support/raw-http2.ts'

export const HEADER_TIMEOUT_MS = 10_000
export const IDLE_TIMEOUT_MS = 300_000
export const SEND_TIMEOUT_MS = 30_000

/** Both ends of a connection. */
export interface Pair {
  readonly client: RawHttp2
  readonly server: ServerConnection
}

export interface Engine {
  connect(options?: RawHttp2Options): Promise<Pair>
  /** Lets so many seconds pass, one tick a second, for all connections. */
  pass(seconds: number): void
  /** The engine's words for why it ended connections or streams, in order. */
  readonly misuse: readonly string[]
  /** Bytes held, over all connections. */
  readonly heldBytes: number
}

/** Resolves when the engine has read all that the client has written. */
export async function arrived({ client, server }: Pair): Promise<void> {
  const { socket } = server
  if (!(socket instanceof Socket)) throw new TypeError('BUG: no socket')
  const sent = client.socket.bytesWritten
  await eventually(() => socket.bytesRead >= sent || client.isOver, 'what was written')
}

/** Starts one. `answer` is called with each request; by default its end is waited for and answered. */
export async function startEngine(
  t: Pick<TestContext, 'after'>,
  answer: (stream: ServerStream) => void = answerAtTheEnd,
): Promise<Engine> {
  const misuse: string[] = []
  const servers = new Set<ServerConnection>()
  const clients: RawHttp2[] = []
  let nowMs = 0
  let heldBytes = 0
  const options: ServerOptions = {
    maxStreams: 250,
    maxListBytes: 16 * 1024,
    maxFields: 64,
    windowBytes: 1024 * 1024,
    streamWindowBytes: 256 * 1024,
    headerTimeoutMs: HEADER_TIMEOUT_MS,
    idleTimeoutMs: IDLE_TIMEOUT_MS,
    sendTimeoutMs: SEND_TIMEOUT_MS,
    onRequest: answer,
    onShut: (ended) => servers.delete(ended),
    onMisuse: (reason) => misuse.push(reason),
    onHold: (bytes) => {
      heldBytes += bytes
    },
    onLetGo: (bytes) => {
      heldBytes -= bytes
    },
  }
  const listener = createServer((socket) => {
    const server = new ServerConnection(socket, options, nowMs)
    servers.add(server)
    listener.emit('taken', server)
  })
  listener.listen(0, '127.0.0.1')
  await once(listener, 'listening')
  t.after(() => {
    listener.close()
    for (const { socket } of servers) socket.destroy()
    for (const client of clients) client.close()
  })

  return {
    misuse,
    get heldBytes() {
      return heldBytes
    },
    async connect(settings) {
      const taken = once(listener, 'taken')
      const socket = connect((listener.address() as AddressInfo).port, '127.0.0.1')
      await once(socket, 'connect')
      const client = new RawHttp2(socket, settings)
      clients.push(client)
      const [server] = (await taken) as [ServerConnection]
      return { client, server }
    },
    pass(seconds) {
      for (let second = 0; second < seconds; second += 1) {
        nowMs += 1000
        for (const server of [...servers]) server.tick(nowMs)
      }
    },
  }
}

function answerAtTheEnd(stream: ServerStream): void {
  stream.start({
    chunk: () => {},
    end: () => stream.answer(200, { 'content-type': 'text/plain' }),
    failed: () => {},
  })
}
