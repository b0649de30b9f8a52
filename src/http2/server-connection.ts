/** The server's end of an HTTP/2 connection: takes requests, bounds what a client can make us do. */
import type { Duplex } from 'node:stream'
import { BlockMemory, TOO_LARGE } from './block-memory.ts'
import { Connection } from './connection.ts'
import { EndedStreams } from './ended-streams.ts'
import { LastWords } from './last-words.ts'
import { COST } from './patience.ts'
import { PrefaceReader } from './preface.ts'
import { Progress } from './progress.ts'
import {
  CODE,
  ConnectionError,
  DEFAULT_FRAME_BYTES,
  FLAG,
  MAX_STREAM_ID,
  SETTING,
  StreamError,
} from './protocol.ts'
import { isTrailerList, type RequestFields, requestFields } from './request-fields.ts'
import type { ServerOptions } from './server-options.ts'
import { ServerStream } from './server-stream.ts'
import { Unfinished } from './unfinished.ts'

/** Less data than this in a frame costs more to handle than it carries. */
const TINY_BYTES = 64
/** Answers waiting for a client that does not read them; beyond, we do not read its requests either. */
const MAX_UNREAD_BYTES = 64 * 1024
/** Points given back for a request that came to an answer. */
const REFUND = 20

export class ServerConnection extends Connection<ServerStream> {
  readonly #options: ServerOptions
  /** The preface, as long as it has not arrived whole. */
  #preface: PrefaceReader | undefined = new PrefaceReader()
  #lastStream = 0
  readonly #ended: EndedStreams
  readonly #lastWords = new LastWords((rests, last) => this.#sayLastWords(rests, last))
  readonly #blocks: BlockMemory<RequestFields>
  #current: ServerStream | undefined
  #currentLength = 0
  #currentDelivered = 0
  /** Data in the frame, delivered or not; the rest of its length is padding. */
  #currentData = 0
  #currentEnds = false
  #isLeaving = false
  #activeMs: number
  readonly #unfinished = new Unfinished()
  /** Whether the socket takes what is written, and the peer lets us send DATA. */
  readonly #writing: Progress
  readonly #sending: Progress
  readonly #startedMs: number
  /** Bytes of bodies that wait here: read and not asked for, or not sent because windows are shut. */
  heldBytes = 0
  /** Bytes of DATA sent since the start. */
  sentDataBytes = 0
  /** Monotonic time of the last tick; exact enough for time limits. */
  nowMs: number

  constructor(socket: Duplex, options: ServerOptions, nowMs: number) {
    super(socket, options)
    this.#options = options
    this.#ended = new EndedStreams(options.maxStreams)
    this.#blocks = new BlockMemory(this.decoder, requestFields)
    this.nowMs = nowMs
    this.#startedMs = this.#activeMs = nowMs
    this.#writing = new Progress(nowMs)
    this.#sending = new Progress(nowMs)
    socket.on('drain', () => socket.resume())
    const { maxStreams, streamWindowBytes, maxListBytes } = options
    this.writeSettings([
      [SETTING.MAX_CONCURRENT_STREAMS, maxStreams],
      [SETTING.INITIAL_WINDOW_SIZE, streamWindowBytes],
      [SETTING.MAX_HEADER_LIST_SIZE, maxListBytes],
    ])
    this.openWindow()
  }

  /** Looks at every time limit. To be called about once a second. */
  tick(nowMs: number): void {
    this.nowMs = nowMs
    this.replenish()
    const { headerTimeoutMs, idleTimeoutMs, sendTimeoutMs } = this.#options
    if (!this.hasSettingsAck && nowMs - this.#startedMs > headerTimeoutMs) {
      this.#end('no_hello', CODE.SETTINGS_TIMEOUT)
    } else if (
      this.#unfinished.isFor(headerTimeoutMs, this.unfinished, this.socket.isPaused(), nowMs)
    ) {
      this.#end('slow_headers', CODE.ENHANCE_YOUR_CALM)
    } else if (this.#hasStalled(sendTimeoutMs)) {
      this.#end('stalled_reading', CODE.ENHANCE_YOUR_CALM)
    } else if (this.streams.size > 0) {
      this.#activeMs = nowMs
      this.#resetStalled(sendTimeoutMs)
    } else if (nowMs - this.#activeMs > idleTimeoutMs) {
      this.#options.onMisuse('idle')
      this.leave()
    }
  }

  /** Bytes of bodies wait. The connection may be over when this returns. */
  hold(bytes: number): void {
    this.heldBytes += bytes
    this.#options.onHold?.(bytes)
  }

