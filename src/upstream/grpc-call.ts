/**
 * One export over gRPC: asks for a place on the connection, sends the message, reads the answer.
 * Ends exactly once, with an answer or a fault, and never sends anything twice by itself.
 */
import {
  type ClientHttp2Stream,
  constants,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
} from 'node:http2'
import type { Fault } from '../pipeline/fault.ts'
import type { GrpcAnswer, MessageBody } from '../pipeline/parcel.ts'
import { clientGone, collectorTimeout, collectorUnavailable, faultFrom } from './fault.ts'
import { PREFIX_BYTES, readAnswer, tooLargeAnswer } from './grpc-answer.ts'
import type { Lease, Taker } from './link.ts'

const { NGHTTP2_CANCEL, NGHTTP2_NO_ERROR, NGHTTP2_REFUSED_STREAM } = constants
/** Up to here copying a message into one buffer is cheaper than several writes. */
const ONE_WRITE_BYTES = 32 * 1024

export interface GrpcCallOptions {
  /** Called when the stream is opened, so that `grpc-timeout` says what is left then. */
  headers(): OutgoingHttpHeaders
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

export class GrpcCall implements Taker {
  readonly answer: Promise<GrpcAnswer>
  readonly #options: GrpcCallOptions
  #resolve: (answer: GrpcAnswer) => void = () => {}
  #reject: (error: Error) => void = () => {}
  #lease: Lease | undefined
  #stream: ClientHttp2Stream | undefined
  #isSettled = false
  #receivedAtStart = 0
  #startMs = 0
  #headers: IncomingHttpHeaders | undefined
  #trailers: IncomingHttpHeaders | undefined
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
    let stream: ClientHttp2Stream
    try {
      stream = lease.connection.session.request(this.#options.headers(), { endStream: false })
    } catch (error) {
      lease.release()
      this.#fail(faultFrom(error, this.#options.canRepeat()))
      return
    }
    this.#stream = stream
    this.#receivedAtStart = lease.connection.receivedBytes
    this.#startMs = this.#options.now()
    stream.on('response', (headers, flags) => {
      this.#headers = headers
      // Trailers-Only: all has been said, whatever of the message is still unsent.
      if ((flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0) this.#finish()
    })
    stream.on('data', (chunk: Buffer) => this.#take(chunk))
    stream.on('trailers', (trailers) => {
      this.#trailers = trailers
      this.#finish()
    })
    stream.on('drain', () => this.#wake())
    stream.on('error', (error) => this.#lost(error))
    stream.on('close', () => {
      lease.release()
      this.#lost(undefined)
    })
    this.#send(stream).catch((error: unknown) => {
      this.#fail(faultFrom(error, false), NGHTTP2_CANCEL)
    })
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
    this.#fail(collectorTimeout(message), NGHTTP2_CANCEL)
  }

  /** The client went away. */
  cancel(): void {
    this.#fail(clientGone(), NGHTTP2_CANCEL)
  }

  async #send(stream: ClientHttp2Stream): Promise<void> {
    const { body, lengthBytes, isCompressed } = this.#options
    const prefix = Buffer.allocUnsafe(PREFIX_BYTES)
    prefix[0] = isCompressed ? 1 : 0
    prefix.writeUInt32BE(lengthBytes, 1)
    const { whole } = body
    if (whole !== undefined) {
      if (lengthBytes <= ONE_WRITE_BYTES) stream.end(Buffer.concat([prefix, ...whole]))
      else {
        stream.cork()
        stream.write(prefix)
        for (const chunk of whole) stream.write(chunk)
        stream.end()
      }
      this.#isBodySent = true
      return
    }
    const iterator = body.stream()[Symbol.asyncIterator]()
    this.#iterator = iterator
    let pending: Buffer | undefined = prefix
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
      const chunk: Uint8Array =
        pending === undefined ? next.value : Buffer.concat([pending, next.value])
      pending = undefined
      if (!stream.write(chunk)) await new Promise<void>((wake) => this.#awaitDrain(wake))
      if (this.#isSettled) return
    }
    if (sentBytes !== lengthBytes) {
      throw new RangeError(`a body of ${lengthBytes} bytes ended after ${sentBytes}`)
    }
    if (pending === undefined) stream.end()
    else stream.end(pending)
    this.#isBodySent = true
  }

  #awaitDrain(wake: () => void): void {
    if (this.#isSettled) wake()
    else this.#wake = wake
  }

  #take(chunk: Buffer): void {
    const { maxAnswerBytes } = this.#options
    this.#dataBytes += chunk.length
    if (this.#dataBytes <= maxAnswerBytes + PREFIX_BYTES) this.#data.push(chunk)
    else this.#succeed(tooLargeAnswer(maxAnswerBytes), NGHTTP2_CANCEL)
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
    const resetWith = this.#isBodySent ? undefined : NGHTTP2_NO_ERROR
    if (answer instanceof Error) this.#fail(answer, resetWith)
    else this.#succeed(answer, resetWith)
  }

  /** The stream ended. Without an answer so far there will be none. */
  #lost(error: Error | undefined): void {
    if (this.#isSettled) return
    const stream = this.#stream
    const code = stream?.rstCode
    // An answer may end without trailers; a reset or a lost connection never makes one.
    if (error === undefined && code === NGHTTP2_NO_ERROR && this.#headers !== undefined) {
      this.#finish()
      return
    }
    this.#fail(this.#lossFault(stream, code, error))
  }

  #lossFault(
    stream: ClientHttp2Stream | undefined,
    code: number | undefined,
    error: Error | undefined,
  ): Fault {
    const isUnprocessed =
      code === NGHTTP2_REFUSED_STREAM || this.#lease?.connection.isUnseen(stream?.id) === true
    const message = isUnprocessed
      ? 'the collector did not take the call'
      : `the collector was lost before its answer (HTTP/2 code ${code ?? 'none'})`
    return collectorUnavailable(isUnprocessed && this.#options.canRepeat(), message, error)
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
    if (resetWith !== undefined) this.#stream?.close(resetWith)
    if (!this.#isBodySent) this.#iterator?.return?.().catch(() => {})
    this.#wake()
  }
}
