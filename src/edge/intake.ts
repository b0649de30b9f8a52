/**
 * Reads one message off a call: takes the gRPC prefix off, holds every limit on the way (size,
 * size after decompression, memory, progress), keeps small bodies whole so that they can be sent
 * again, and lets large ones through at the collector's pace.
 */
import { BodyRefused, Fault } from '../pipeline/fault.ts'
import type { Refusal } from '../pipeline/outcome.ts'
import type { MessageBody } from '../pipeline/parcel.ts'
import type { Body, BodySink } from './call.ts'
import type { Encoding } from './headers.ts'
import type { InFlightBytes } from './in-flight-bytes.ts'
import { createInflatedSize, type InflatedSize } from './inflated-size.ts'
import type { ProgressWatch, Watched } from './progress-watch.ts'

/** Bodies up to this size are read whole before the collector hears of them. */
const WHOLE_BYTES = 256 * 1024
/** What is read ahead of the collector of a larger one. */
const AHEAD_BYTES = 256 * 1024
/** A body has to arrive at least this fast on average, pauses of our own making aside. */
const MIN_BYTES_PER_SECOND = 256
const PREFIX_BYTES = 5
const NO_BYTES = Buffer.alloc(0)
/** Made once: an error takes its stack with it, which costs more than most of a request. */
const HAS_ENDED = new Fault('client_gone', 'gateway', { message: 'the request has ended' })

export interface IntakeOptions {
  /** Longest message, before and after decompression. */
  readonly maxBodyBytes: number
  /** Longest time without the least progress. */
  readonly bodyTimeoutMs: number
  readonly inFlightBytes: InFlightBytes
  /** Looks for progress about every `bodyTimeoutMs`. */
  readonly progressWatch: ProgressWatch
}

export class Intake implements MessageBody, BodySink, Watched {
  readonly #body: Body
  readonly #options: IntakeOptions
  readonly #encoding: Encoding | undefined
  readonly #chunks: Uint8Array[] = []
  /** The five bytes in front of a gRPC message, while they arrive; undefined for OTLP/HTTP. */
  #prefix: Buffer | undefined
  #lengthBytes: number | undefined
  /** Whether the coding in the headers really applies (the flag in the gRPC prefix). */
  #isCompressed: boolean
  #inflated: InflatedSize | undefined
  #received = 0
  #queuedBytes = 0
  #reservedBytes = 0
  #isPaused = false
  #hasEnded = false
  #isStreaming = false
  #failure: Error | undefined
  #wake: (() => void) | undefined
  /** At the last look for progress; -1 before the first. */
  #receivedAtLastLook = -1

  /**
   * `lengthBytes` is the Content-Length of an OTLP/HTTP request if it has one; with `isGrpc` the
   * length is read from the prefix instead.
   */
  constructor(
    body: Body,
    framing: { isGrpc: boolean; lengthBytes: number | undefined; encoding: Encoding | undefined },
    options: IntakeOptions,
  ) {
    this.#body = body
    this.#options = options
    this.#encoding = framing.encoding
    this.#isCompressed = framing.encoding !== undefined
    if (framing.isGrpc) this.#prefix = NO_BYTES
    else this.#lengthBytes = framing.lengthBytes
  }

  /** Bytes of the message that have arrived. */
  get receivedBytes(): number {
    return this.#received
  }

  get lengthBytes(): number | undefined {
    return this.#hasEnded && this.#failure === undefined ? this.#received : this.#lengthBytes
  }

  get whole(): readonly Uint8Array[] | undefined {
    return this.#hasEnded && !this.#isStreaming ? this.#chunks : undefined
  }

  /** The coding the message is in. Known once `ready` has resolved. */
  get encoding(): Encoding | undefined {
    return this.#isCompressed ? this.#encoding : undefined
  }

