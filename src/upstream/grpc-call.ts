/**
 * One export over gRPC: asks for a place on the connection, sends the message, reads the answer.
 * Ends exactly once, with an answer or a fault, and never sends anything twice by itself.
 */
import type { AnswerReader, ClientStream } from '../http2/client-stream.ts'
import { CODE } from '../http2/protocol.ts'
import type { Fields } from '../http2/request-fields.ts'
import type { GrpcAnswer, MessageBody, Parcel } from '../pipeline/parcel.ts'
import type { Address } from './address.ts'
import type { Connection } from './connection.ts'
import { clientGone, collectorTimeout, collectorUnavailable, faultFrom } from './fault.ts'
import { PREFIX_BYTES, readAnswer, tooLargeAnswer } from './grpc-answer.ts'
import { requestBlocks } from './grpc-headers.ts'
import type { Link, Taker } from './link.ts'
import { takesGzip } from './takes-gzip.ts'
import { TimeLimit } from './time-limit.ts'

const NOTHING = () => {}
const NO_DATA: readonly Buffer[] = []

/** What all calls of a way share. */
export interface GrpcCallSettings {
  /** Longest wait for an answer, where the client does not say less. */
  readonly timeoutMs: number
  readonly maxAnswerBytes: number
  readonly now: () => number
  /** A connection on which nothing has arrived for so long while a call ran out of time may be dead. */
  readonly silenceMs: number
}

export class GrpcCall implements Taker, AnswerReader {
  readonly answer: Promise<GrpcAnswer>
  readonly #parcel: Parcel
  readonly #body: MessageBody
  readonly #address: Address
  readonly #link: Link
  readonly #settings: GrpcCallSettings
  readonly #limit: TimeLimit
  readonly #acceptsGzip: boolean
  #resolve: (answer: GrpcAnswer) => void = NOTHING
  #reject: (error: Error) => void = NOTHING
  #connection: Connection | undefined
  #stream: ClientStream | undefined
  #isSettled = false
  #receivedAtStart = 0
  #startMs = 0
  #headers: Fields | undefined
  #trailers: Fields | undefined
  #data: Buffer[] | undefined
  #dataBytes = 0
  #iterator: AsyncIterator<Uint8Array> | undefined
  #isBodySent = false
  /** Wakes the sending loop: the stream took what was written, or the call ended. */
  #wake: () => void = NOTHING

  /** Begins at once. `body` is the parcel's, or all of it where the parcel does not say its length. */
  constructor(
    parcel: Parcel,
    body: MessageBody,
    address: Address,
    link: Link,
    settings: GrpcCallSettings,
  ) {
    this.#parcel = parcel
    this.#body = body
    this.#address = address
    this.#link = link
    this.#settings = settings
    this.#acceptsGzip = takesGzip(parcel.acceptEncoding)
    this.#limit = new TimeLimit(settings.timeoutMs, parcel.deadlineMs, settings.now, this)
    this.answer = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
    this.#limit.start()
    parcel.onGone(() => this.#fail(clientGone(), CODE.CANCEL))
    if (!this.#isSettled) link.ask(this)
  }

  take(connection: Connection): void {
    const { whole } = this.#body
    const remainingMs = this.#limit.remainingMs(whole === undefined)
    let stream: ClientStream
    try {
      const blocks = requestBlocks(this.#parcel, this.#address, this.#acceptsGzip, remainingMs)
      stream = connection.http2.request(blocks, this)
    } catch (error) {
      this.#fail(faultFrom(error, this.#canRepeat))
      return
    }
    this.#connection = connection
    this.#stream = stream
    this.#receivedAtStart = connection.receivedBytes
    this.#startMs = this.#settings.now()
    if (whole !== undefined) {
      this.#isBodySent = true
      stream.end(this.#prefix(), ...whole)
      return
    }
    this.#sendStreamed(stream).catch((error: unknown) => {
      this.#fail(faultFrom(error, false), CODE.CANCEL)
    })
  }

  refuse(fault: Error): void {
    this.#fail(fault)
  }

  onHeaders(fields: Fields, ends: boolean): void {
    this.#headers = fields
    // Trailers-Only: all has been said, whatever of the message is still unsent.
    if (ends) this.#finish()
  }

  onData(chunk: Buffer): void {
    const { maxAnswerBytes } = this.#settings
    this.#dataBytes += chunk.length
    if (this.#dataBytes > maxAnswerBytes + PREFIX_BYTES) {
      this.#succeed(tooLargeAnswer(maxAnswerBytes), CODE.CANCEL)
    } else if (this.#data === undefined) this.#data = [chunk]
    else this.#data.push(chunk)
  }

  onTrailers(fields: Fields): void {
    this.#trailers = fields
    this.#finish()
  }

  onDrain(): void {
    this.#wake()
  }

  onClosed(code: number | undefined, isUnseen: boolean): void {
    if (!this.#isSettled) {
      // An answer may end without trailers; a reset or a lost connection never makes one.
      if (code === CODE.NO_ERROR && this.#headers !== undefined) this.#finish()
      else this.#fail(this.#lossFault(code, isUnseen))
    }
    this.#link.released()
  }

  /** The time limit has passed. */
  timeOut(message: string): void {
    if (this.#isSettled) return
    const connection = this.#connection
    const { now, silenceMs } = this.#settings
    const isSilent = connection?.receivedBytes === this.#receivedAtStart
    if (connection !== undefined && isSilent && now() - this.#startMs >= silenceMs) {
      this.#link.suspect(connection)
    }
    this.#fail(collectorTimeout(message), CODE.CANCEL)
  }

  #prefix(): Buffer {
    const prefix = Buffer.allocUnsafe(PREFIX_BYTES)
    prefix[0] = this.#parcel.encoding === undefined ? 0 : 1
    prefix.writeUInt32BE(this.#body.lengthBytes ?? 0, 1)
    return prefix
  }

  async #sendStreamed(stream: ClientStream): Promise<void> {
    const lengthBytes = this.#body.lengthBytes ?? 0
    const iterator = this.#body.stream()[Symbol.asyncIterator]()
    this.#iterator = iterator
    stream.write(this.#prefix())
    let sentBytes = 0
    for (;;) {
      this.#limit.pause(true)
      const next = await iterator.next()
      if (this.#isSettled) return
      this.#limit.pause(false)
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

  /** Whether the whole message is still in the hands of the caller. */
  get #canRepeat(): boolean {
    const { body } = this.#parcel
    return body.whole !== undefined || (body === this.#body && this.#iterator === undefined)
  }

  #lossFault(code: number | undefined, isUnseen: boolean): Error {
    const message = isUnseen
      ? 'the collector did not take the call'
      : `the collector was lost before its answer (HTTP/2 code ${code ?? 'none'})`
    return collectorUnavailable(isUnseen && this.#canRepeat, message)
  }

  #finish(): void {
    if (this.#isSettled || this.#headers === undefined) return
    const answer = readAnswer({
      headers: this.#headers,
      trailers: this.#trailers,
      data: this.#data ?? NO_DATA,
      acceptsGzip: this.#acceptsGzip,
      maxAnswerBytes: this.#settings.maxAnswerBytes,
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
    this.#limit.stop()
    if (this.#stream === undefined) this.#link.forget(this)
    else if (resetWith !== undefined) {
      // A stream of ours that we reset tells us nothing more.
      this.#stream.reset(resetWith)
      this.#link.released()
    }
    if (!this.#isBodySent) this.#iterator?.return?.().catch(NOTHING)
    this.#wake()
  }
}
