/** What is fuzzed. A target throws for a finding; everything it does follows from its `Random`. */
import assert from 'node:assert/strict'
import { ClientConnection } from '../../src/http2/client-connection.ts'
import type { ClientStream } from '../../src/http2/client-stream.ts'
import { fieldBlock } from '../../src/http2/field-encoder.ts'
import { HpackDecoder } from '../../src/http2/hpack-decoder.ts'
import { ConnectionError, FRAME } from '../../src/http2/protocol.ts'
import { ServerConnection } from '../../src/http2/server-connection.ts'
import type { ServerStream } from '../../src/http2/server-stream.ts'
import { FakeSocket } from '../unit/http2/fake-socket.ts'
import { decode, ReferenceTable } from '../unit/http2/reference-hpack.ts'
import { Asked, Served } from '../unit/http2/sessions.ts'
import { anyBlock, anyConversation } from './frames.ts'
import type { Random } from './random.ts'

const LIMITS = {
  maxListBytes: 8192,
  maxFields: 32,
  windowBytes: 100_000,
  streamWindowBytes: 40_000,
}
/** Answers and control frames that may wait at a peer that does not read. */
const MAX_PENDING_BYTES = 1024 * 1024

type End = ServerConnection | ClientConnection

export type Target = (random: Random) => Promise<void> | void

export const TARGETS: Readonly<Record<string, Target>> = { server, client, hpack }

/** Sends a conversation in pieces; the application does something in between. */
async function converse(
  random: Random,
  socket: FakeSocket,
  connection: End,
  bytes: Buffer,
  act: () => void,
): Promise<void> {
  for (let at = 0; at < bytes.length; ) {
    const length = random.once(3) ? 1 + random.below(20) : 1 + random.below(3000)
    socket.feed(bytes.subarray(at, at + length))
    at += length
    if (random.once(3)) act()
    if (random.once(4)) connection.outbox.flush()
    if (random.once(30)) socket.isStuck = true
    if (random.once(10)) socket.unstick()
    if (random.once(20)) await new Promise(setImmediate)
    assert.ok(connection.outbox.pendingBytes < MAX_PENDING_BYTES, 'too much waits to be sent')
    assert.ok(connection.sendWindow >= 0, 'the connection window is negative')
    if (connection.isClosed)
      assert.equal(connection.streams.size, 0, 'a stream outlives its connection')
  }
}

/** Ends the connection, and looks at what is left of it and what was sent. */
async function end(socket: FakeSocket, connection: End, skip: number): Promise<void> {
  socket.unstick()
  connection.outbox.flush()
  await new Promise(setImmediate)
  socket.emit('close')
  assert.equal(connection.isClosed, true)
  assert.equal(connection.streams.size, 0)
  assert.equal(connection.blockedStreams, 0)
  expectFrames(socket.taken().subarray(skip))
  socket.destroy()
}

/** All that was sent is whole frames, and their header blocks are HPACK. */
function expectFrames(bytes: Buffer): void {
  const table = new ReferenceTable()
  let at = 0
  let block: Buffer[] | undefined
  while (at < bytes.length) {
    assert.ok(at + 9 <= bytes.length, 'half a frame header')
    const next = at + 9 + bytes.readUIntBE(at, 3)
    assert.ok(next <= bytes.length, 'half a frame')
    const type = bytes.readUInt8(at + 3)
    assert.ok(type <= FRAME.CONTINUATION, `a frame of type ${type}`)
    if (type === FRAME.HEADERS) block = []
    else assert.equal(block !== undefined, type === FRAME.CONTINUATION, 'a block cut short')
    block?.push(bytes.subarray(at + 9, next))
    if (block !== undefined && (bytes.readUInt8(at + 4) & 4) !== 0) {
      decode(table, Buffer.concat(block))
      block = undefined
    }
    at = next
  }
}

