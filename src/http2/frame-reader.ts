/**
 * Cuts what arrives on a socket into frames (RFC 9113 section 4.1). DATA is handed on in the pieces
 * it comes in, never gathered; every other frame is handed on whole, which the largest frame size
 * bounds.
 */
import { CODE, ConnectionError, FLAG, FRAME, FRAME_HEADER_BYTES } from './protocol.ts'

/** Who takes the frames. What it throws ends the reading. */
export interface FrameSink {
  /** A frame other than DATA; its payload is `bytes` from `start` to `end`. */
  onFrame(
    type: number,
    flags: number,
    streamId: number,
    bytes: Buffer,
    start: number,
    end: number,
  ): void
  /** A DATA frame begins; `lengthBytes` is its whole payload, which is what flow control counts. */
  onDataStart(flags: number, streamId: number, lengthBytes: number): void
  /** A piece of its data, without padding. */
  onData(bytes: Buffer): void
  onDataEnd(): void
}

export class FrameReader {
  readonly #sink: FrameSink
  readonly #maxFrameBytes: number
  /** The beginning of a frame header, or of a frame, that has not arrived whole. */
  #rest: Buffer | undefined
  /** Bytes of the DATA frame under way that have not arrived; padding included. */
  #dataLeft = 0
  #paddingLeft = 0
  #isInData = false
  #awaitsPadLength = false
  #partialFrames = 0

  constructor(sink: FrameSink, maxFrameBytes: number) {
    this.#sink = sink
    this.#maxFrameBytes = maxFrameBytes
  }

  /**
   * Which frame other than DATA has begun and not ended: a number of its own for each that did not
   * come in one piece; undefined where none is under way.
   */
  get partialFrame(): number | undefined {
    return this.#rest === undefined ? undefined : this.#partialFrames
  }

  /** Takes the next bytes. Throws `ConnectionError` for what is no frame, and what the sink throws. */
  read(chunk: Buffer): void {
    let bytes = chunk
    const hadRest = this.#rest !== undefined
    if (this.#rest !== undefined) {
      bytes = Buffer.concat([this.#rest, chunk])
      this.#rest = undefined
    }
    let at = 0
    const size = bytes.length
    for (;;) {
      if (this.#isInData) {
        at = this.#readData(bytes, at)
        if (this.#isInData) return
        continue
      }
      if (size - at < FRAME_HEADER_BYTES) break
      const length = bytes.readUIntBE(at, 3)
      if (length > this.#maxFrameBytes) {
        throw new ConnectionError(CODE.FRAME_SIZE_ERROR, `a frame of ${length} bytes`)
      }
      const type = bytes[at + 3] as number
      const flags = bytes[at + 4] as number
      const streamId = bytes.readUInt32BE(at + 5) & 0x7fffffff
      if (type === FRAME.DATA) {
        at += FRAME_HEADER_BYTES
        this.#startData(flags, streamId, length)
        continue
      }
      const end = at + FRAME_HEADER_BYTES + length
      if (end > size) break
      this.#sink.onFrame(type, flags, streamId, bytes, at + FRAME_HEADER_BYTES, end)
      at = end
    }
    // A copy of what is left would keep the whole chunk alive for a few bytes.
    if (at >= size) return
    this.#rest = Buffer.from(bytes.subarray(at))
    if (at > 0 || !hadRest) this.#partialFrames += 1
  }

  #startData(flags: number, streamId: number, length: number): void {
    const isPadded = (flags & FLAG.PADDED) !== 0
    if (isPadded && length === 0) {
      throw new ConnectionError(CODE.FRAME_SIZE_ERROR, 'a padded DATA frame without a pad length')
    }
    this.#sink.onDataStart(flags, streamId, length)
    this.#dataLeft = length
    this.#paddingLeft = 0
    this.#awaitsPadLength = isPadded
    this.#isInData = true
  }

  #readData(bytes: Buffer, from: number): number {
    let at = from
    if (this.#awaitsPadLength) {
      const padding = bytes[at]
      if (padding === undefined) return at
      at += 1
      this.#awaitsPadLength = false
      this.#dataLeft -= 1
      // RFC 9113 section 6.1.
      if (padding > this.#dataLeft)
        throw new ConnectionError(CODE.PROTOCOL_ERROR, 'more padding than frame')
      this.#paddingLeft = padding
    }
    const wanted = this.#dataLeft - this.#paddingLeft
    if (wanted > 0) {
      const piece = Math.min(wanted, bytes.length - at)
      if (piece > 0) {
        this.#sink.onData(
          at === 0 && piece === bytes.length ? bytes : bytes.subarray(at, at + piece),
        )
        at += piece
        this.#dataLeft -= piece
      }
      if (piece < wanted) return at
    }
    const skipped = Math.min(this.#paddingLeft, bytes.length - at)
    at += skipped
    this.#paddingLeft -= skipped
    this.#dataLeft -= skipped
    if (this.#paddingLeft === 0) {
      this.#isInData = false
      this.#sink.onDataEnd()
    }
    return at
  }
}
