/** One request on a server connection, and its answer. It is what the edges call a `Call`. */

import { fieldBlock, type OutgoingFields, statusBlock } from './field-encoder.ts'
import { putFrameHeader } from './frame-writer.ts'
import { Progress } from './progress.ts'
import { CODE, FLAG, FRAME, FRAME_HEADER_BYTES } from './protocol.ts'
import type { Fields } from './request-fields.ts'
import type { ServerConnection } from './server-connection.ts'

/** Who reads a request's body. */
export interface BodyReader {
  chunk(bytes: Uint8Array): void
  end(): void
  failed(cause: unknown): void
}

/** What waits to be sent: the rest of a body, then the trailers. */
interface Unsent {
  readonly body: Uint8Array
  at: number
  readonly trailers: Buffer | undefined
  readonly progress: Progress
}

/** A piece of a body that would keep so much more than itself in memory is copied out of it. */
const MAX_KEPT_RATIO = 4
const MIN_KEPT_BYTES = 4096
/** DATA sent that makes one window update by the client fair. */
const BYTES_PER_POINT = 256

export class ServerStream {
  readonly httpVersion = 2
  readonly id: number
  readonly headers: Fields
  sendWindow: number
  /** Time of the connection's last tick when the stream was opened. */
  readonly openedMs: number
  isAnswered = false
  /** The peer has ended its side. */
  hasPeerEnded: boolean
  readonly #connection: ServerConnection
  /** Content-Length minus what has arrived; NaN where nothing was announced. */
  #missingBytes: number
  #receiveWindow: number
  #consumed = 0
  #reader: BodyReader | undefined
  #queue: Buffer[] | undefined
  #isPaused = true
  #hasToldEnd = false
  #isOver = false
  #unsent: Unsent | undefined
  #goneListeners: (() => void)[] | undefined
  #isGone = false

  constructor(
    connection: ServerConnection,
    id: number,
    headers: Fields,
    contentLength: number,
    hasPeerEnded: boolean,
  ) {
    this.#connection = connection
    this.id = id
    this.headers = headers
    this.hasPeerEnded = hasPeerEnded
    this.sendWindow = connection.peerStreamWindow
    this.openedMs = connection.nowMs
    this.#receiveWindow = connection.limits.streamWindowBytes
    this.#missingBytes = contentLength < 0 ? Number.NaN : contentLength
  }

  get method(): string {
    return this.headers[':method'] as string
  }

  get target(): string {
    return this.headers[':path'] as string
  }

  get body(): this {
    return this
  }

  /**
   * Begins to deliver the body, and asks for it where the client waits for that (RFC 9110 section
   * 10.1.1). Fails at once where the stream is over.
   */
  start(reader: BodyReader): void {
    if (this.#isOver) {
      reader.failed(new Error('the stream is over'))
      return
    }
    this.#reader = reader
    if (this.headers.expect !== undefined && this.#awaitsContinue()) {
      this.#writeBlock(statusBlock(100), EMPTY, false)
    }
    this.resume()
  }

  pause(): void {
    this.#isPaused = true
  }

  resume(): void {
    this.#isPaused = false
    const queue = this.#queue
    while (queue !== undefined && queue.length > 0 && !this.#isPaused) {
      const bytes = queue.shift() as Buffer
      this.#connection.letGo(bytes.length)
      this.#consume(bytes.length)
      this.#reader?.chunk(bytes)
    }
    this.#tellEnd()
  }

