/** The OTLP/HTTP way to the collector, over HTTP/1.1: protobuf and JSON, as the client wrote them. */
import { HTTP_PATHS } from '../otlp/signal.ts'
import type { HttpAnswer, Parcel } from '../pipeline/parcel.ts'
import { type Address, pathUnder } from './address.ts'
import { collectorUnavailable } from './fault.ts'
import { HttpCall } from './http-call.ts'
import { HttpTarget } from './http-target.ts'
import type { AddressState } from './link.ts'
import { takesGzip } from './takes-gzip.ts'
import { TimeLimit } from './time-limit.ts'

const CONTENT_TYPES = { protobuf: 'application/x-protobuf', json: 'application/json' } as const

export interface HttpWayOptions {
  readonly addresses: readonly Address[]
  readonly ca: string | undefined
  /** Longest wait for an answer, where the client does not say less. */
  readonly timeoutMs: number
  readonly maxAnswerBytes: number
  readonly now: () => number
  readonly onChange: () => void
}

export class HttpWay {
  readonly #options: HttpWayOptions
  readonly #targets: readonly HttpTarget[]
  #turn = 0

  constructor(options: HttpWayOptions) {
    this.#options = options
    const { ca, timeoutMs, now, onChange } = options
    this.#targets = options.addresses.map(
      (address) => new HttpTarget({ address, ca, timeoutMs, now, onChange }),
    )
  }

  start(): void {
    for (const target of this.#targets) target.start()
  }

  async close(): Promise<void> {
    await Promise.all(this.#targets.map((target) => target.close()))
  }

  get isAvailable(): boolean {
    return this.#targets.some((target) => target.isAvailable)
  }

  get states(): readonly AddressState[] {
    return this.#targets.map((target) => target.state)
  }

  /** Sends a message. See `Collector.send`. */
  async send(parcel: Parcel): Promise<HttpAnswer> {
    const target = this.#next()
    if (target === undefined) throw collectorUnavailable(true, 'no address of the collector is up')
    const { timeoutMs, maxAnswerBytes, now } = this.#options
    const call = new HttpCall({
      body: parcel.body,
      maxAnswerBytes,
      onAwaitingClient: (isAwaiting) => limit.pause(isAwaiting),
    })
    const limit = new TimeLimit(timeoutMs, parcel.deadlineMs, now, call)
    parcel.onGone(() => call.cancel())
    limit.start()
    call.start(target, pathUnder(target.address, HTTP_PATHS[parcel.signal]), requestHeaders(parcel))
    try {
      return await call.answer
    } finally {
      limit.stop()
    }
  }

  /** The next available address in turn. */
  #next(): HttpTarget | undefined {
    const available = this.#targets.filter((target) => target.isAvailable)
    this.#turn = (this.#turn + 1) % Math.max(1, available.length)
    return available[this.#turn]
  }
}

function requestHeaders(parcel: Parcel): Record<string, string | string[]> {
  const { format, encoding, body, headers, acceptEncoding } = parcel
  return {
    'user-agent': 'tollgate',
    ...headers,
    'content-type': CONTENT_TYPES[format],
    ...(encoding === undefined ? {} : { 'content-encoding': encoding }),
    ...(body.lengthBytes === undefined ? {} : { 'content-length': String(body.lengthBytes) }),
    // Named even where it is nothing, so that a server does not choose for itself.
    'accept-encoding': takesGzip(acceptEncoding) ? 'gzip' : 'identity',
  }
}
