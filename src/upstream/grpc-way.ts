/** The gRPC way to the collector: which address, which headers, how long. */
import { encodeField, fieldBlock, type OutgoingFields } from '../http2/field-encoder.ts'
import { GRPC_PATHS, type Signal } from '../otlp/signal.ts'
import type { GrpcAnswer, MessageBody, Parcel } from '../pipeline/parcel.ts'
import { type Address, authorityOf, pathUnder } from './address.ts'
import { collectorUnavailable } from './fault.ts'
import { GrpcCall } from './grpc-call.ts'
import { type AddressState, Link } from './link.ts'
import { takesGzip } from './takes-gzip.ts'
import { TimeLimit } from './time-limit.ts'

const SILENCE_MS = 5000

export interface GrpcWayOptions {
  readonly addresses: readonly Address[]
  readonly ca: string | undefined
  /** Longest wait for an answer, where the client does not say less. */
  readonly timeoutMs: number
  readonly maxAnswerBytes: number
  readonly now: () => number
  readonly onChange: () => void
}

export class GrpcWay {
  readonly #options: GrpcWayOptions
  readonly #links: readonly {
    readonly address: Address
    readonly link: Link
  }[]
  #turn = 0

  constructor(options: GrpcWayOptions) {
    this.#options = options
    const { ca, now, onChange } = options
    this.#links = options.addresses.map((address) => ({
      address,
      link: new Link({ address, ca, now, onChange }),
    }))
  }

  start(): void {
    for (const { link } of this.#links) link.start()
  }

  async close(): Promise<void> {
    await Promise.all(this.#links.map(({ link }) => link.close()))
  }

  get isAvailable(): boolean {
    return this.#links.some(({ link }) => link.isAvailable)
  }

  get states(): readonly AddressState[] {
    return this.#links.map(({ link }) => link.state)
  }

  /** Sends a protobuf message. See `Collector.send`. */
  async send(parcel: Parcel): Promise<GrpcAnswer> {
    const chosen = this.#next()
    if (chosen === undefined) throw collectorUnavailable(true, 'no address of the collector is up')
    const { timeoutMs, maxAnswerBytes, now } = this.#options
    let isRead = parcel.body.lengthBytes === undefined
    const body: MessageBody = isRead
      ? await collected(parcel.body)
      : {
          lengthBytes: parcel.body.lengthBytes,
          get whole() {
            return parcel.body.whole
          },
          stream: () => {
            isRead = true
            return parcel.body.stream()
          },
        }
    const limit = new TimeLimit(timeoutMs, parcel.deadlineMs, now)
    const acceptsGzip = takesGzip(parcel.acceptEncoding)
    const call = new GrpcCall({
      headers: () => {
        const remainingMs = limit.remainingMs(body.whole === undefined)
        return requestHeaders(parcel, chosen.address, acceptsGzip, remainingMs)
      },
      body,
      lengthBytes: body.lengthBytes ?? 0,
      canRepeat: () => parcel.body.whole !== undefined || !isRead,
      isCompressed: parcel.encoding !== undefined,
      acceptsGzip,
      maxAnswerBytes,
      now,
      // Not after each short deadline of some client: those say nothing about the connection.
      silenceMs: Math.min(timeoutMs / 2, SILENCE_MS),
    })
    call.onAwaitingClient = (isAwaiting) => limit.pause(isAwaiting)
    parcel.onGone(() => {
      chosen.link.forget(call)
      call.cancel()
    })
    limit.start((message) => {
      chosen.link.forget(call)
      call.timeOut(message)
    })
    chosen.link.ask(call)
    try {
      return await call.answer
    } finally {
      limit.stop()
    }
  }

  /** The next available address in turn. */
  #next(): { readonly address: Address; readonly link: Link } | undefined {
    const available = this.#links.filter(({ link }) => link.isAvailable)
    this.#turn = (this.#turn + 1) % Math.max(1, available.length)
    return available[this.#turn]
  }
}

/** The header section in blocks: what hardly ever changes is encoded once. */
function requestHeaders(
  parcel: Parcel,
  address: Address,
  acceptsGzip: boolean,
  remainingMs: number,
): Buffer[] {
  const blocks = [fieldBlock(fixedFields(address, parcel.signal)), fieldBlock(parcel.headers)]
  if (parcel.headers['user-agent'] === undefined) blocks.push(OWN_AGENT)
  if (parcel.encoding !== undefined) blocks.push(encodeField('grpc-encoding', parcel.encoding))
  if (acceptsGzip) blocks.push(ACCEPTS_GZIP)
  if (remainingMs !== Number.POSITIVE_INFINITY) {
    blocks.push(encodeField('grpc-timeout', grpcTimeout(remainingMs)))
  }
  return blocks
}

const OWN_AGENT = encodeField('user-agent', 'tollgate')
const ACCEPTS_GZIP = encodeField('grpc-accept-encoding', 'gzip')

const fixed = new WeakMap<Address, Partial<Record<Signal, OutgoingFields>>>()

/** The same object for each request of a signal to an address. */
function fixedFields(address: Address, signal: Signal): OutgoingFields {
  let bySignal = fixed.get(address)
  if (bySignal === undefined) {
    bySignal = {}
    fixed.set(address, bySignal)
  }
  bySignal[signal] ??= {
    ':method': 'POST',
    ':scheme': address.protocol.slice(0, -1),
    ':authority': authorityOf(address),
    ':path': pathUnder(address, GRPC_PATHS[signal]),
    te: 'trailers',
    'content-type': 'application/grpc',
  }
  return bySignal[signal]
}

/** At most eight digits and a unit (PROTOCOL-HTTP2, "Timeout"). Never nothing, which would be an error. */
export function grpcTimeout(ms: number): string {
  const whole = Math.max(1, Math.floor(ms))
  return whole < 1e8 ? `${whole}m` : `${Math.min(Math.floor(whole / 1000), 99_999_999)}S`
}

/** The whole body in memory, as the prefix must say its length. The edge bounds it. */
async function collected(body: MessageBody): Promise<MessageBody> {
  const chunks: Uint8Array[] = []
  let lengthBytes = 0
  for await (const chunk of body.stream()) {
    chunks.push(chunk)
    lengthBytes += chunk.byteLength
  }
  return { lengthBytes, whole: chunks, stream: () => body.stream() }
}
