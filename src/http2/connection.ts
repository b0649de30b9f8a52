/**
 * What both ends of an HTTP/2 connection have in common: frames in and out, settings, flow control
 * of the connection, header blocks put together, PING, GOAWAY, and the patience with a peer that
 * makes work for nothing. Streams are the subclasses' business.
 */
import type { Duplex } from 'node:stream'
import type { ConnectionLimits } from './connection-limits.ts'
import { endSocket } from './end-socket.ts'
import type { FlowStream } from './flow-stream.ts'
import { FrameReader, type FrameSink } from './frame-reader.ts'
import { FrameWriter } from './frame-writer.ts'
import { headerSection, PartialBlock } from './header-block.ts'
import { HpackDecoder } from './hpack-decoder.ts'
import { Outbox } from './outbox.ts'
import { COST, Patience } from './patience.ts'
import {
  CODE,
  ConnectionError,
  DEFAULT_FRAME_BYTES,
  DEFAULT_WINDOW_BYTES,
  FLAG,
  FRAME,
  MAX_WINDOW_BYTES,
  SETTING,
  StreamError,
} from './protocol.ts'
import { ReceiveWindow } from './receive-window.ts'
import { readSettings } from './settings.ts'
import { WaitingStreams } from './waiting-streams.ts'

const TABLE_BYTES = 4096
/** RFC 7541 section 6.3: a dynamic table size update to 0. */
const NO_TABLE = Buffer.from([0x20])
export abstract class Connection<Stream extends FlowStream>
  extends FrameWriter
  implements FrameSink
{
  readonly socket: Duplex
  readonly limits: ConnectionLimits
  readonly streams = new Map<number, Stream>()
  readonly decoder: HpackDecoder
  /** What we may still send on the connection: RFC 9113 section 6.9. */
  sendWindow = DEFAULT_WINDOW_BYTES
  peerStreamWindow = DEFAULT_WINDOW_BYTES
  peerMaxStreams = Number.POSITIVE_INFINITY
  hasPeerSettings = false
  hasSettingsAck = false
  isClosed = false
  /** The next header block we write has to begin with `takeTableUpdate`. */
  owesTableUpdate = false
  #encoderTableBytes = TABLE_BYTES
  readonly #received: ReceiveWindow
  readonly #patience = new Patience()
  readonly #reader: FrameReader
  #block: PartialBlock | undefined
  #blocks = 0
  readonly #waiting = new WaitingStreams<Stream>()

  constructor(socket: Duplex, limits: ConnectionLimits) {
    super(new Outbox(socket, () => this.#waiting.pump(this.#isFull)))
    this.socket = socket
    this.limits = limits
    this.decoder = new HpackDecoder({ maxTableBytes: TABLE_BYTES, ...limits })
    this.#reader = new FrameReader(this, DEFAULT_FRAME_BYTES)
    this.#received = new ReceiveWindow(limits.windowBytes)
    socket.on('data', (chunk: Buffer) => this.receive(chunk))
    socket.on('error', () => {})
    socket.on('close', () => this.shut(CODE.NO_ERROR))
    socket.on('end', () => this.shut(CODE.NO_ERROR))
  }

  /** A whole header block has arrived. */
  protected abstract onBlock(
    streamId: number,
    flags: number,
    bytes: Buffer,
    start: number,
    end: number,
  ): void
  /** A stream was reset by the peer. */
  protected abstract onReset(streamId: number, code: number): void
  protected abstract onGoaway(lastStreamId: number, code: number): void
  /** Whether this stream has been opened by either side. */
  protected abstract isIdle(streamId: number): boolean
  /** The connection is over; every stream on it too. Called once. */
  protected abstract onShut(): void
  /** The peer used up our patience, or broke the protocol: in a word, for the metrics. */
  protected abstract onMisuse(reason: string): void
  abstract onDataStart(flags: number, streamId: number, lengthBytes: number): void
  abstract onData(bytes: Buffer): void
  abstract onDataEnd(): void

  protected receive(chunk: Buffer): void {
    if (this.isClosed) return
    try {
      this.#reader.read(chunk)
      this.#waiting.pumpIfOpened(this.#isFull)
    } catch (error) {
      if (!(error instanceof ConnectionError)) throw error
      this.fail(error.code, error.message)
    }
  }

  onFrame(
    type: number,
    flags: number,
    streamId: number,
    bytes: Buffer,
    start: number,
    end: number,
  ): void {
    if (this.isClosed) return
    const length = end - start
    if (!this.hasPeerSettings && (type !== FRAME.SETTINGS || (flags & FLAG.ACK) !== 0)) {
      throw new ConnectionError(CODE.PROTOCOL_ERROR, 'the first frame is not SETTINGS')
    }
    if (
      this.#block !== undefined &&
      (type !== FRAME.CONTINUATION || this.#block.streamId !== streamId)
    ) {
      throw new ConnectionError(CODE.PROTOCOL_ERROR, 'a frame inside a header block')
    }
    try {
      switch (type) {
        case FRAME.HEADERS:
          this.#onHeaders(flags, streamId, bytes, start, end)
          break
        case FRAME.CONTINUATION:
          this.#onContinuation(flags, bytes, start, end)
          break
        case FRAME.WINDOW_UPDATE:
          this.#onWindowUpdate(streamId, bytes, start, length)
          break
        case FRAME.RST_STREAM:
          expectLength(length, 4)
          this.#expectStream(streamId, 'RST_STREAM')
          this.charge(this.costOfReset(streamId))
          this.onReset(streamId, bytes.readUInt32BE(start))
          break
        case FRAME.SETTINGS:
          this.#onSettings(flags, streamId, bytes, start, length)
          break
        case FRAME.PING:
          this.#onPing(flags, streamId, bytes, start, end)
          break
        case FRAME.GOAWAY:
          if (length < 8) throw new ConnectionError(CODE.FRAME_SIZE_ERROR, 'a short GOAWAY')
          if (streamId !== 0) throw new ConnectionError(CODE.PROTOCOL_ERROR, 'GOAWAY on a stream')
          this.charge(COST.goaway)
          this.onGoaway(bytes.readUInt32BE(start) & 0x7fffffff, bytes.readUInt32BE(start + 4))
          break
        case FRAME.PRIORITY:
          this.charge(COST.priority)
          if (streamId === 0)
            throw new ConnectionError(CODE.PROTOCOL_ERROR, 'PRIORITY on no stream')
          if (length !== 5) throw new StreamError(streamId, CODE.FRAME_SIZE_ERROR, 'PRIORITY')
          this.#refuseSelfDependency(streamId, bytes, start)
          break
        case FRAME.PUSH_PROMISE:
          throw new ConnectionError(CODE.PROTOCOL_ERROR, 'PUSH_PROMISE')
        default:
          // RFC 9113 section 5.5: unknown frames are ignored.
          this.charge(COST.unknown)
      }
    } catch (error) {
      if (!(error instanceof StreamError)) throw error
      this.streamError(error.streamId, error.code)
    }
  }

  /** Counts DATA against the connection's window. RFC 9113 section 6.9.1. */
  protected countData(streamId: number, lengthBytes: number): void {
    if (!this.hasPeerSettings || this.#block !== undefined) {
      throw new ConnectionError(CODE.PROTOCOL_ERROR, 'DATA where none may be')
    }
    if (streamId === 0) throw new ConnectionError(CODE.PROTOCOL_ERROR, 'DATA on no stream')
    this.#received.take(lengthBytes)
  }

  /** DATA of the connection was used or dropped: the peer may send as much again. */
  consumed(bytes: number): void {
    if (this.isClosed) return
    const more = this.#received.release(bytes)
    if (more > 0) this.writeWindowUpdate(0, more)
  }

  /** Takes points for work that carried nothing; see `Patience`. */
  charge(points: number): void {
    this.#patience.charge(points)
  }

  /** Gives points back for work that was worth it. */
  refund(points: number): void {
    this.#patience.refund(points)
  }

  /** To be called once a second. */
  protected replenish(): void {
    this.#patience.replenish()
  }

  /**
   * The header block, or else the frame other than DATA, that has begun and not ended: a number that
   * no other has. Undefined where none is under way.
   */
  protected get unfinished(): number | undefined {
    return this.#block !== undefined ? -this.#blocks : this.#reader.partialFrame
  }

  /** What the reset of this stream by the peer costs. */
  protected costOfReset(_streamId: number): number {
    return COST.reset
  }

  /** Registers a stream that waits for window or socket. */
  block(stream: Stream): void {
    this.#waiting.add(stream)
  }

  unblock(stream: Stream): void {
    this.#waiting.delete(stream)
  }

  get blockedStreams(): number {
    return this.#waiting.size
  }

  /** What a header block begins with where `owesTableUpdate`. */
  takeTableUpdate(): Buffer {
    this.owesTableUpdate = false
    return NO_TABLE
  }

  /** Opens the connection's window as far as settings cannot: RFC 9113 section 6.9.2. */
  protected openWindow(): void {
    const more = this.limits.windowBytes - DEFAULT_WINDOW_BYTES
    if (more > 0) this.writeWindowUpdate(0, more)
  }

  /** Ends the connection with a GOAWAY that says why. */
  protected fail(code: number, words: string): void {
    if (this.isClosed) return
    this.onMisuse(code === CODE.ENHANCE_YOUR_CALM ? words : 'protocol_error')
    this.writeGoaway(this.lastPeerStream, code, words)
    this.shut(code)
  }

  /** The highest stream of the peer's that was or may have been acted on. */
  protected abstract get lastPeerStream(): number

  /** Resets one stream for the peer's mistake. */
  protected streamError(streamId: number, code: number): void {
    this.charge(COST.streamError)
    this.writeReset(streamId, code)
    this.onStreamError(streamId, code)
  }

  /** We have reset a stream for the peer's mistake. */
  protected onStreamError(streamId: number, code: number): void {
    this.onReset(streamId, code)
  }

  /** What is written still goes out; then the socket ends. */
  shut(code: number): void {
    if (this.isClosed) return
    this.isClosed = true
    this.outbox.flush()
    this.outbox.close()
    this.#waiting.clear()
    this.onShut()
    this.streams.clear()
    endSocket(this.socket, code === CODE.NO_ERROR)
  }

  #onHeaders(flags: number, streamId: number, bytes: Buffer, start: number, end: number): void {
    if (streamId === 0) throw new ConnectionError(CODE.PROTOCOL_ERROR, 'HEADERS on no stream')
    const { from, to, hasPriority } = headerSection(flags, bytes, start, end)
    if ((flags & FLAG.END_HEADERS) !== 0) this.onBlock(streamId, flags, bytes, from, to)
    else {
      this.#block = new PartialBlock(streamId, flags, bytes.subarray(from, to))
      this.#blocks += 1
    }
    // After the block, which has to be decoded whatever its stream comes to. Where it is not whole yet
    // the stream is not open, and cannot be reset.
    if (hasPriority && this.#block === undefined)
      this.#refuseSelfDependency(streamId, bytes, from - 5)
  }

  #onContinuation(flags: number, bytes: Buffer, start: number, end: number): void {
    const block = this.#block
    if (block === undefined)
      throw new ConnectionError(CODE.PROTOCOL_ERROR, 'CONTINUATION of nothing')
    this.charge(COST.continuation)
    block.add(bytes.subarray(start, end))
    if ((flags & FLAG.END_HEADERS) === 0) return
    this.#block = undefined
    const whole = block.whole()
    this.onBlock(block.streamId, block.flags, whole, 0, whole.length)
  }

  #onPing(flags: number, streamId: number, bytes: Buffer, start: number, end: number): void {
    expectLength(end - start, 8)
    if (streamId !== 0) throw new ConnectionError(CODE.PROTOCOL_ERROR, 'PING on a stream')
    const isAck = (flags & FLAG.ACK) !== 0
    this.charge(isAck ? COST.ack : COST.ping)
    if (!isAck) this.writeFrame(FRAME.PING, FLAG.ACK, 0, Buffer.from(bytes.subarray(start, end)))
  }

  /** RFC 7540 section 5.3.1; RFC 9113 has dropped priorities and leaves the check to us. */
  #refuseSelfDependency(streamId: number, bytes: Buffer, at: number): void {
    if ((bytes.readUInt32BE(at) & 0x7fffffff) !== streamId) return
    throw new StreamError(streamId, CODE.PROTOCOL_ERROR, 'a stream that depends on itself')
  }

  #onWindowUpdate(streamId: number, bytes: Buffer, start: number, length: number): void {
    expectLength(length, 4)
    this.charge(COST.windowUpdate)
    const increment = bytes.readUInt32BE(start) & 0x7fffffff
    if (streamId === 0) {
      if (increment === 0) throw new ConnectionError(CODE.PROTOCOL_ERROR, 'a window update of 0')
      this.sendWindow += increment
      if (this.sendWindow > MAX_WINDOW_BYTES)
        throw new ConnectionError(CODE.FLOW_CONTROL_ERROR, 'the window overflows')
      this.#waiting.opened()
      return
    }
    this.#expectStream(streamId, 'WINDOW_UPDATE')
    if (increment === 0)
      throw new StreamError(streamId, CODE.PROTOCOL_ERROR, 'a window update of 0')
    const stream = this.streams.get(streamId)
    if (stream === undefined) return
    stream.sendWindow += increment
    if (stream.sendWindow > MAX_WINDOW_BYTES)
      throw new StreamError(streamId, CODE.FLOW_CONTROL_ERROR, 'the window overflows')
    this.#waiting.opened()
  }

  #onSettings(flags: number, streamId: number, bytes: Buffer, start: number, length: number): void {
    if (streamId !== 0) throw new ConnectionError(CODE.PROTOCOL_ERROR, 'SETTINGS on a stream')
    if ((flags & FLAG.ACK) !== 0) {
      expectLength(length, 0)
      if (this.hasSettingsAck) this.charge(COST.ack)
      this.hasSettingsAck = true
      return
    }
    this.charge(COST.settings + length / 6)
    this.hasPeerSettings = true
    for (const [id, value] of readSettings(bytes, start, length)) this.#applySetting(id, value)
    this.writeFrame(FRAME.SETTINGS, FLAG.ACK, 0, EMPTY)
    // Behind the ACK: what is sent on larger windows must not be taken for a breach of the old ones.
    this.#waiting.pump(this.#isFull)
    this.onSettings()
  }

  /** RFC 9113 section 6.5.2. MAX_HEADER_LIST_SIZE is advice, which our short lists do not need. */
  #applySetting(id: number, value: number): void {
    if (id === SETTING.HEADER_TABLE_SIZE) {
      // RFC 7541 section 4.2 wants a word on a smaller table even of an encoder that uses none.
      if (value >= this.#encoderTableBytes) return
      this.#encoderTableBytes = 0
      this.owesTableUpdate = true
    } else if (id === SETTING.INITIAL_WINDOW_SIZE) {
      // Section 6.9.2: windows of open streams change by the difference, and may become negative.
      const difference = value - this.peerStreamWindow
      this.peerStreamWindow = value
      for (const stream of this.streams.values()) {
        stream.sendWindow += difference
        if (stream.sendWindow > MAX_WINDOW_BYTES)
          throw new ConnectionError(CODE.FLOW_CONTROL_ERROR, 'INITIAL_WINDOW_SIZE')
      }
    } else if (id === SETTING.MAX_FRAME_SIZE) this.peerFrameBytes = value
    else if (id === SETTING.MAX_CONCURRENT_STREAMS) this.peerMaxStreams = value
  }

  /** The peer's settings have been applied. */
  protected onSettings(): void {}

  #expectStream(streamId: number, what: string): void {
    if (streamId === 0 || this.isIdle(streamId)) {
      throw new ConnectionError(CODE.PROTOCOL_ERROR, `${what} on a stream that is not open`)
    }
  }

  readonly #isFull = (): boolean => this.outbox.isFull
}

const EMPTY = Buffer.alloc(0)

function expectLength(length: number, expected: number): void {
  if (length !== expected)
    throw new ConnectionError(CODE.FRAME_SIZE_ERROR, `a frame of ${length} bytes`)
}