async function server(random: Random): Promise<void> {
  const socket = new FakeSocket()
  const requests: Served[] = []
  let shuts = 0
  let nowMs = 0
  const connection = new ServerConnection(
    socket,
    {
      ...LIMITS,
      maxStreams: 6,
      headerTimeoutMs: 10_000,
      idleTimeoutMs: 60_000,
      sendTimeoutMs: 30_000,
      onRequest: (stream) => {
        const request = new Served(stream)
        requests.push(request)
        if (random.once(3)) stream.start(request)
        if (random.once(4)) answer(random, stream)
        request.onChunk = () => {
          if (random.once(10)) answer(random, stream)
          if (random.once(30)) stream.abandon()
          if (random.once(10)) stream.pause()
        }
      },
      onShut: () => {
        shuts += 1
      },
      onMisuse: () => {},
    },
    nowMs,
  )
  await converse(random, socket, connection, anyConversation(random, false), () => {
    if (random.once(3)) {
      nowMs += random.below(3000)
      connection.tick(nowMs)
    }
    if (random.once(60)) connection.announceEnd()
    if (random.once(60)) connection.leave()
    if (requests.length === 0) return
    const request = random.pick(requests)
    const { stream } = request
    switch (random.below(5)) {
      case 0:
        answer(random, stream)
        break
      case 1:
        stream.abandon()
        break
      case 2:
        stream.pause()
        break
      case 3:
        stream.resume()
        break
      default:
        if (!request.isOver) stream.start(request)
    }
  })
  await end(socket, connection, 0)
  assert.equal(shuts, 1)
  for (const { failures, ends, gone } of requests) assert.ok(failures + ends <= 1 && gone <= 1)
}

function answer(random: Random, stream: ServerStream): void {
  const body = random.once(2)
    ? Buffer.alloc(random.below(random.once(5) ? 300_000 : 500))
    : undefined
  const fields = random.once(10) ? { 'x-long': 'x'.repeat(random.below(40_000)) } : {}
  const ending = random.once(2) ? { 'grpc-status': '0' } : undefined
  stream.answer(200, random.once(40) ? { connection: 'close' } : fields, body, ending)
}

async function client(random: Random): Promise<void> {
  const socket = new FakeSocket()
  const asked: { reader: Asked; stream: ClientStream; isReset: boolean }[] = []
  let ends = 0
  const connection = new ClientConnection(socket, {
    ...LIMITS,
    onReady: () => {},
    onLeaving: () => {},
    onEnd: () => {
      ends += 1
    },
  })
  const ask = () => {
    if (!connection.hasRoom || asked.length >= 12) return
    const reader = new Asked()
    const fields = fieldBlock({ ':method': 'POST', ':scheme': 'http', ':path': '/a' })
    const made = { reader, stream: connection.request([fields], reader), isReset: false }
    reader.onChunk = () => {
      if (!random.once(20)) return
      made.isReset = true
      made.stream.reset(8)
    }
    asked.push(made)
  }
  for (let count = random.below(8); count > 0; count -= 1) ask()
  await converse(random, socket, connection, anyConversation(random, true), () => {
    ask()
    if (asked.length === 0) return
    const one = random.pick(asked)
    switch (random.below(4)) {
      case 0:
        if (random.once(3)) one.stream.end(Buffer.alloc(random.below(100)))
        break
      case 1:
        if (!random.once(4)) break
        one.isReset ||= one.reader.closes.length === 0
        one.stream.reset(8)
        break
      default:
        one.stream.write(Buffer.alloc(random.below(random.once(4) ? 50_000 : 300)))
    }
    if (random.once(100)) connection.close()
  })
  await end(socket, connection, 24)
  assert.equal(ends, 1)
  for (const { reader, isReset } of asked) {
    assert.equal(reader.closes.length, isReset ? 0 : 1, 'a request ends once')
  }
}

/** A decoder takes blocks or refuses them; what it takes, the reference decodes alike. */
function hpack(random: Random): void {
  const maxTableBytes = random.pick([0, 100, 4096])
  const decoder = new HpackDecoder({ maxTableBytes, maxListBytes: 8192, maxFields: 32 })
  const table = new ReferenceTable()
  table.maxBytes = maxTableBytes
  for (let count = 1 + random.below(12); count > 0; count -= 1) {
    const bytes = anyBlock(random, [['x-a', 'b']])
    let fields: readonly string[]
    let isTooLarge: boolean
    try {
      ;({ fields, isTooLarge } = decoder.decode(bytes, 0, bytes.length))
    } catch (error) {
      assert.ok(error instanceof ConnectionError, String(error))
      expectRefused(table, bytes, maxTableBytes)
      return
    }
    const expected = decode(table, bytes, maxTableBytes).flat()
    if (isTooLarge) assert.deepEqual(fields, expected.slice(0, fields.length))
    else assert.deepEqual(fields, expected)
  }
}

/** The reference refuses it, too, or it holds an integer longer than we take. */
function expectRefused(table: ReferenceTable, bytes: Buffer, maxTableBytes: number): void {
  try {
    decode(table, bytes, maxTableBytes)
  } catch {
    return
  }
  assert.match(bytes.toString('latin1'), /[\x80-\xff]{5}/, 'refused what is right')
}