  /**
   * Starts reading. Resolves when the message can be sent: all of it is here, or its length is known
   * and enough of it is here to begin. Throws `BodyRefused` or a `Fault`.
   */
  async ready(): Promise<void> {
    if (this.#prefix === undefined) this.#learnLength(this.#lengthBytes)
    if (this.#failure === undefined) {
      this.#options.progressWatch.add(this)
      this.#body.start(this)
    }
    while (!this.#hasEnded && this.#failure === undefined && !this.#isStreaming)
      await this.#change()
    if (this.#failure !== undefined) throw this.#failure
    if (this.#isStreaming || this.#inflated === undefined) return
    try {
      await this.#inflated.finish()
    } catch (thrown) {
      this.#fail(thrown as Error)
      throw thrown
    }
  }

  /**
   * The last piece is held back until the whole body has passed every check: a collector acts on a
   * gRPC message as soon as it has its last byte, not on the end of the stream.
   */
  async *stream(): AsyncIterable<Uint8Array> {
    while (!this.#hasEnded || this.#chunks.length > 1) {
      if (this.#failure !== undefined) throw this.#failure
      const chunk = this.#chunks.length > 1 ? this.#chunks.shift() : undefined
      if (chunk === undefined) {
        await this.#change()
        continue
      }
      yield chunk
      this.#letGo(chunk.length)
    }
    await this.#inflated?.finish()
    if (this.#failure !== undefined) throw this.#failure
    const last = this.#chunks.shift()
    if (last === undefined) return
    yield last
    this.#letGo(last.length)
  }

  /** Lets go of everything; call it when the request has ended, however it did. */
  dispose(): void {
    this.#options.progressWatch.delete(this)
    this.#inflated?.destroy()
    this.#release(this.#reservedBytes)
    this.#chunks.length = 0
    this.#failure ??= HAS_ENDED
  }

  chunk(bytes: Uint8Array): void {
    if (this.#failure !== undefined) return
    const message = this.#prefix === undefined ? bytes : this.#takePrefix(this.#prefix, bytes)
    if (message.length === 0 || this.#failure !== undefined) {
      this.#changed()
      return
    }
    this.#received += message.length
    const { maxBodyBytes, inFlightBytes } = this.#options
    const limit = this.#lengthBytes ?? maxBodyBytes
    if (this.#received > limit) {
      this.#fail(this.#lengthBytes === undefined ? this.#tooLarge() : surplus())
      return
    }
    this.#queuedBytes += message.length
    const missing = this.#queuedBytes - this.#reservedBytes
    if (missing > 0) {
      if (!inFlightBytes.reserve(missing)) {
        this.#fail(overloaded())
        return
      }
      this.#reservedBytes += missing
    }
    this.#inflated?.add(message)
    this.#chunks.push(message)
    if (this.#lengthBytes !== undefined && this.#lengthBytes > WHOLE_BYTES) {
      this.#isStreaming = true
      // The only piece there is goes on when the next one comes.
      const isAhead = this.#queuedBytes >= AHEAD_BYTES && this.#chunks.length > 1
      if (isAhead && !this.#isPaused) {
        this.#isPaused = true
        this.#body.pause()
      }
    }
    this.#changed()
  }

  end(): void {
    if (this.#failure !== undefined) return
    this.#options.progressWatch.delete(this)
    if (this.#prefix !== undefined) {
      this.#fail(malformed('the gRPC message is missing'))
    } else if (this.#lengthBytes !== undefined && this.#received < this.#lengthBytes) {
      this.#fail(malformed('the message ends early'))
    } else {
      this.#hasEnded = true
      this.#changed()
    }
  }

  failed(cause: unknown): void {
    this.#fail(new Fault('client_gone', 'client', { cause }))
  }

  /** Collects the prefix and returns what is behind it. gRPC over HTTP/2, "Length-Prefixed-Message". */
  #takePrefix(before: Buffer, bytes: Uint8Array): Uint8Array {
    const prefix =
      before.length === 0 && bytes.length >= PREFIX_BYTES
        ? Buffer.from(bytes.buffer, bytes.byteOffset, PREFIX_BYTES)
        : Buffer.concat([before, bytes.subarray(0, PREFIX_BYTES - before.length)])
    if (prefix.length < PREFIX_BYTES) {
      this.#prefix = prefix
      return prefix.subarray(prefix.length)
    }
    this.#prefix = undefined
    const flag = prefix.readUInt8(0)
    if (flag > 1) this.#fail(malformed('the compressed flag is neither 0 nor 1'))
    else if (flag === 1 && this.#encoding === undefined) {
      this.#fail(malformed('the message is marked compressed but grpc-encoding is missing'))
    } else {
      this.#isCompressed = flag === 1
      this.#learnLength(prefix.readUInt32BE(1))
    }
    return bytes.subarray(PREFIX_BYTES - before.length)
  }

  #learnLength(lengthBytes: number | undefined): void {
    const { maxBodyBytes, inFlightBytes } = this.#options
    this.#lengthBytes = lengthBytes
    this.#inflated = createInflatedSize(this.encoding, lengthBytes, maxBodyBytes)
    if (lengthBytes === undefined) return
    if (lengthBytes > maxBodyBytes) {
      this.#fail(this.#tooLarge())
      return
    }
    // Room for all of it is taken before it is read, so that a refusal comes before the body does.
    const held = lengthBytes <= WHOLE_BYTES ? lengthBytes : AHEAD_BYTES
    if (inFlightBytes.reserve(held)) this.#reservedBytes += held
    else this.#fail(overloaded())
  }

  /** A body that has not made the least progress since the last look is given up. */
  checkProgress(): void {
    const floor = (MIN_BYTES_PER_SECOND * this.#options.bodyTimeoutMs) / 1000
    const before = this.#receivedAtLastLook
    this.#receivedAtLastLook = this.#received
    const isSlow = before >= 0 && this.#received - before < floor
    if (!isSlow || this.#isPaused || this.#hasEnded) return
    this.#fail(new Fault('client_gone', 'client', { message: 'the body arrives too slowly' }))
  }

  /** The collector took so much: there is room for more. */
  #letGo(bytes: number): void {
    this.#queuedBytes -= bytes
    this.#release(bytes)
    if (!this.#isPaused) return
    if (this.#queuedBytes >= AHEAD_BYTES / 2 && this.#chunks.length > 1) return
    this.#isPaused = false
    this.#body.resume()
  }

  #release(bytes: number): void {
    const released = Math.min(bytes, this.#reservedBytes)
    this.#reservedBytes -= released
    this.#options.inFlightBytes.release(released)
  }

  #tooLarge(): BodyRefused {
    return new BodyRefused(tooLargeRefusal(this.#options.maxBodyBytes))
  }

  #fail(failure: Error): void {
    this.#failure ??= failure
    this.#options.progressWatch.delete(this)
    this.#inflated?.destroy()
    this.#changed()
  }

  #change(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve
    })
  }

  #changed(): void {
    const wake = this.#wake
    this.#wake = undefined
    wake?.()
  }
}

/** The refusal of a message over the limit. */
export function tooLargeRefusal(maxBodyBytes: number): Refusal {
  return { reason: 'too_large', detail: `more than ${maxBodyBytes} bytes` }
}

function overloaded(): BodyRefused {
  return new BodyRefused({ reason: 'overloaded' })
}

function malformed(detail: string): BodyRefused {
  return new BodyRefused({ reason: 'malformed', detail })
}

function surplus(): BodyRefused {
  return malformed('there is more than one message, or more than was announced')
}
