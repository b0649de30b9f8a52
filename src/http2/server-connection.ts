/** The server's end of an HTTP/2 connection: takes requests, bounds what a client can make us do. */
import type { Duplex } from 'node:stream'
import { BlockMemory, TOO_LARGE } from './block-memory.ts'
import { COST, Connection, type ConnectionLimits } from './connection.ts'
import {
  CODE,
  ConnectionError,
  FLAG,
  FRAME,
  MAX_STREAM_ID,
  PREFACE,
  SETTING,
  StreamError,
} from './protocol.ts'
import { isTrailerList, type RequestFields, requestFields } from './request-fields.ts'
import { ServerStream } from './server-stream.ts'

/** Streams that ended lately, so that what is still on its way to them can be told from a mistake. */
const REMEMBERED_STREAMS = 128
/** Answers waiting for a client that does not read them; beyond, we do not read its requests either. */
const MAX_UNREAD_BYTES = 256 * 1024
/** Points given back for a request that came to an answer. */
const REFUND = 20

export interface ServerOptions extends ConnectionLimits {
  readonly maxStreams: number
  /** From the start to the client's first request and its ACK of our settings; for each header block too. */
  readonly headerTimeoutMs: number
  readonly idleTimeoutMs: number
  /** How long an answer may wait for the client to take any of it. */
  readonly sendTimeoutMs: number
  onRequest(stream: ServerStream): void
  onShut(connection: ServerConnection): void
  onMisuse(reason: string): void
}

export class ServerConnection extends Connection<ServerStream> {
  readonly #options: ServerOptions
  /** The preface, as long as it has not arrived whole. */
  #preface: Buffer | undefined = Buffer.alloc(0)
  #lastStream = 0
  /** Streams that ended lately, and whether the peer knows: our own resets may cross its frames. */
  readonly #ended = new Map<number, boolean>()
  readonly #blocks: BlockMemory<RequestFields>
  #current: ServerStream | undefined
  #currentLength = 0
  #currentDelivered = 0
  #currentEnds = false
  #isLeaving = false
  #activeMs: number
  #blockSinceMs: number | undefined
  readonly #startedMs: number
  /** Monotonic time of the last tick; exact enough for time limits. */
  nowMs: number

  constructor(socket: Duplex, options: ServerOptions, nowMs: number) {
    super(socket, options)
    this.#options = options
    this.#blocks = new BlockMemory(this.decoder, requestFields)
    this.nowMs = nowMs
    this.#startedMs = nowMs
    this.#activeMs = nowMs
    socket.on('drain', () => socket.resume())
    const { maxStreams, streamWindowBytes, maxListBytes } = options
    this.writeSettings([
      [SETTING.MAX_CONCURRENT_STREAMS, maxStreams],
      [SETTING.INITIAL_WINDOW_SIZE, streamWindowBytes],
      [SETTING.MAX_HEADER_LIST_SIZE, maxListBytes],
    ])
  }