  letGo(bytes: number): void {
    this.heldBytes -= bytes
    this.#options.onLetGo?.(bytes)
  }

  /** Ends the connection because memory is short and it holds the most. */
  evict(): void {
    if (this.isClosed) return
    this.#end('memory', CODE.ENHANCE_YOUR_CALM)
    // Last words behind a heap of unread ones would only keep the heap.
    if (this.socket.writableLength > DEFAULT_FRAME_BYTES) this.socket.destroy()
  }

  /** Announces the end without excluding any stream; `leave` follows a round trip later. RFC 9113 section 6.8. */
  announceEnd(): void {
    if (!this.isClosed) this.writeGoaway(MAX_STREAM_ID, CODE.NO_ERROR)
  }

  /** Takes no new streams; the connection ends with the last one that is open. */
  leave(): void {
    if (this.#isLeaving || this.isClosed) return
    this.#isLeaving = true
    this.#lastWords.leave(this.#lastStream)
  }

  /** Resets a stream for a reason of ours. */
  resetStream(stream: ServerStream, code: number): void {
    if (this.streams.get(stream.id) !== stream) return
    this.writeReset(stream.id, code)
    this.#remove(stream, stream.hasPeerEnded)
    stream.close(new Error('the stream was reset'))
    this.#leaveIfDone()
  }

  /** A stream has sent its answer. */
  finish(stream: ServerStream): void {
    if (!stream.hasPeerEnded) this.#lastWords.refuseRest(stream.id)
    this.#remove(stream, stream.hasPeerEnded)
    this.refund(REFUND)
    this.#leaveIfDone()
  }

  /** Rests are refused without an error: RFC 9113 section 8.1. Most have come to their end meanwhile. */
  #sayLastWords(rests: readonly number[], lastStream: number | undefined): void {
    if (this.isClosed) return
    for (const id of rests)
      if (this.#ended.windowOf(id) !== undefined) this.writeReset(id, CODE.NO_ERROR)
    if (lastStream !== undefined) this.writeGoaway(lastStream, CODE.NO_ERROR)
    this.#leaveIfDone()
  }

  protected override receive(chunk: Buffer): void {
    if (this.#preface === undefined) {
      super.receive(chunk)
      if (this.outbox.pendingBytes > MAX_UNREAD_BYTES && !this.isClosed) this.#pauseReading()
      return
    }
    const rest = this.#preface.take(chunk)
    if (rest === 'wrong') this.fail(CODE.PROTOCOL_ERROR, 'no preface')
    if (typeof rest === 'string') return
    this.#preface = undefined
    if (rest.length > 0) super.receive(rest)
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
      // Frames that crossed our reset are no mistake: section 5.1, "closed".
      if (ends && this.#ended.settle(streamId)) return
      throw new ConnectionError(
        this.#ended.isKnown(streamId) ? CODE.STREAM_CLOSED : CODE.PROTOCOL_ERROR,
        'HEADERS on a stream that is over',
      )
    }
    this.#lastStream = streamId
    this.#activeMs = this.nowMs
    if (this.#isLeaving) {
      this.charge(COST.crossed)
      this.#ended.add(streamId, this.#options.streamWindowBytes)
      return
    }
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
    if (this.isClosed) return
    this.countData(streamId, lengthBytes)
    this.#currentLength = lengthBytes
    this.#currentDelivered = 0
    this.#currentData = 0
    this.#currentEnds = (flags & FLAG.END_STREAM) !== 0
    const stream = this.streams.get(streamId)
    this.#current = stream
    if (stream === undefined) {
      if (this.isIdle(streamId))
        throw new ConnectionError(CODE.PROTOCOL_ERROR, 'DATA on a stream that is not open')
      // Section 5.1: after our reset it is dropped; after the peer's own end it is a mistake.
      const left = this.#ended.windowOf(streamId)
      if (left === undefined) this.streamError(streamId, CODE.STREAM_CLOSED)
      else if (lengthBytes > left)
        throw new ConnectionError(CODE.FLOW_CONTROL_ERROR, 'more DATA than the window of a stream')
      else if (this.#currentEnds) this.#ended.settle(streamId)
      else this.#ended.add(streamId, left - lengthBytes)
    } else if (stream.hasPeerEnded) {
      this.#current = undefined
      this.streamError(streamId, CODE.STREAM_CLOSED)
    } else if (!stream.takeWindow(lengthBytes)) {
      this.#current = undefined
      this.streamError(streamId, CODE.FLOW_CONTROL_ERROR)
    }
  }

  onData(bytes: Buffer): void {
    const stream = this.#current
    this.#currentData += bytes.length
    if (stream === undefined) return
    if (!stream.deliver(bytes, this.#currentEnds)) {
      this.#current = undefined
      this.streamError(stream.id, CODE.PROTOCOL_ERROR)
      return
    }
    this.#currentDelivered += bytes.length
    if (this.streams.get(stream.id) !== stream) this.#current = undefined
  }

  onDataEnd(): void {
    const stream = this.#current
    this.#current = undefined
    if (this.isClosed) return
    if (this.#currentData < TINY_BYTES && !this.#currentEnds)
      this.charge(this.#currentData === 0 ? COST.emptyData : COST.tinyData)
    const rest = this.#currentLength - this.#currentDelivered
    if (stream === undefined) {
      this.consumed(rest)
      return
    }
    if (rest > 0) stream.skip(rest)
    if (this.#currentEnds && !stream.endPeer()) this.streamError(stream.id, CODE.PROTOCOL_ERROR)
  }

  protected override onReset(streamId: number, code: number): void {
    const stream = this.streams.get(streamId)
    if (stream === undefined) {
      // Now it knows.
      this.#ended.settle(streamId)
      return
    }
    this.#remove(stream, true)
    stream.close(new Error(`the client reset the stream with code ${code}`))
    this.#leaveIfDone()
  }

  protected override onStreamError(streamId: number, code: number): void {
    const stream = this.streams.get(streamId)
    if (stream !== undefined) {
      this.#remove(stream, stream.hasPeerEnded)
      stream.close(new Error(`the stream was reset with code ${code}: the client broke HTTP/2`))
      this.#leaveIfDone()
    } else if (streamId === this.#lastStream && !this.#ended.isKnown(streamId)) {
      // It was malformed and never came to be.
      this.#ended.add(streamId, this.#options.streamWindowBytes)
    }
  }

  protected override onGoaway(): void {
    this.leave()
  }

  /** One that lives since the last tick or longer is no rapid one; see `COST.lateReset`. */
  protected override costOfReset(streamId: number): number {
    const stream = this.streams.get(streamId)
    return stream !== undefined && stream.openedMs < this.nowMs ? COST.lateReset : COST.reset
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
    this.charge(this.hasSettingsAck ? COST.refused : COST.crossed)
    this.writeReset(streamId, CODE.REFUSED_STREAM)
    this.#ended.add(streamId, this.#options.streamWindowBytes)
  }

  /** RFC 6585 section 5; the connection itself goes on. */
  #answerTooLarge(streamId: number, ends: boolean): void {
    // The answer gives points back as any does.
    this.charge(COST.streamError + REFUND)
    const stream = new ServerStream(this, streamId, Object.create(null), -1, ends)
    this.streams.set(streamId, stream)
    stream.answer(431, NO_FIELDS)
  }

  #remove(stream: ServerStream, isKnownToPeer: boolean): void {
    this.streams.delete(stream.id)
    this.#ended.add(stream.id, isKnownToPeer ? undefined : stream.receiveWindow)
    if (this.#current === stream) this.#current = undefined
  }

  #leaveIfDone(): void {
    if (!this.#isLeaving || this.streams.size > 0 || this.#lastWords.areWaiting) return
    this.shut(CODE.NO_ERROR)
  }

  #pauseReading(): void {
    const { outbox, socket } = this
    // Only what the socket has been given makes it say when there is room again.
    outbox.flush()
    if (socket.writableNeedDrain) socket.pause()
  }

  /** Whether the client reads nothing, or keeps the window of the whole connection shut on answers. */
  #hasStalled(timeoutMs: number): boolean {
    const { outbox, nowMs } = this
    const isWritten = outbox.pendingBytes === 0
    const isShut = this.blockedStreams > 0 && this.sendWindow <= 0
    return (
      this.#writing.hasStalled(!isWritten, outbox.sentBytes, nowMs, timeoutMs) ||
      this.#sending.hasStalled(isShut, this.sentDataBytes, nowMs, timeoutMs)
    )
  }

  #resetStalled(timeoutMs: number): void {
    if (this.blockedStreams === 0) return
    for (const stream of this.streams.values()) {
      if (!stream.hasStalled(this.nowMs, timeoutMs)) continue
      this.#options.onMisuse('stalled_reading')
      this.resetStream(stream, CODE.CANCEL)
    }
  }

  #end(reason: string, code: number): void {
    this.#options.onMisuse(reason)
    this.writeGoaway(this.#lastStream, code)
    this.shut(code)
  }
}

const NO_FIELDS = {}
