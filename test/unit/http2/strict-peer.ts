/**
 * The other end of a connection under test, which takes nothing amiss that RFC 9113 allows and
 * everything that it does not: it counts windows, states and settings by itself and asserts on every
 * frame the engine sends. It shares no code with the engine but the numbers.
 */
import assert from 'node:assert/strict'
import { CODE, FLAG, FRAME, PREFACE, SETTING } from '../../../src/http2/protocol.ts'
import type { FakeSocket } from './fake-socket.ts'
import { decode, type Field, integer, ReferenceTable } from './reference-hpack.ts'

const DEFAULT_WINDOW = 65_535
const MAX_WINDOW = 2 ** 31 - 1

/** A frame as it goes over the wire: section 4.1. */
export function frame(
  type: number,
  flags: number,
  streamId: number,
  payload: Uint8Array | readonly number[] = [],
): Buffer {
  const head = Buffer.alloc(9)
  head.writeUIntBE(payload.length, 0, 3)
  head.writeUInt8(type, 3)
  head.writeUInt8(flags, 4)
  head.writeUInt32BE(streamId, 5)
  return Buffer.concat([head, Buffer.from(payload)])
}

export function uint32(...numbers: readonly number[]): Buffer {
  const bytes = Buffer.alloc(4 * numbers.length)
  for (const [at, value] of numbers.entries()) bytes.writeUInt32BE(value, at * 4)
  return bytes
}

export function settingsFrame(settings: readonly (readonly [id: number, value: number])[]): Buffer {
  const payload = settings.map(([id, value]) =>
    Buffer.concat([uint32(id).subarray(2), uint32(value)]),
  )
  return frame(FRAME.SETTINGS, 0, 0, Buffer.concat(payload))
}

/** A header block of literals without indexing. */
export function block(fields: readonly Field[]): Buffer {
  return Buffer.concat(
    fields.flatMap(([name, value]) => [
      Buffer.from([0]),
      integer(name.length, 7, 0),
      Buffer.from(name, 'latin1'),
      integer(value.length, 7, 0),
      Buffer.from(value, 'latin1'),
    ]),
  )
}

/** A stream as the peer sees it. */
export interface PeerStream {
  readonly id: number
  /** What the engine may still send. */
  allowance: number
  /** What we may still send. */
  window: number
  /** Header sections that came, in order. */
  readonly sections: Field[][]
  readonly data: Buffer[]
  /** Bytes of each DATA frame that came. */
  hasEngineEnded: boolean
  /** Code of the reset that came from the engine. */
  engineReset: number | undefined
  hasPeerEnded: boolean
  isPeerReset: boolean
}

export class StrictPeer {
  readonly #socket: FakeSocket
  readonly #flush: () => void
  readonly #role: 'client' | 'server'
  readonly #windowBytes: number
  readonly #streamWindowBytes: number
  readonly streams = new Map<number, PeerStream>()
  readonly table = new ReferenceTable()
  /** What the engine may still send on the connection. */
  allowance = DEFAULT_WINDOW
  /** What we may still send on it. */
  window = DEFAULT_WINDOW
  settings = new Map<number, number>()
  goaways: { lastStream: number; code: number }[] = []
  pings: Buffer[] = []
  acks = 0
  /** Connection window updates that came. */
  windowUpdates = 0
  #initialAllowance = DEFAULT_WINDOW
  #maxFrameBytes = 16_384
  #pending: (readonly (readonly [id: number, value: number])[])[] = []
  #rest: Buffer = Buffer.alloc(0)
  #block: { stream: PeerStream; ends: boolean; pieces: Buffer[] } | undefined
  #awaitsPreface: boolean
  /** Our table was made smaller: the next block has to begin by saying that it knows. */
  #awaitsResize = false
  #lastStream = 0
  #tableBytes = 4096

  /** `windowBytes` and `streamWindowBytes` are what the engine was told to announce. */
  constructor(
    role: 'client' | 'server',
    socket: FakeSocket,
    flush: () => void,
    windows: { windowBytes: number; streamWindowBytes: number },
  ) {
    this.#role = role
    this.#socket = socket
    this.#flush = flush
    this.#awaitsPreface = role === 'server'
    this.#windowBytes = Math.max(DEFAULT_WINDOW, windows.windowBytes)
    this.#streamWindowBytes = windows.streamWindowBytes
  }

  /** Says hello; with `settings`. */
  hello(settings: readonly (readonly [id: number, value: number])[] = []): void {
    this.#pending.push(settings)
    const frames = settingsFrame(settings)
    // Our SETTINGS have to come before the ACK of the engine's.
    this.#socket.feed(this.#role === 'client' ? Buffer.concat([PREFACE, frames]) : frames)
    this.read()
  }

