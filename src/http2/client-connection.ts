/** The client's end of an HTTP/2 connection: opens streams, as many as the server allows. */
import type { Duplex } from 'node:stream'
import { BlockMemory } from './block-memory.ts'
import { type AnswerReader, ClientStream } from './client-stream.ts'
import { Connection } from './connection.ts'
import type { ConnectionLimits } from './connection-limits.ts'
import { putFrameHeader } from './frame-writer.ts'
import {
  CODE,
  ConnectionError,
  FLAG,
  FRAME,
  FRAME_HEADER_BYTES,
  MAX_STREAM_ID,
  PREFACE,
  SETTING,
  StreamError,
} from './protocol.ts'
import { type AnswerFields, answerFields } from './request-fields.ts'

export interface ClientOptions extends ConnectionLimits {
  /** The server's SETTINGS have arrived, the first time or again. */
  onReady(): void
  /** The server takes no new streams: RFC 9113 section 6.8. */
  onLeaving(): void
  /** The connection is over. `words` say why where it was not the server's or our own end. */
  onEnd(words: string | undefined): void
  /** Id of the first stream, odd; 1 if not given. */
  readonly firstStream?: number
}

export class ClientConnection extends Connection<ClientStream> {
  readonly #options: ClientOptions
  readonly #blocks: BlockMemory<AnswerFields>
  #nextStream: number
  #lastSeenStream = Number.POSITIVE_INFINITY
  #isLeaving = false
  #misuse: string | undefined
  #current: ClientStream | undefined
  #currentLength = 0
  #currentDelivered = 0
  #currentEnds = false

  constructor(socket: Duplex, options: ClientOptions) {
    super(socket, options)
    this.#options = options
    this.#nextStream = options.firstStream ?? 1
    this.#blocks = new BlockMemory(this.decoder, answerFields)
    this.outbox.add(PREFACE)
    const { streamWindowBytes, maxListBytes } = options
    this.writeSettings([
      [SETTING.ENABLE_PUSH, 0],
      [SETTING.INITIAL_WINDOW_SIZE, streamWindowBytes],
      [SETTING.MAX_HEADER_LIST_SIZE, maxListBytes],
    ])
    this.openWindow()
  }

  /** A server that we chose is trusted with our time: it updates windows as often as it likes. */
  override charge(): void {}

  /** Whether one more stream may be opened now. */
  get hasRoom(): boolean {
    return !this.#isLeaving && !this.isClosed && this.streams.size < this.peerMaxStreams
  }

