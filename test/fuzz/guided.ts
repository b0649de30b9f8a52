/**
 * A target for coverage-guided fuzzers such as jazzer.js: bytes in, an exception for a finding. See
 * README.md for how it is run.
 */
import assert from 'node:assert/strict'
import { ClientConnection } from '../../src/http2/client-connection.ts'
import { fieldBlock } from '../../src/http2/field-encoder.ts'
import { HpackDecoder } from '../../src/http2/hpack-decoder.ts'
import { ConnectionError, PREFACE } from '../../src/http2/protocol.ts'
import { ServerConnection } from '../../src/http2/server-connection.ts'
import { FakeSocket } from '../unit/http2/fake-socket.ts'
import { Asked, Served } from '../unit/http2/sessions.ts'
import { settingsFrame } from '../unit/http2/strict-peer.ts'

const LIMITS = {
  maxListBytes: 8192,
  maxFields: 32,
  windowBytes: 100_000,
  streamWindowBytes: 40_000,
}

/** The first byte chooses what is fed, the second how large the pieces are, the rest is fed. */
export async function fuzz(data: Buffer): Promise<void> {
  const [kind, size] = data
  if (kind === undefined || size === undefined) return
  const bytes = data.subarray(2)
  if (kind % 3 === 0) feedDecoder(bytes)
  else if (kind % 3 === 1) feedServer(bytes, 1 + size * 3)
  else feedClient(bytes, 1 + size * 3)
  // What the engine puts off to the end of the turn would pile up.
  await new Promise(setImmediate)
}

function feedDecoder(bytes: Buffer): void {
  const decoder = new HpackDecoder({ maxTableBytes: 4096, maxListBytes: 8192, maxFields: 32 })
  try {
    decoder.decode(bytes, 0, bytes.length)
    decoder.decode(bytes, 0, bytes.length)
  } catch (error) {
    if (!(error instanceof ConnectionError)) throw error
  }
}

function feedServer(bytes: Buffer, pieceBytes: number): void {
  const socket = new FakeSocket()
  const connection = new ServerConnection(
    socket,
    {
      ...LIMITS,
      maxStreams: 6,
      headerTimeoutMs: 10_000,
      idleTimeoutMs: 60_000,
      sendTimeoutMs: 30_000,
      onRequest: (stream) => {
        stream.start(new Served(stream))
        if (stream.id % 4 === 1) stream.answer(200, {}, Buffer.alloc(stream.id % 300), { a: 'b' })
      },
      onShut: () => {},
      onMisuse: () => {},
    },
    0,
  )
  feed(socket, Buffer.concat([PREFACE, settingsFrame([]), bytes]), pieceBytes)
  end(socket, connection)
}

function feedClient(bytes: Buffer, pieceBytes: number): void {
  const socket = new FakeSocket()
  const connection = new ClientConnection(socket, {
    ...LIMITS,
    onReady: () => {},
    onLeaving: () => {},
    onEnd: () => {},
  })
  const readers = [1, 2, 3, 4].map(() => new Asked())
  for (const reader of readers) {
    connection.request([fieldBlock({ ':path': '/' })], reader).write(Buffer.alloc(30_000))
  }
  feed(socket, Buffer.concat([settingsFrame([]), bytes]), pieceBytes)
  end(socket, connection)
  for (const { closes } of readers) assert.equal(closes.length, 1)
}

function feed(socket: FakeSocket, bytes: Buffer, pieceBytes: number): void {
  for (let at = 0; at < bytes.length; at += pieceBytes) {
    socket.feed(bytes.subarray(at, at + pieceBytes))
  }
}

function end(socket: FakeSocket, connection: ServerConnection | ClientConnection): void {
  connection.outbox.flush()
  assert.ok(connection.outbox.pendingBytes < 1024 * 1024)
  socket.emit('close')
  assert.equal(connection.streams.size, 0)
  socket.destroy()
}
