/**
 * What is due on a socket. Everything written in one turn of the event loop leaves in one write,
 * after all sockets have delivered what they had: one TLS record and one system call for many
 * answers. Small frames are composed in place in a slab; large pieces go out as they came.
 */
import type { Duplex } from 'node:stream'

/** Frames are composed in slabs of this size; a slab is never written to twice. */
const SLAB_BYTES = 16 * 1024
/** Pieces up to this size are copied behind each other rather than written one by one. */
const COPY_BYTES = 1024
/** Up to here a turn's output is joined to one buffer: a TLS record holds as much. */
const JOIN_BYTES = 16 * 1024

let slab = Buffer.allocUnsafeSlow(SLAB_BYTES)
let slabUsed = 0

/** Outboxes with something to send in this turn. */
let dirty: Outbox[] = []

function flushDirty(): void {
  const due = dirty
  dirty = []
  for (const outbox of due) outbox.flush()
}

export class Outbox {
  readonly #socket: Duplex
  readonly #onDrain: () => void
  #pieces: Buffer[] = []
  /** The bytes composed last, as long as they are the last piece and more can be put behind them. */
  #openStart = -1
  #openSlab: Buffer = slab
  #openEnd = 0
  #bytes = 0
  #totalBytes = 0
  #isDirty = false
  #isClosed = false

  /** `onDrain` is called when the socket takes more after it was full. */
  constructor(socket: Duplex, onDrain: () => void) {
    this.#socket = socket
    this.#onDrain = onDrain
    socket.on('drain', this.#drained)
  }

  /** Bytes that wait, in the outbox and in the socket. */
  get pendingBytes(): number {
    return this.#bytes + this.#socket.writableLength
  }

  /** Bytes that the socket has got rid of since the start. */
  get sentBytes(): number {
    return this.#totalBytes - this.pendingBytes
  }

  /** Whether the socket has had enough for now; DATA should wait. */
  get isFull(): boolean {
    return this.#socket.writableNeedDrain || this.#bytes > 256 * 1024
  }

  /**
   * Room for a frame: the caller writes exactly `length` bytes at the returned offset of `buffer`
   * before anything else happens.
   */
  reserve(length: number): number {
    if (slabUsed + length > slab.length) {
      slab = Buffer.allocUnsafeSlow(Math.max(SLAB_BYTES, length))
      slabUsed = 0
    }
    const at = slabUsed
    slabUsed += length
    if (this.#openStart >= 0 && this.#openSlab === slab && this.#openEnd === at) {
      this.#openEnd = slabUsed
    } else {
      this.#closeOpen()
      this.#openSlab = slab
      this.#openStart = at
      this.#openEnd = slabUsed
    }
    this.#added(length)
    return at
  }

  /** Where `reserve` has made room. */
  get buffer(): Buffer {
    return slab
  }

  /** Adds bytes; large ones without copying, so they must not change any more. */
  add(bytes: Uint8Array): void {
    if (bytes.length <= COPY_BYTES) {
      const at = this.reserve(bytes.length)
      slab.set(bytes, at)
      return
    }
    this.#closeOpen()
    this.#pieces.push(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length))
    this.#added(bytes.length)
  }

  /** Writes what is due now instead of at the end of the turn. */
  flush(): void {
    this.#isDirty = false
    this.#closeOpen()
    const pieces = this.#pieces
    if (pieces.length === 0 || this.#isClosed) return
    this.#pieces = []
    const bytes = this.#bytes
    this.#bytes = 0
    const socket = this.#socket
    if (pieces.length === 1) socket.write(pieces[0])
    else if (bytes <= JOIN_BYTES) socket.write(Buffer.concat(pieces, bytes))
    else {
      socket.cork()
      for (const piece of pieces) socket.write(piece)
      socket.uncork()
    }
  }

  /** Nothing is written any more. */
  close(): void {
    this.#isClosed = true
    this.#pieces = []
    this.#openStart = -1
    this.#bytes = 0
    this.#socket.off('drain', this.#drained)
  }

  readonly #drained = (): void => this.#onDrain()

  #closeOpen(): void {
    if (this.#openStart < 0) return
    this.#pieces.push(this.#openSlab.subarray(this.#openStart, this.#openEnd))
    this.#openStart = -1
  }

  #added(length: number): void {
    this.#bytes += length
    this.#totalBytes += length
    if (this.#isDirty || this.#isClosed) return
    this.#isDirty = true
    if (dirty.length === 0) setImmediate(flushDirty)
    dirty.push(this)
  }
}
