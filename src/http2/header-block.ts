/** Header blocks and the frames they come in: RFC 9113 sections 4.3 and 6.2. */
import { CODE, ConnectionError, FLAG } from './protocol.ts'

/** A header block may come in so many frames, and be so long before it is decoded. */
const MAX_BLOCK_FRAMES = 16
const MAX_BLOCK_BYTES = 32 * 1024

export class PartialBlock {
  readonly streamId: number
  /** Those of its HEADERS. */
  readonly flags: number
  readonly #pieces: Buffer[] = []
  #bytes = 0

  constructor(streamId: number, flags: number, first: Buffer) {
    this.streamId = streamId
    this.flags = flags
    this.add(first)
  }

  /** Adds what a frame holds. Throws a `ConnectionError` where it is too much. */
  add(piece: Buffer): void {
    // A copy: the chunk it came in may be much larger.
    this.#pieces.push(Buffer.from(piece))
    this.#bytes += piece.length
    if (this.#pieces.length > MAX_BLOCK_FRAMES || this.#bytes > MAX_BLOCK_BYTES) {
      throw new ConnectionError(CODE.ENHANCE_YOUR_CALM, 'header_flood')
    }
  }

  whole(): Buffer {
    return Buffer.concat(this.#pieces, this.#bytes)
  }
}

/** Where the block is in the payload of a HEADERS frame; priority, if any, stands in the five bytes before it. */
export function headerSection(
  flags: number,
  bytes: Buffer,
  start: number,
  end: number,
): { readonly from: number; readonly to: number; readonly hasPriority: boolean } {
  let from = start
  let to = end
  if ((flags & FLAG.PADDED) !== 0) {
    to -= bytes[from] ?? 0
    from += 1
  }
  const hasPriority = (flags & FLAG.PRIORITY) !== 0
  if (hasPriority) from += 5
  if (from > end || from > to) {
    throw new ConnectionError(CODE.PROTOCOL_ERROR, 'more padding than frame')
  }
  return { from, to, hasPriority }
}