  /** Looks at every time limit. To be called about once a second. */
  tick(nowMs: number): void {
    this.nowMs = nowMs
    this.replenish()
    const { headerTimeoutMs, idleTimeoutMs, sendTimeoutMs } = this.#options
    const isSettled = this.hasSettingsAck && this.#lastStream > 0
    if (!isSettled && nowMs - this.#startedMs > headerTimeoutMs && this.streams.size === 0) {
      this.#end('no_hello', CODE.SETTINGS_TIMEOUT)
      return
    }
    if (!this.isInBlock) this.#blockSinceMs = undefined
    else if (this.#blockSinceMs === undefined) this.#blockSinceMs = nowMs
    else if (nowMs - this.#blockSinceMs > headerTimeoutMs) {
      this.#end('slow_headers', CODE.ENHANCE_YOUR_CALM)
      return
    }
    if (this.streams.size > 0) this.#activeMs = nowMs
    else if (nowMs - this.#activeMs > idleTimeoutMs) {
      this.leave()
      return
    }
    for (const stream of this.streams.values()) {
      const sinceMs = stream.stalledSinceMs
      if (sinceMs === undefined || nowMs - sinceMs <= sendTimeoutMs) continue
      this.#options.onMisuse('stalled_reading')
      this.resetStream(stream, CODE.CANCEL)
    }
  }

  /** Announces the end without excluding any stream; `leave` follows a round trip later. RFC 9113 section 6.8. */
  announceEnd(): void {
    if (!this.isClosed) this.writeGoaway(MAX_STREAM_ID, CODE.NO_ERROR)
  }

  /** Takes no new streams; the connection ends with the last one that is open. */
  leave(): void {
    if (this.#isLeaving || this.isClosed) return
    this.#isLeaving = true
    this.writeGoaway(this.#lastStream, CODE.NO_ERROR)
    if (this.streams.size === 0) this.shut(CODE.NO_ERROR)
  }

  /** Resets a stream for a reason of ours. */
  resetStream(stream: ServerStream, code: number): void {
    if (this.streams.get(stream.id) !== stream) return
    this.writeReset(stream.id, code)
    this.#remove(stream, false)
    stream.close(new Error('the stream was reset'))
    this.#leaveIfDone()
  }

  /** A stream has sent its answer. */
  finish(stream: ServerStream): void {
    // The rest of the request is refused without an error: RFC 9113 section 8.1.
    if (!stream.hasPeerEnded) this.writeReset(stream.id, CODE.NO_ERROR)
    this.#remove(stream, stream.hasPeerEnded)
    this.refund(REFUND)
    this.#leaveIfDone()
  }

  /** A header block longer than one frame. */
  writeLongBlock(streamId: number, block: Buffer, ends: boolean): void {
    const { peerFrameBytes } = this
    this.writeFrame(
      FRAME.HEADERS,
      ends ? FLAG.END_STREAM : 0,
      streamId,
      block.subarray(0, peerFrameBytes),
    )
    for (let at = peerFrameBytes; at < block.length; at += peerFrameBytes) {
      const isLast = at + peerFrameBytes >= block.length
      const piece = block.subarray(at, at + peerFrameBytes)
      this.writeFrame(FRAME.CONTINUATION, isLast ? FLAG.END_HEADERS : 0, streamId, piece)
    }
  }

  protected override receive(chunk: Buffer): void {
    if (this.#preface === undefined) {
      super.receive(chunk)
      if (this.outbox.pendingBytes > MAX_UNREAD_BYTES) this.socket.pause()
      return
    }
    const bytes = this.#preface.length === 0 ? chunk : Buffer.concat([this.#preface, chunk])
    const length = Math.min(bytes.length, PREFACE.length)
    if (!bytes.subarray(0, length).equals(PREFACE.subarray(0, length))) {
      this.fail(CODE.PROTOCOL_ERROR, 'no preface')
      return
    }
    if (length < PREFACE.length) {
      this.#preface = bytes
      return
    }
    this.#preface = undefined
    if (bytes.length > PREFACE.length) super.receive(bytes.subarray(PREFACE.length))
  }

  protected override onBlock(
    streamId: number,
    flags: number,
    bytes: Buffer,
    start: number,
    end: number,
  ): void {
    const known = this.streams.get(streamId)
    const ends = (flags & FLAG.END_STREAM) !== 0
    if (known !== undefined) {
      this.#onTrailers(known, ends, bytes, start, end)
      return
    }
    const request = this.#blocks.read(bytes, start, end)
    if (streamId % 2 === 0) throw new ConnectionError(CODE.PROTOCOL_ERROR, 'an even stream id')
    if (streamId <= this.#lastStream) {
      const wasToldToPeer = this.#ended.get(streamId)
      // Frames that crossed our reset are no mistake: section 5.1, "closed".
      if (wasToldToPeer === false) return
      throw new ConnectionError(
        wasToldToPeer === true ? CODE.STREAM_CLOSED : CODE.PROTOCOL_ERROR,
        'HEADERS on a stream that is over',
      )
    }
    this.#lastStream = streamId
    if (this.#isLeaving) return
    if (this.streams.size >= this.#options.maxStreams) {
      this.#refuse(streamId)
      return
    }
    if (typeof request === 'string') {
      if (request === TOO_LARGE) this.#answerTooLarge(streamId, ends)
      else throw new StreamError(streamId, CODE.PROTOCOL_ERROR, request)
      return
    }
    const { fields, contentLength } = request
    if (ends && contentLength > 0)
      throw new StreamError(streamId, CODE.PROTOCOL_ERROR, 'a missing body')
    const stream = new ServerStream(this, streamId, fields, contentLength, ends)
    this.streams.set(streamId, stream)
    this.#options.onRequest(stream)
  }

  onDataStart(flags: number, streamId: number, lengthBytes: number): void {
    this.countData(flags, streamId, lengthBytes)
    this.#currentLength = lengthBytes
    this.#currentDelivered = 0
    this.#currentEnds = (flags & FLAG.END_STREAM) !== 0
    const stream = this.streams.get(streamId)
    this.#current = stream
    if (stream === undefined) {
      if (this.isIdle(streamId))
        throw new ConnectionError(CODE.PROTOCOL_ERROR, 'DATA on a stream that is not open')
      // Section 5.1: after our reset it is dropped; after the peer's own end it is a mistake.
      if (this.#ended.get(streamId) !== false) this.#mistake(streamId, CODE.STREAM_CLOSED)
    } else if (stream.hasPeerEnded) {
      this.#current = undefined
      this.#mistake(streamId, CODE.STREAM_CLOSED)
    } else if (!stream.takeWindow(lengthBytes)) {
      this.#current = undefined
      this.#mistake(streamId, CODE.FLOW_CONTROL_ERROR)
    }
  }

  onData(bytes: Buffer): void {
    const stream = this.#current
    if (stream === undefined) return
    this.#currentDelivered += bytes.length
    if (!stream.deliver(bytes)) {
      this.#current = undefined
      this.#mistake(stream.id, CODE.PROTOCOL_ERROR)
    } else if (this.streams.get(stream.id) !== stream) this.#current = undefined
  }

  onDataEnd(): void {
    const stream = this.#current
    this.#current = undefined
    const rest = this.#currentLength - this.#currentDelivered
    if (stream === undefined) {
      this.consumed(rest)
      return
    }
    if (rest > 0) stream.skip(rest)
    if (this.#currentEnds && !stream.endPeer()) this.#mistake(stream.id, CODE.PROTOCOL_ERROR)
  }

  protected override onReset(streamId: number, code: number): void {
    const stream = this.streams.get(streamId)
    if (stream === undefined) return
    this.#remove(stream, true)
    stream.close(new Error(`the client reset the stream with code ${code}`))
    this.#leaveIfDone()
  }

  protected override onGoaway(): void {
    this.leave()
  }

  protected override isIdle(streamId: number): boolean {
    return streamId > this.#lastStream || streamId % 2 === 0
  }

  protected override get lastPeerStream(): number {
    return this.#lastStream
  }

  protected override onShut(): void {
    for (const stream of this.streams.values()) stream.close(new Error('the connection was closed'))
    this.#options.onShut(this)
  }

  protected override onMisuse(reason: string): void {
    this.#options.onMisuse(reason)
  }

  #onTrailers(
    stream: ServerStream,
    ends: boolean,
    bytes: Buffer,
    start: number,
    end: number,
  ): void {
    const { fields, isTooLarge } = this.decoder.decode(bytes, start, end)
    if (stream.hasPeerEnded)
      throw new StreamError(stream.id, CODE.STREAM_CLOSED, 'HEADERS behind the end')
    if (!ends || isTooLarge || !isTrailerList(fields) || !stream.endPeer()) {
      throw new StreamError(stream.id, CODE.PROTOCOL_ERROR, 'malformed trailers')
    }
  }

  #refuse(streamId: number): void {
    this.charge(COST.refused)
    this.writeReset(streamId, CODE.REFUSED_STREAM)
    this.#remember(streamId, false)
  }

  /** RFC 6585 section 5; the connection itself goes on. */
  #answerTooLarge(streamId: number, ends: boolean): void {
    const stream = new ServerStream(this, streamId, Object.create(null), -1, ends)
    this.streams.set(streamId, stream)
    stream.answer(431, NO_FIELDS)
    this.charge(COST.streamError)
  }

  #mistake(streamId: number, code: number): void {
    this.streamError(streamId, code)
  }

  #remove(stream: ServerStream, isKnownToPeer: boolean): void {
    this.streams.delete(stream.id)
    this.#remember(stream.id, isKnownToPeer)
    if (this.#current === stream) this.#current = undefined
  }

  #remember(streamId: number, isKnownToPeer: boolean): void {
    this.#ended.set(streamId, isKnownToPeer)
    if (this.#ended.size <= REMEMBERED_STREAMS) return
    for (const oldest of this.#ended.keys()) {
      this.#ended.delete(oldest)
      return
    }
  }

  #leaveIfDone(): void {
    if (this.#isLeaving && this.streams.size === 0) this.shut(CODE.NO_ERROR)
  }

  #end(reason: string, code: number): void {
    this.#options.onMisuse(reason)
    this.writeGoaway(this.#lastStream, code)
    this.shut(code)
  }
}

const NO_FIELDS = Object.freeze({})
