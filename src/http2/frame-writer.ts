/** Writes frames into an outbox: RFC 9113 section 6. */
import type { Outbox } from './outbox.ts'
import { DEFAULT_FRAME_BYTES, FLAG, FRAME, FRAME_HEADER_BYTES, MAX_STREAM_ID } from './protocol.ts'

export class FrameWriter {
  readonly outbox: Outbox
  /** The largest frame that the peer takes. */
  peerFrameBytes = DEFAULT_FRAME_BYTES
  /** The lowest last stream of our GOAWAYs. */
  #goawayStream = MAX_STREAM_ID

  constructor(outbox: Outbox) {
    this.outbox = outbox
  }

  writeFrame(type: number, flags: number, streamId: number, payload: Uint8Array): void {
    const { outbox } = this
    const at = outbox.reserve(FRAME_HEADER_BYTES)
    putFrameHeader(outbox.buffer, at, payload.length, type, flags, streamId)
    if (payload.length > 0) outbox.add(payload)
  }

  writeReset(streamId: number, code: number): void {
    const { outbox } = this
    const at = outbox.reserve(FRAME_HEADER_BYTES + 4)
    putFrameHeader(outbox.buffer, at, 4, FRAME.RST_STREAM, 0, streamId)
    outbox.buffer.writeUInt32BE(code, at + FRAME_HEADER_BYTES)
  }

  writeWindowUpdate(streamId: number, bytes: number): void {
    const { outbox } = this
    const at = outbox.reserve(FRAME_HEADER_BYTES + 4)
    putFrameHeader(outbox.buffer, at, 4, FRAME.WINDOW_UPDATE, 0, streamId)
    outbox.buffer.writeUInt32BE(bytes, at + FRAME_HEADER_BYTES)
  }

  /** `words` are for whoever debugs the peer. */
  writeGoaway(lastStreamId: number, code: number, words = ''): void {
    // RFC 9113 section 6.8: a later GOAWAY must not take back what an earlier one said.
    this.#goawayStream = Math.min(this.#goawayStream, lastStreamId)
    const payload = Buffer.alloc(8 + words.length)
    payload.writeUInt32BE(this.#goawayStream, 0)
    payload.writeUInt32BE(code, 4)
    payload.write(words, 8, 'latin1')
    this.writeFrame(FRAME.GOAWAY, 0, 0, payload)
  }

  /** RFC 9113 section 6.5.1. */
  protected writeSettings(settings: readonly (readonly [id: number, value: number])[]): void {
    const payload = Buffer.alloc(settings.length * 6)
    for (const [at, [id, value]] of settings.entries()) {
      payload.writeUInt16BE(id, at * 6)
      payload.writeUInt32BE(value, at * 6 + 2)
    }
    this.writeFrame(FRAME.SETTINGS, 0, 0, payload)
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
}

/** RFC 9113 section 4.1. */
export function putFrameHeader(
  buffer: Buffer,
  at: number,
  length: number,
  type: number,
  flags: number,
  streamId: number,
): void {
  buffer[at] = length >>> 16
  buffer[at + 1] = length >>> 8
  buffer[at + 2] = length
  buffer[at + 3] = type
  buffer[at + 4] = flags
  buffer[at + 5] = streamId >>> 24
  buffer[at + 6] = streamId >>> 16
  buffer[at + 7] = streamId >>> 8
  buffer[at + 8] = streamId
}
