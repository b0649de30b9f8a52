/** The gRPC way to the collector: which address, which headers, how long. */
import type { GrpcAnswer, MessageBody, Parcel } from '../pipeline/parcel.ts'
import type { Address } from './address.ts'
import { collectorUnavailable } from './fault.ts'
import { GrpcCall, type GrpcCallSettings } from './grpc-call.ts'
import { type AddressState, Link } from './link.ts'

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
  readonly #links: readonly {
    readonly address: Address
    readonly link: Link
  }[]
  readonly #settings: GrpcCallSettings
  #turn = 0

  constructor(options: GrpcWayOptions) {
    const { ca, now, onChange, timeoutMs, maxAnswerBytes } = options
    // Not after each short deadline of some client: those say nothing about the connection.
    const silenceMs = Math.min(timeoutMs / 2, SILENCE_MS)
    this.#settings = { timeoutMs, maxAnswerBytes, now, silenceMs }
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
  send(parcel: Parcel): Promise<GrpcAnswer> {
    const chosen = this.#next()
    if (chosen === undefined) {
      return Promise.reject(collectorUnavailable(true, 'no address of the collector is up'))
    }
    const { body } = parcel
    const { address, link } = chosen
    const start = (sent: MessageBody) =>
      new GrpcCall(parcel, sent, address, link, this.#settings).answer
    return body.lengthBytes === undefined ? collected(body).then(start) : start(body)
  }

  /** The next available address in turn. */
  #next(): { readonly address: Address; readonly link: Link } | undefined {
    const only = this.#links[0]
    if (this.#links.length === 1) return only?.link.isAvailable ? only : undefined
    const available = this.#links.filter(({ link }) => link.isAvailable)
    this.#turn = (this.#turn + 1) % Math.max(1, available.length)
    return available[this.#turn]
  }
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
