/** One request of ours and its answer. */
import type { ClientConnection } from './client-connection.ts'
import { putFrameHeader } from './frame-writer.ts'
import { CODE, FLAG, FRAME, FRAME_HEADER_BYTES } from './protocol.ts'
import type { AnswerFields, Fields } from './request-fields.ts'

/** Bytes that may wait in a stream before its writer should pause. */
const HIGH_WATER_BYTES = 64 * 1024

/** Who reads the answer. Exactly one `onClosed` ends it. */
export interface AnswerReader {
  /** The final header section; `ends` where nothing follows. */
  onHeaders(fields: Fields, ends: boolean): void
  onData(bytes: Buffer): void
  onTrailers(fields: Fields): void
  /** What was written has gone out far enough to go on writing. */
  onDrain(): void
  /**
   * The stream is over. `code` is that of the reset that ended it, NO_ERROR where the answer is whole
   * (a reset before that is no NO_ERROR whatever it says, but PROTOCOL_ERROR), undefined where the
   * connection was lost. `isUnseen`: the peer said that it has not acted on it.
   */
  onClosed(code: number | undefined, isUnseen: boolean): void
}

export class ClientStream {
  readonly id: number
  sendWindow: number
  hasPeerEnded = false
  /** A final header section has arrived. */
  hasAnswer = false
  readonly #connection: ClientConnection
  readonly #reader: AnswerReader
  #queue: Uint8Array[] = []
  #queuedBytes = 0
  #hasEnded = false
  #isEndSent = false
  #isWaiting = false
  #isClosed = false
  #receiveWindow: number
  #consumed = 0
  /** Content-Length minus what has arrived; NaN where nothing was announced. */
  #missingBytes = Number.NaN

  constructor(connection: ClientConnection, id: number, reader: AnswerReader) {
    this.#connection = connection
    this.id = id
    this.#reader = reader
    this.sendWindow = connection.peerStreamWindow
    this.#receiveWindow = connection.limits.streamWindowBytes
  }

  /** Sends bytes of the body. False where the writer should wait for `onDrain`. */
  write(bytes: Uint8Array): boolean {
    if (this.#isClosed) return true
    this.#queue.push(bytes)
    this.#queuedBytes += bytes.length
    this.pump()
    this.#isWaiting = this.#queuedBytes >= HIGH_WATER_BYTES
    return !this.#isWaiting
  }

  /** Ends our side, with these last bytes. */
  end(...last: readonly Uint8Array[]): void {
    if (this.#isClosed) return
    for (const bytes of last) {
      if (bytes.length === 0) continue
      this.#queue.push(bytes)
      this.#queuedBytes += bytes.length
    }
    this.#hasEnded = true
    this.pump()
  }

  /** Ends the stream at once. `onClosed` is not called. */
  reset(code: number): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#connection.writeReset(this.id, code)
    this.#connection.forget(this)
  }

  /** Sends what windows and socket allow. */
  pump(): void {
    if (this.#isClosed) return
    const connection = this.#connection
    while (this.#queuedBytes > 0) {
      const room = Math.min(
        this.#queuedBytes,
        this.sendWindow,
        connection.sendWindow,
        connection.peerFrameBytes,
      )
      if (room <= 0 || connection.outbox.isFull) {
        connection.block(this)
        return
      }
      this.#writeData(room)
    }
    connection.unblock(this)
    if (this.#hasEnded) {
      if (!this.#isEndSent) this.#writeData(0)
    } else if (this.#isWaiting) {
      this.#isWaiting = false
      this.#reader.onDrain()
    }
  }

  /** One DATA frame of so many bytes, made of the pieces that are due. */
  #writeData(bytes: number): void {
    const connection = this.#connection
    const { outbox } = connection
    this.sendWindow -= bytes
    connection.sendWindow -= bytes
    this.#queuedBytes -= bytes
    const ends = this.#hasEnded && this.#queuedBytes === 0
    const at = outbox.reserve(FRAME_HEADER_BYTES)
    putFrameHeader(outbox.buffer, at, bytes, FRAME.DATA, ends ? FLAG.END_STREAM : 0, this.id)
    this.#isEndSent = ends
    let left = bytes
    while (left > 0) {
      const piece = this.#queue[0] as Uint8Array
      if (piece.length <= left) {
        this.#queue.shift()
        outbox.add(piece)
        left -= piece.length
      } else {
        outbox.add(piece.subarray(0, left))
        this.#queue[0] = piece.subarray(left)
        left = 0
      }
    }
  }

  /** The final header section has come. `contentLength` is -1 where the answer has none. */
  takeHeaders({ fields, contentLength }: AnswerFields, ends: boolean): void {
    this.hasAnswer = true
    if (contentLength >= 0 && !ends) this.#missingBytes = contentLength
    this.#reader.onHeaders(fields, ends)
    if (ends) this.takeEnd()
  }

  /** False where less arrived than was announced. */
  takeTrailers(fields: Fields): boolean {
    if (this.#missingBytes > 0) return false
    this.#reader.onTrailers(fields)
    return this.takeEnd()
  }

  /** A DATA frame begins. False where it breaks the stream's window. */
  takeWindow(lengthBytes: number): boolean {
    this.#receiveWindow -= lengthBytes
    return this.#receiveWindow >= 0
  }

  /** False where there is more of it than was announced. */
  takeData(bytes: Buffer): boolean {
    this.used(bytes.length)
    this.#missingBytes -= bytes.length
    if (this.#missingBytes < 0) return false
    this.#reader.onData(bytes)
    return true
  }

  /** Bytes that need not be kept for anybody: the peer may send as much again. */
  used(bytes: number): void {
    this.#connection.consumed(bytes)
    this.#consumed += bytes
    if (this.#isClosed || this.#consumed < this.#connection.limits.streamWindowBytes / 2) return
    this.#receiveWindow += this.#consumed
    this.#connection.writeWindowUpdate(this.id, this.#consumed)
    this.#consumed = 0
  }

  /** The peer has ended its side. False where less arrived than was announced. */
  takeEnd(): boolean {
    if (this.#isClosed) return true
    if (this.#missingBytes > 0) return false
    this.hasPeerEnded = true
    // RFC 9113 section 8.1: an answer before the end of our request; the rest is not wanted.
    if (!this.#isEndSent) this.#connection.writeReset(this.id, CODE.CANCEL)
    this.close(CODE.NO_ERROR, false)
    return true
  }

  /** The stream is over; the reader is told. */
  close(code: number | undefined, isUnseen: boolean): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#queue = []
    this.#queuedBytes = 0
    this.#connection.forget(this)
    this.#reader.onClosed(code, isUnseen)
  }
}