  /**
   * Opens a stream with a header section made of these blocks (`fieldBlock`). The caller has asked
   * `hasRoom`. Throws an Error where the connection cannot take it.
   */
  request(blocks: readonly Buffer[], reader: AnswerReader): ClientStream {
    if (!this.hasRoom) throw new Error('the connection takes no more streams')
    const update = this.owesTableUpdate ? this.takeTableUpdate() : EMPTY
    let length = update.length
    for (const block of blocks) length += block.length
    if (length > this.peerFrameBytes) {
      this.owesTableUpdate ||= update.length > 0
      throw new Error('the header fields are too long for one frame')
    }
    const id = this.#nextStream
    this.#nextStream += 2
    const stream = new ClientStream(this, id, reader)
    this.streams.set(id, stream)
    const { outbox } = this
    let at = outbox.reserve(FRAME_HEADER_BYTES + length)
    const { buffer } = outbox
    putFrameHeader(buffer, at, length, FRAME.HEADERS, FLAG.END_HEADERS, id)
    at += FRAME_HEADER_BYTES
    buffer.set(update, at)
    at += update.length
    for (const block of blocks) {
      buffer.set(block, at)
      at += block.length
    }
    if (this.#nextStream > MAX_STREAM_ID) this.#leave()
    return stream
  }

  /** Ends the connection when its last stream has ended. */
  close(): void {
    this.#leave()
    if (this.streams.size === 0) this.shut(CODE.NO_ERROR)
  }

  /** A stream is over. */
  forget(stream: ClientStream): void {
    this.streams.delete(stream.id)
    this.unblock(stream)
    if (this.#current === stream) this.#current = undefined
    if (this.#isLeaving && this.streams.size === 0) this.shut(CODE.NO_ERROR)
  }

  protected override onBlock(
    streamId: number,
    flags: number,
    bytes: Buffer,
    start: number,
    end: number,
  ): void {
    const answer = this.#blocks.read(bytes, start, end)
    const stream = this.streams.get(streamId)
    if (stream === undefined) {
      if (this.isIdle(streamId))
        throw new ConnectionError(CODE.PROTOCOL_ERROR, 'HEADERS on a stream that is not open')
      return
    }
    const ends = (flags & FLAG.END_STREAM) !== 0
    if (typeof answer === 'string') throw new StreamError(streamId, CODE.PROTOCOL_ERROR, answer)
    const { status, fields, contentLength } = answer
    if (stream.hasAnswer) {
      if (!ends || status !== undefined || !stream.takeTrailers(fields))
        throw new StreamError(streamId, CODE.PROTOCOL_ERROR, 'malformed trailers')
    } else if (status === undefined || (ends && status < 200)) {
      throw new StreamError(streamId, CODE.PROTOCOL_ERROR, 'an answer without a status')
    } else if (status >= 200) {
      // Section 8.1.1; 304 may tell the length of what it does not send (RFC 9110 section 8.6).
      if (ends && contentLength > 0 && status !== 304)
        throw new StreamError(streamId, CODE.PROTOCOL_ERROR, 'a missing body')
      stream.takeHeaders(answer, ends)
    }
  }

  onDataStart(flags: number, streamId: number, lengthBytes: number): void {
    this.countData(streamId, lengthBytes)
    const stream = this.streams.get(streamId)
    this.#current = stream
    this.#currentLength = lengthBytes
    this.#currentDelivered = 0
    this.#currentEnds = (flags & FLAG.END_STREAM) !== 0
    if (stream === undefined) {
      if (this.isIdle(streamId))
        throw new ConnectionError(CODE.PROTOCOL_ERROR, 'DATA on a stream that is not open')
    } else if (!stream.hasAnswer) this.#mistake(stream, CODE.PROTOCOL_ERROR)
    else if (!stream.takeWindow(lengthBytes)) this.#mistake(stream, CODE.FLOW_CONTROL_ERROR)
  }

  onData(bytes: Buffer): void {
    const stream = this.#current
    if (stream === undefined) return
    this.#currentDelivered += bytes.length
    if (!stream.takeData(bytes)) this.#mistake(stream, CODE.PROTOCOL_ERROR)
  }

  onDataEnd(): void {
    const stream = this.#current
    this.#current = undefined
    const rest = this.#currentLength - this.#currentDelivered
    if (stream === undefined) {
      this.consumed(rest)
      return
    }
    if (rest > 0) stream.used(rest)
    if (this.#currentEnds && !stream.takeEnd()) this.#mistake(stream, CODE.PROTOCOL_ERROR)
  }

  protected override onReset(streamId: number, code: number): void {
    // A reset behind the answer takes nothing back; before its end there is none without an error.
    const ended = code === CODE.NO_ERROR ? CODE.PROTOCOL_ERROR : code
    this.streams.get(streamId)?.close(ended, code === CODE.REFUSED_STREAM)
  }

  protected override onGoaway(lastStreamId: number): void {
    this.#lastSeenStream = Math.min(this.#lastSeenStream, lastStreamId)
    this.#leave()
    for (const stream of [...this.streams.values()]) {
      if (stream.id > this.#lastSeenStream) stream.close(CODE.REFUSED_STREAM, true)
    }
    if (this.streams.size === 0) this.shut(CODE.NO_ERROR)
  }

  protected override isIdle(streamId: number): boolean {
    return streamId >= this.#nextStream || streamId % 2 === 0
  }

  /** A server opens no streams: pushing is off. */
  protected override get lastPeerStream(): number {
    return 0
  }

  protected override onShut(): void {
    for (const stream of [...this.streams.values()]) stream.close(undefined, false)
    this.#options.onEnd(this.#misuse)
  }

  protected override onMisuse(reason: string): void {
    this.#misuse = `the other side broke HTTP/2: ${reason}`
  }

  protected override onSettings(): void {
    this.#options.onReady()
  }

  #leave(): void {
    if (this.#isLeaving) return
    this.#isLeaving = true
    if (!this.isClosed) this.#options.onLeaving()
  }

  #mistake(stream: ClientStream, code: number): void {
    this.#current = undefined
    this.streamError(stream.id, code)
  }
}

const EMPTY = Buffer.alloc(0)
