/** One export over OTLP/HTTP. Ends exactly once, with an answer or a fault; never sends twice. */
import type { IncomingHttpHeaders } from 'node:http'
import type { Dispatcher } from 'undici'
import type { HttpAnswer, MessageBody } from '../pipeline/parcel.ts'
import { clientGone, collectorTimeout, collectorUnavailable, faultFrom } from './fault.ts'
import type { HttpTarget } from './http-target.ts'

export interface HttpCallOptions {
  readonly body: MessageBody
  readonly maxAnswerBytes: number
  /** Told whenever the client's next bytes are awaited (true) or have come (false). */
  readonly onAwaitingClient: (isAwaiting: boolean) => void
}

export class HttpCall implements Dispatcher.DispatchHandler {
  readonly answer: Promise<HttpAnswer>
  readonly #options: HttpCallOptions
  #resolve: (answer: HttpAnswer) => void = () => {}
  #reject: (error: Error) => void = () => {}
  #controller: Dispatcher.DispatchController | undefined
  #target: HttpTarget | undefined
  #isSettled = false
  /** A connection has taken the request: the collector may see it. */
  #isStarted = false
  #bodyFailure: unknown
  #status = 0
  #headers: IncomingHttpHeaders = {}
  #data: Buffer[] = []
  #dataBytes = 0

  constructor(options: HttpCallOptions) {
    this.#options = options
    this.answer = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
  }

  start(target: HttpTarget, path: string, headers: Record<string, string | string[]>): void {
    if (this.#isSettled) return
    this.#target = target
    const { whole } = this.#options.body
    const body =
      whole === undefined ? this.#stream() : whole.length === 1 ? whole[0] : Buffer.concat(whole)
    try {
      target.pool.dispatch({ method: 'POST', path, headers, body: body as Buffer }, this)
    } catch (error) {
      this.#fail(faultFrom(error, true))
    }
  }

  /** The time limit has passed. */
  timeOut(message: string): void {
    this.#abort(collectorTimeout(message))
  }

  /** The client went away. */
  cancel(): void {
    this.#abort(clientGone())
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller
    if (this.#isSettled) controller.abort(new Error('the call has ended'))
    else this.#isStarted = true
  }

  onResponseStart(
    _controller: Dispatcher.DispatchController,
    status: number,
    headers: IncomingHttpHeaders,
  ): void {
    this.#status = status
    this.#headers = headers
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    const { maxAnswerBytes } = this.#options
    this.#dataBytes += chunk.length
    if (this.#dataBytes <= maxAnswerBytes) this.#data.push(chunk)
    else {
      // Not to be sent again ("OTLP/HTTP Response"): the collector may well have taken it.
      this.#succeed({ status: 500, headers: {}, body: Buffer.alloc(0) })
      controller.abort(new Error(`an answer longer than ${maxAnswerBytes} bytes`))
    }
  }

  onResponseEnd(): void {
    this.#target?.answered()
    if (this.#status < 300 && isWebPage(this.#headers['content-type'])) {
      this.#fail(collectorUnavailable(false, 'the collector answered with a web page'))
      return
    }
    this.#succeed({
      status: this.#status,
      headers: this.#headers,
      body: this.#data.length === 1 ? (this.#data[0] as Buffer) : Buffer.concat(this.#data),
    })
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    if (this.#isSettled) return
    if (this.#bodyFailure !== undefined) {
      this.#fail(faultFrom(this.#bodyFailure, false))
      return
    }
    const wasSent = this.#isStarted
    if (!wasSent) this.#target?.lost(error)
    this.#fail(faultFrom(error, !wasSent))
  }

  /** The body at the pace of the connection. What ends it early is kept, as undici wraps or swallows it. */
  async *#stream(): AsyncIterable<Uint8Array> {
    const { body, onAwaitingClient } = this.#options
    try {
      onAwaitingClient(true)
      for await (const chunk of body.stream()) {
        onAwaitingClient(false)
        yield chunk
        onAwaitingClient(true)
      }
      onAwaitingClient(false)
    } catch (thrown) {
      this.#bodyFailure = thrown
      throw thrown
    }
  }

  #abort(error: Error): void {
    if (this.#isSettled) return
    this.#fail(error)
    this.#controller?.abort(error)
  }

  #succeed(answer: { status: number; headers: IncomingHttpHeaders; body: Uint8Array }): void {
    if (this.#isSettled) return
    this.#isSettled = true
    const { status, headers, body } = answer
    const encoding = headers['content-encoding']
    this.#resolve({
      protocol: 'http',
      status,
      contentType: headers['content-type'],
      encoding: encoding === 'identity' ? undefined : encoding,
      retryAfter: headers['retry-after'],
      body,
    })
  }

  #fail(error: Error): void {
    if (this.#isSettled) return
    this.#isSettled = true
    this.#reject(error)
  }
}

/** A login page or a proxy's greeting says 200 as well; no collector has taken anything then. */
function isWebPage(contentType: string | undefined): boolean {
  return contentType !== undefined && /^(?:text\/html|application\/xhtml\+xml)\b/i.test(contentType)
}