  /**
   * Sends the whole answer: header section, body if any, trailers if any. What is left of the request
   * body is refused without an error (RFC 9113 section 8.1), and its reader hears no more of it. Does
   * nothing once answered or over. Throws a TypeError for fields that cannot be sent, as if not called.
   */
  answer(
    status: number,
    fields: OutgoingFields,
    body?: Uint8Array,
    trailers?: OutgoingFields,
  ): void {
    if (this.isAnswered || this.#isOver) return
    const connection = this.#connection
    const closes = fields.connection === 'close'
    const first = statusBlock(status)
    const block = fieldBlock(closes ? withoutConnection(fields) : fields)
    const trailerBlock = trailers === undefined ? undefined : fieldBlock(trailers)
    this.isAnswered = true
    // Nobody waits for the client any more; what listens would keep all of the call until it has read.
    this.#goneListeners = undefined
    this.#hasToldEnd = true
    this.#drop()
    const bodyBytes = body === undefined ? 0 : body.length
    const ends = bodyBytes === 0 && trailerBlock === undefined
    const { outbox } = connection
    this.#writeBlock(first, block, ends)
    if (!ends) {
      const fits =
        bodyBytes <= this.sendWindow &&
        bodyBytes <= connection.sendWindow &&
        bodyBytes <= connection.peerFrameBytes &&
        !outbox.isFull
      if (fits) {
        if (body !== undefined && bodyBytes > 0) {
          this.sendWindow -= bodyBytes
          connection.sendWindow -= bodyBytes
          this.#writeData(body, trailerBlock === undefined)
        }
        if (trailerBlock !== undefined) this.#writeTrailers(trailerBlock)
      } else {
        this.#unsent = {
          body: body ?? EMPTY,
          at: 0,
          trailers: trailerBlock,
          progress: new Progress(connection.nowMs),
        }
        connection.hold(bodyBytes)
        // Memory may have been short, and this connection the worst.
        if (this.#isOver) return
        connection.block(this)
        this.pump()
      }
    }
    if (closes) connection.leave()
    if (this.#unsent === undefined) this.#finish()
  }

  /** Ends the request without an answer. */
  abandon(): void {
    this.#connection.resetStream(this, CODE.CANCEL)
  }

  /** Calls back once if the client goes away before it is answered; at once if it has already. */
  onGone(listener: () => void): void {
    if (this.#isGone) listener()
    else if (this.#goneListeners === undefined) this.#goneListeners = [listener]
    else this.#goneListeners.push(listener)
  }

  /** Sends as much of what waits as windows and socket allow. */
  pump(): void {
    const unsent = this.#unsent
    const connection = this.#connection
    if (unsent === undefined) return
    const { body, trailers } = unsent
    while (unsent.at < body.length) {
      const room = Math.min(this.sendWindow, connection.sendWindow, connection.peerFrameBytes)
      if (room <= 0 || connection.outbox.isFull) return
      const piece = body.subarray(unsent.at, unsent.at + room)
      unsent.at += piece.length
      this.sendWindow -= piece.length
      connection.sendWindow -= piece.length
      this.#writeData(piece, unsent.at === body.length && trailers === undefined)
    }
    if (trailers !== undefined) this.#writeTrailers(trailers)
    this.#unsent = undefined
    connection.letGo(body.length)
    connection.unblock(this)
    this.#finish()
  }

  /** Whether the client has kept the window of this stream shut on a waiting answer for so long. */
  hasStalled(nowMs: number, timeoutMs: number): boolean {
    const unsent = this.#unsent
    if (unsent === undefined) return false
    return unsent.progress.hasStalled(this.sendWindow <= 0, unsent.at, nowMs, timeoutMs)
  }

  /** What the client may still send: the rest may be on its way when the stream ends. */
  get receiveWindow(): number {
    return this.#receiveWindow
  }

  /** A DATA frame for this stream begins. False where it breaks the stream's window. */
  takeWindow(lengthBytes: number): boolean {
    this.#receiveWindow -= lengthBytes
    return this.#receiveWindow >= 0
  }

  /** Data has arrived; `isLast` where its frame ends the request. False where there is more of it than was announced. */
  deliver(piece: Buffer, isLast: boolean): boolean {
    this.#missingBytes -= piece.length
    if (this.#missingBytes < 0) return false
    if (this.isAnswered) {
      // Nobody will read it, and its stream gets no more window.
      this.#connection.consumed(piece.length)
      return true
    }
    // A whole request is on its way soon; one that comes in small pieces may be kept for long.
    const bytes = isLast ? piece : withoutRest(piece)
    if (this.#isPaused || this.#reader === undefined) {
      this.#queue ??= []
      this.#queue.push(bytes)
      this.#connection.hold(bytes.length)
    } else {
      this.#consume(bytes.length)
      this.#reader.chunk(bytes)
    }
    return true
  }

  /** The peer has ended its side. False where less arrived than was announced. */
  endPeer(): boolean {
    this.hasPeerEnded = true
    if (this.#missingBytes > 0) return false
    this.#tellEnd()
    return true
  }

  /** Padding, or data that nobody will read. */
  skip(bytes: number): void {
    this.#consume(bytes)
  }

  /** The stream was reset, or its connection is gone. */
  close(cause: Error): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#drop()
    if (this.#unsent !== undefined) {
      this.#connection.letGo(this.#unsent.body.length)
      this.#unsent = undefined
      this.#connection.unblock(this)
    }
    if (!this.#hasToldEnd) {
      this.#hasToldEnd = true
      this.#reader?.failed(cause)
    }
    this.#isGone = true
    const listeners = this.#goneListeners
    this.#goneListeners = undefined
    if (listeners !== undefined) for (const listener of listeners) listener()
  }

  #awaitsContinue(): boolean {
    const { expect } = this.headers
    const hasCome = this.#receiveWindow < this.#connection.limits.streamWindowBytes
    const isAsked = typeof expect === 'string' && expect.toLowerCase() === '100-continue'
    return isAsked && !hasCome && !this.hasPeerEnded
  }

  #tellEnd(): void {
    if (!this.hasPeerEnded || this.#hasToldEnd || this.#isOver) return
    if (this.#isPaused || this.#reader === undefined) return
    if (this.#queue !== undefined && this.#queue.length > 0) return
    this.#hasToldEnd = true
    this.#reader.end()
  }

  /** The answer is out. */
  #finish(): void {
    this.#isOver = true
    this.#goneListeners = undefined
    this.#drop()
    this.#connection.finish(this)
  }

  /** What was not read counts as used, or the connection's window would shrink for good. */
  #drop(): void {
    const queue = this.#queue
    this.#queue = undefined
    if (queue === undefined) return
    for (const bytes of queue) {
      this.#connection.letGo(bytes.length)
      this.#connection.consumed(bytes.length)
    }
    // `resume` may be in the middle of it.
    queue.length = 0
  }

  #consume(bytes: number): void {
    const connection = this.#connection
    connection.consumed(bytes)
    this.#consumed += bytes
    if (this.hasPeerEnded || this.#isOver) return
    if (this.#consumed < connection.limits.streamWindowBytes / 2) return
    this.#receiveWindow += this.#consumed
    connection.writeWindowUpdate(this.id, this.#consumed)
    this.#consumed = 0
  }

  #writeBlock(start: Buffer, block: Buffer, ends: boolean): void {
    const { outbox, peerFrameBytes, owesTableUpdate } = this.#connection
    const first = owesTableUpdate
      ? Buffer.concat([this.#connection.takeTableUpdate(), start])
      : start
    const length = first.length + block.length
    if (length > peerFrameBytes) {
      this.#connection.writeLongBlock(this.id, Buffer.concat([first, block]), ends)
      return
    }
    const at = outbox.reserve(FRAME_HEADER_BYTES + length)
    const { buffer } = outbox
    const flags = ends ? FLAG.END_HEADERS | FLAG.END_STREAM : FLAG.END_HEADERS
    putFrameHeader(buffer, at, length, FRAME.HEADERS, flags, this.id)
    buffer.set(first, at + FRAME_HEADER_BYTES)
    buffer.set(block, at + FRAME_HEADER_BYTES + first.length)
  }

  #writeData(bytes: Uint8Array, ends: boolean): void {
    const connection = this.#connection
    connection.sentDataBytes += bytes.length
    if (bytes.length >= BYTES_PER_POINT)
      connection.refund(Math.floor(bytes.length / BYTES_PER_POINT))
    connection.writeFrame(FRAME.DATA, ends ? FLAG.END_STREAM : 0, this.id, bytes)
  }

  #writeTrailers(block: Buffer): void {
    this.#writeBlock(EMPTY, block, true)
  }
}

const EMPTY = Buffer.alloc(0)

/** The piece, or a copy where it is a small part of what it would keep in memory. */
function withoutRest(piece: Buffer): Buffer {
  const keptBytes = piece.buffer.byteLength
  if (keptBytes <= MIN_KEPT_BYTES || keptBytes <= piece.length * MAX_KEPT_RATIO) return piece
  const copy = Buffer.allocUnsafeSlow(piece.length)
  piece.copy(copy)
  return copy
}

const stripped = new WeakMap<object, OutgoingFields>()

/** `connection: close` is an act in HTTP/2 and no field: RFC 9113 section 8.2.2. */
function withoutConnection(fields: OutgoingFields): OutgoingFields {
  let rest = stripped.get(fields)
  if (rest === undefined) {
    const { connection: _, ...others } = fields
    rest = others
    stripped.set(fields, rest)
  }
  return rest
}
