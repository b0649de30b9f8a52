/**
 * One export over gRPC: asks for a place on the connection, sends the message, reads the answer.
 * Ends exactly once, with an answer or a fault, and never sends anything twice by itself.
 */
import type { AnswerReader, ClientStream } from '../http2/client-stream.ts'
import { CODE } from '../http2/protocol.ts'
import type { Fields } from '../http2/request-fields.ts'
import type { GrpcAnswer, MessageBody } from '../pipeline/parcel.ts'
import { clientGone, collectorTimeout, collectorUnavailable, faultFrom } from './fault.ts'
import { PREFIX_BYTES, readAnswer, tooLargeAnswer } from './grpc-answer.ts'
import type { Lease, Taker } from './link.ts'

export interface GrpcCallOptions {
  /** Called when the stream is opened, so that `grpc-timeout` says what is left then. */
  headers(): readonly Buffer[]
  readonly body: MessageBody
  /** Length of the message, which the prefix announces. */
  readonly lengthBytes: number
  /** Whether the whole message is still in the hands of the caller. */
  canRepeat(): boolean
  readonly isCompressed: boolean
  readonly acceptsGzip: boolean
  readonly maxAnswerBytes: number
  readonly now: () => number
  /** A connection on which nothing has arrived for so long while a call ran out of time may be dead. */
  readonly silenceMs: number
}

export class GrpcCall implements Taker, AnswerReader {
  readonly answer: Promise<GrpcAnswer>
  readonly #options: GrpcCallOptions
  #resolve: (answer: GrpcAnswer) => void = () => {}
  #reject: (error: Error) => void = () => {}
  #lease: Lease | undefined
  #stream: ClientStream | undefined
  #isSettled = false
  #receivedAtStart = 0
  #startMs = 0
  #headers: Fields | undefined
  #trailers: Fields | undefined
  #data: Buffer[] = []
  #dataBytes = 0
  #iterator: AsyncIterator<Uint8Array> | undefined
  #isBodySent = false
  /** Wakes the sending loop: the stream took what was written, or the call ended. */
  #wake: () => void = () => {}
  /** Told whenever the client's next bytes are awaited (true) or have come (false). */
  onAwaitingClient: (isAwaiting: boolean) => void = () => {}

  constructor(options: GrpcCallOptions) {
    this.#options = options
    this.answer = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
  }

  take(lease: Lease): void {
    this.#lease = lease
    if (this.#isSettled) {
      lease.release()
      return
    }
    let stream: ClientStream
    try {
      stream = lease.connection.http2.request(this.#options.headers(), this)
    } catch (error) {
      lease.release()
      this.#fail(faultFrom(error, this.#options.canRepeat()))
      return
    }
    this.#stream = stream
    this.#receivedAtStart = lease.connection.receivedBytes
    this.#startMs = this.#options.now()
    const { whole } = this.#options.body
    if (whole === undefined) {
      this.#sendStreamed(stream).catch((error: unknown) => {
        this.#fail(faultFrom(error, false), CODE.CANCEL)
      })
      return
    }
    this.#isBodySent = true
    stream.end(this.#prefix(), ...whole)
  }

  onHeaders(fields: Fields, ends: boolean): void {
    this.#headers = fields
    // Trailers-Only: all has been said, whatever of the message is still unsent.
    if (ends) this.#finish()
  }

  onData(chunk: Buffer): void {
    const { maxAnswerBytes } = this.#options
    this.#dataBytes += chunk.length
    if (this.#dataBytes <= maxAnswerBytes + PREFIX_BYTES) this.#data.push(chunk)
    else this.#succeed(tooLargeAnswer(maxAnswerBytes), CODE.CANCEL)
  }

  onTrailers(fields: Fields): void {
    this.#trailers = fields
    this.#finish()
  }

  onDrain(): void {
    this.#wake()
  }

  onClosed(code: number | undefined, isUnseen: boolean): void {
    this.#lease?.release()
    if (this.#isSettled) return
    // An answer may end without trailers; a reset or a lost connection never makes one.
    if (code === CODE.NO_ERROR && this.#headers !== undefined) {
      this.#finish()
      return
    }
    const message = isUnseen
      ? 'the collector did not take the call'
      : `the collector was lost before its answer (HTTP/2 code ${code ?? 'none'})`
    this.#fail(collectorUnavailable(isUnseen && this.#options.canRepeat(), message))
  }

  refuse(fault: Error): void {
    this.#fail(fault)
  }

  /** The time limit has passed. */
  timeOut(message: string): void {
    if (this.#isSettled) return
    const lease = this.#lease
    const { now, silenceMs } = this.#options
    const isSilent = lease?.connection.receivedBytes === this.#receivedAtStart
    if (isSilent && now() - this.#startMs >= silenceMs) lease?.suspect()
    this.#fail(collectorTimeout(message), CODE.CANCEL)
  }

  /** The client went away. */
  cancel(): void {
    this.#fail(clientGone(), CODE.CANCEL)
  }

  #prefix(): Buffer {
    const { lengthBytes, isCompressed } = this.#options
    const prefix = Buffer.allocUnsafe(PREFIX_BYTES)
    prefix[0] = isCompressed ? 1 : 0
    prefix.writeUInt32BE(lengthBytes, 1)
    return prefix
  }

  async #sendStreamed(stream: ClientStream): Promise<void> {
    const { body, lengthBytes } = this.#options
    const iterator = body.stream()[Symbol.asyncIterator]()
    this.#iterator = iterator
    stream.write(this.#prefix())
    let sentBytes = 0
    for (;;) {
      this.onAwaitingClient(true)
      const next = await iterator.next()
      this.onAwaitingClient(false)
      if (this.#isSettled) return
      if (next.done === true) break
      sentBytes += next.value.byteLength
      // A message longer than announced would be read as the beginning of a second one.
      if (sentBytes > lengthBytes) break
      if (!stream.write(next.value)) await new Promise<void>((wake) => this.#awaitDrain(wake))
      if (this.#isSettled) return
    }
    if (sentBytes !== lengthBytes) {
      throw new RangeError(`a body of ${lengthBytes} bytes ended after ${sentBytes}`)
    }
    stream.end()
    this.#isBodySent = true
  }

  #awaitDrain(wake: () => void): void {
    if (this.#isSettled) wake()
    else this.#wake = wake
  }

  #finish(): void {
    if (this.#isSettled || this.#headers === undefined) return
    const { acceptsGzip, maxAnswerBytes } = this.#options
    const answer = readAnswer({
      headers: this.#headers,
      trailers: this.#trailers,
      data: this.#data,
      acceptsGzip,
      maxAnswerBytes,
    })
    // An answer to half a message: the rest is not wanted.
    const resetWith = this.#isBodySent ? undefined : CODE.NO_ERROR
    if (answer instanceof Error) this.#fail(answer, resetWith)
    else this.#succeed(answer, resetWith)
  }

  #succeed(answer: GrpcAnswer, resetWith: number | undefined): void {
    if (this.#isSettled) return
    this.#settle(resetWith)
    this.#resolve(answer)
  }

  #fail(error: Error, resetWith?: number): void {
    if (this.#isSettled) return
    this.#settle(resetWith)
    this.#reject(error)
  }

  #settle(resetWith: number | undefined): void {
    this.#isSettled = true
    if (resetWith !== undefined && this.#stream !== undefined) {
      // A stream of ours that we reset tells us nothing more.
      this.#stream.reset(resetWith)
      this.#lease?.release()
    }
    if (!this.#isBodySent) this.#iterator?.return?.().catch(() => {})
    this.#wake()
  }
}
