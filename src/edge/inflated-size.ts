/**
 * Holds the limit after decompression (OTLP/gRPC Request and OTLP/HTTP Request) without changing the
 * body: where the coding itself bounds the size nothing is decompressed, else the bytes are
 * decompressed beside the body, counted and thrown away, on zlib's own threads.
 */
import type { Transform } from 'node:stream'
import { createGunzip, createInflate, createZstdDecompress } from 'node:zlib'
import { BodyRefused } from '../pipeline/fault.ts'
import type { Encoding } from './headers.ts'

/** DEFLATE expands by 1032 at most (zlib's technical notes: 258 bytes from 2 bits). */
const MAX_DEFLATE_RATIO = 1032

export interface InflatedSize {
  /** Takes the next piece of the body as it passes. */
  add(bytes: Uint8Array): void
  /** Resolves when the whole body keeps to the limit. Throws `BodyRefused`. */
  finish(): Promise<void>
  /** Stops counting. */
  destroy(): void
}

/**
 * What has to count this body; undefined where it cannot break the limit.
 * `lengthBytes` is its length on the wire, undefined while unknown.
 */
export function createInflatedSize(
  encoding: Encoding | undefined,
  lengthBytes: number | undefined,
  maxBytes: number,
): InflatedSize | undefined {
  switch (encoding) {
    case undefined:
      return undefined
    case 'gzip':
    case 'deflate':
      if (lengthBytes !== undefined && lengthBytes <= maxBytes / MAX_DEFLATE_RATIO) return undefined
      return new Counted(encoding === 'gzip' ? createGunzip() : createInflate(), encoding, maxBytes)
    case 'zstd':
      return new Counted(createZstdDecompress(), encoding, maxBytes)
    case 'snappy':
      return new SnappySize(maxBytes)
  }
}

function tooLarge(maxBytes: number): BodyRefused {
  return new BodyRefused({
    reason: 'too_large',
    detail: `more than ${maxBytes} bytes after decompression`,
  })
}

class Counted implements InflatedSize {
  readonly #inflate: Transform
  readonly #done: Promise<void>
  #bytes = 0

  constructor(inflate: Transform, encoding: Encoding, maxBytes: number) {
    this.#inflate = inflate
    this.#done = new Promise((resolve, reject) => {
      inflate.on('data', (piece: Buffer) => {
        this.#bytes += piece.length
        if (this.#bytes <= maxBytes) return
        reject(tooLarge(maxBytes))
        inflate.destroy()
      })
      inflate.on('end', resolve)
      inflate.on('error', () => {
        reject(
          new BodyRefused({ reason: 'malformed', detail: `the body is not valid ${encoding}` }),
        )
      })
    })
    // Whoever waits in `finish` hears of it; until then it is no unhandled rejection.
    this.#done.catch(() => {})
  }

  add(bytes: Uint8Array): void {
    if (!this.#inflate.destroyed) this.#inflate.write(bytes)
  }

  finish(): Promise<void> {
    if (!this.#inflate.destroyed) this.#inflate.end()
    return this.#done
  }

  destroy(): void {
    this.#inflate.destroy()
  }
}

/** A snappy block tells its size in front, as a varint of up to five bytes. */
class SnappySize implements InflatedSize {
  readonly #maxBytes: number
  readonly #head: number[] = []

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  add(bytes: Uint8Array): void {
    for (const byte of bytes.subarray(0, 5 - this.#head.length)) this.#head.push(byte)
  }

  async finish(): Promise<void> {
    let size = 0
    for (const [at, byte] of this.#head.entries()) {
      size += (byte & 0x7f) * 128 ** at
      if (byte >= 0x80) continue
      if (size > this.#maxBytes) throw tooLarge(this.#maxBytes)
      return
    }
    throw new BodyRefused({ reason: 'malformed', detail: 'the body is not valid snappy' })
  }

  destroy(): void {}
}