  /** Reads what the engine has written so far. */
  read(): void {
    this.#flush()
    let bytes = Buffer.concat([this.#rest, this.#socket.taken()])
    if (this.#awaitsPreface) {
      if (bytes.length < PREFACE.length) {
        this.#rest = bytes
        return
      }
      assert.deepEqual(bytes.subarray(0, PREFACE.length), PREFACE)
      bytes = bytes.subarray(PREFACE.length)
      this.#awaitsPreface = false
    }
    let at = 0
    while (bytes.length - at >= 9) {
      const length = bytes.readUIntBE(at, 3)
      assert.ok(length <= this.#maxFrameBytes, `a frame of ${length} bytes`)
      if (bytes.length - at < 9 + length) break
      const payload = bytes.subarray(at + 9, at + 9 + length)
      this.#onFrame(
        bytes.readUInt8(at + 3),
        bytes.readUInt8(at + 4),
        bytes.readUInt32BE(at + 5),
        payload,
      )
      at += 9 + length
    }
    this.#rest = bytes.subarray(at)
  }

  /** Sends bytes as they are, once the engine's output so far has been read. */
  feed(bytes: Uint8Array): void {
    this.read()
    this.#socket.feed(bytes)
    this.read()
  }

  sendSettings(settings: readonly (readonly [id: number, value: number])[]): void {
    this.#pending.push(settings)
    this.feed(settingsFrame(settings))
  }

  ping(payload: Buffer): void {
    this.pings.push(payload)
    this.feed(frame(FRAME.PING, 0, 0, payload))
  }

  /** Opens a stream (client), or begins or ends an answer (either). */
  sendHeaders(streamId: number, fields: readonly Field[], ends: boolean): PeerStream {
    const stream = this.streams.get(streamId) ?? this.open(streamId)
    stream.hasPeerEnded ||= ends
    const flags = FLAG.END_HEADERS | (ends ? FLAG.END_STREAM : 0)
    this.feed(frame(FRAME.HEADERS, flags, streamId, block(fields)))
    return stream
  }

  /** What may be sent on this stream now. */
  room(stream: PeerStream): number {
    return Math.min(stream.window, this.window, 16_384)
  }

  /** Sends DATA within the windows; `padding` counts with its length octet, 0 for none. */
  sendData(stream: PeerStream, bytes: Uint8Array, ends: boolean, padding = 0): void {
    const length = bytes.length + padding
    assert.ok(length <= this.room(stream), 'the test sends more than it may')
    stream.window -= length
    this.window -= length
    stream.hasPeerEnded ||= ends
    const pads = padding === 0 ? [] : [Buffer.from([padding - 1]), bytes, Buffer.alloc(padding - 1)]
    this.feed(
      frame(
        FRAME.DATA,
        (ends ? FLAG.END_STREAM : 0) | (padding === 0 ? 0 : FLAG.PADDED),
        stream.id,
        padding === 0 ? bytes : Buffer.concat(pads),
      ),
    )
  }

  sendReset(stream: PeerStream, code: number): void {
    this.read()
    stream.isPeerReset = true
    this.feed(frame(FRAME.RST_STREAM, 0, stream.id, uint32(code)))
  }

  /** Lets the engine send more; on the connection where no stream is given. */
  grant(bytes: number, stream?: PeerStream): void {
    if (stream === undefined) this.allowance += bytes
    else stream.allowance += bytes
    this.feed(frame(FRAME.WINDOW_UPDATE, 0, stream?.id ?? 0, uint32(bytes)))
  }

  /** Takes note of a stream whose HEADERS the test writes itself. */
  open(id: number): PeerStream {
    const stream: PeerStream = {
      id,
      allowance: this.#initialAllowance,
      window: this.settings.get(SETTING.INITIAL_WINDOW_SIZE) ?? DEFAULT_WINDOW,
      sections: [],
      data: [],
      hasEngineEnded: false,
      engineReset: undefined,
      hasPeerEnded: false,
      isPeerReset: false,
    }
    this.streams.set(id, stream)
    return stream
  }

  #onFrame(type: number, flags: number, id: number, payload: Buffer): void {
    if (this.#block !== undefined) {
      assert.equal(type, FRAME.CONTINUATION, 'a frame inside a header block')
      assert.equal(id, this.#block.stream.id)
    }
    if (this.goaways.some(({ code }) => code !== CODE.NO_ERROR)) {
      assert.fail('a frame behind a GOAWAY with an error')
    }
    switch (type) {
      case FRAME.DATA:
        this.#onData(flags, id, payload)
        break
      case FRAME.HEADERS:
        this.#onHeaders(flags, id, payload)
        break
      case FRAME.CONTINUATION:
        assert.ok(this.#block !== undefined, 'CONTINUATION of nothing')
        this.#block.pieces.push(payload)
        if ((flags & FLAG.END_HEADERS) !== 0) this.#endBlock()
        break
      case FRAME.RST_STREAM: {
        assert.equal(payload.length, 4)
        const stream = this.streams.get(id)
        assert.ok(stream !== undefined || this.#role === 'client', 'a reset of an idle stream')
        if (stream === undefined) break
        assert.ok(!stream.isPeerReset, 'a reset in answer to a reset')
        stream.engineReset = payload.readUInt32BE()
        break
      }
      case FRAME.SETTINGS:
        this.#onSettings(flags, id, payload)
        break
      case FRAME.PING: {
        assert.equal(id, 0)
        assert.equal(flags, FLAG.ACK)
        assert.deepEqual(payload, this.pings.shift())
        break
      }
      case FRAME.GOAWAY: {
        assert.equal(id, 0)
        const lastStream = payload.readUInt32BE() & 0x7fffffff
        const before = this.goaways.at(-1)?.lastStream ?? MAX_WINDOW
        assert.ok(lastStream <= before, 'a GOAWAY that takes back an earlier one: section 6.8')
        this.goaways.push({ lastStream, code: payload.readUInt32BE(4) })
        break
      }
      case FRAME.WINDOW_UPDATE:
        this.#onWindowUpdate(id, payload)
        break
      default:
        assert.fail(`a frame of type ${type}`)
    }
  }

  #sending(id: number, what: string): PeerStream {
    const stream = this.streams.get(id)
    assert.ok(stream !== undefined, `${what} on stream ${id}, which is idle`)
    assert.equal(stream.engineReset, undefined, `${what} behind its own reset of ${id}`)
    assert.ok(!stream.isPeerReset, `${what} on stream ${id}, which was reset`)
    return stream
  }

  #onData(flags: number, id: number, payload: Buffer): void {
    const stream = this.#sending(id, 'DATA')
    assert.ok(!stream.hasEngineEnded, 'DATA behind END_STREAM')
    assert.ok(stream.sections.length > 0, 'DATA before HEADERS')
    assert.equal(flags & ~FLAG.END_STREAM, 0)
    stream.allowance -= payload.length
    this.allowance -= payload.length
    if (payload.length > 0) {
      assert.ok(stream.allowance >= 0, `${-stream.allowance} bytes beyond the window of ${id}`)
      assert.ok(this.allowance >= 0, `${-this.allowance} bytes beyond the connection window`)
    } else assert.notEqual(flags, 0, 'a DATA frame that says nothing')
    stream.data.push(payload)
    stream.hasEngineEnded = (flags & FLAG.END_STREAM) !== 0
  }

  #onHeaders(flags: number, id: number, payload: Buffer): void {
    if (this.#role === 'server' && !this.streams.has(id)) {
      assert.ok(id % 2 === 1 && id > this.#lastStream, 'a stream id out of order')
      this.#lastStream = id
      this.open(id)
    }
    const stream = this.#sending(id, 'HEADERS')
    assert.ok(!stream.hasEngineEnded, 'HEADERS behind END_STREAM')
    this.#block = { stream, ends: (flags & FLAG.END_STREAM) !== 0, pieces: [payload] }
    if ((flags & FLAG.END_HEADERS) !== 0) this.#endBlock()
  }

  #endBlock(): void {
    if (this.#block === undefined) return
    const { stream, ends, pieces } = this.#block
    this.#block = undefined
    const bytes = Buffer.concat(pieces)
    // RFC 7541 section 4.2.
    if (this.#awaitsResize) assert.equal((bytes[0] ?? 0) & 0xe0, 0x20, 'no table size update')
    stream.sections.push(decode(this.table, bytes))
    assert.ok(this.table.maxBytes <= this.#tableBytes, 'a table larger than allowed')
    this.#awaitsResize = false
    stream.hasEngineEnded = ends
  }

  #onSettings(flags: number, id: number, payload: Buffer): void {
    assert.equal(id, 0)
    if ((flags & FLAG.ACK) !== 0) {
      assert.equal(payload.length, 0)
      const applied = this.#pending.shift()
      assert.ok(applied !== undefined, 'an ACK of nothing')
      this.acks += 1
      for (const [setting, value] of applied) this.#apply(setting, value)
      return
    }
    assert.equal(payload.length % 6, 0)
    for (let at = 0; at < payload.length; at += 6) {
      this.settings.set(payload.readUInt16BE(at), payload.readUInt32BE(at + 2))
    }
    this.#socket.feed(frame(FRAME.SETTINGS, FLAG.ACK, 0))
  }

  #apply(setting: number, value: number): void {
    if (setting === SETTING.INITIAL_WINDOW_SIZE) {
      for (const stream of this.streams.values()) stream.allowance += value - this.#initialAllowance
      this.#initialAllowance = value
    } else if (setting === SETTING.MAX_FRAME_SIZE) this.#maxFrameBytes = value
    else if (setting === SETTING.HEADER_TABLE_SIZE) {
      this.#tableBytes = value
      if (value < this.table.maxBytes) this.#awaitsResize = true
    }
  }

  #onWindowUpdate(id: number, payload: Buffer): void {
    const increment = payload.readUInt32BE()
    assert.ok(increment > 0 && increment <= MAX_WINDOW, `a window update of ${increment}`)
    if (id === 0) {
      this.windowUpdates += 1
      this.window += increment
      assert.ok(this.window <= this.#windowBytes, `a connection window of ${this.window} bytes`)
      return
    }
    const stream = this.#sending(id, 'WINDOW_UPDATE')
    stream.window += increment
    assert.ok(stream.window <= this.#streamWindowBytes, `a stream window of ${stream.window} bytes`)
  }
}
