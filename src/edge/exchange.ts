/** One call as the pipeline sees it, whichever protocol it speaks. */
import type { Permit } from '../pipeline/admit.ts'
import type { Arrival } from '../pipeline/arrival.ts'
import { BodyRefused } from '../pipeline/fault.ts'
import type { Answered, Refusal } from '../pipeline/outcome.ts'
import type { Collector, CollectorAnswer, Format, Parcel } from '../pipeline/parcel.ts'
import type { Clock } from '../pipeline/ports.ts'
import type { Exchange } from '../pipeline/serve.ts'
import type { Call, Headers } from './call.ts'
import type { Encoding } from './headers.ts'
import { Intake, type IntakeOptions } from './intake.ts'

/** What an edge reads off a request besides its arrival. */
export interface Shape {
  readonly format: Format
  readonly encoding: Encoding | undefined
  /** Content-Length of an OTLP/HTTP request; a gRPC message tells its length itself. */
  readonly lengthBytes: number | undefined
  readonly acceptEncoding: string | undefined
}

/** How a protocol answers. Both return the bytes of the body they sent. */
export interface Dialect {
  readonly isGrpc: boolean
  answer(call: Call, shape: Shape, answer: CollectorAnswer): number
  /** `isLate`: the client's own deadline has passed. */
  refuse(call: Call, shape: Shape, arrival: Arrival, refusal: Refusal, isLate: boolean): number
}

/** A timer may be this early. */
const TIMER_SLACK_MS = 2

/** What every exchange of a gateway shares. */
export interface ExchangeSettings extends IntakeOptions {
  readonly collector: Collector
  readonly clock: Clock
  readonly filterHeaders: (headers: Headers, peer: Arrival['peer']) => Parcel['headers']
}

export class CallExchange implements Exchange {
  readonly arrival: Arrival
  readonly #call: Call
  readonly #shape: Shape
  readonly #dialect: Dialect
  readonly #settings: ExchangeSettings
  readonly #onClose: () => void
  #intake: Intake | undefined
  #chargedBytes = 0
  bytesOut = 0

  constructor(
    call: Call,
    arrival: Arrival,
    shape: Shape,
    dialect: Dialect,
    settings: ExchangeSettings,
    onClose: () => void,
  ) {
    this.#call = call
    this.arrival = arrival
    this.#shape = shape
    this.#dialect = dialect
    this.#settings = settings
    this.#onClose = onClose
  }

  get bytesIn(): number {
    return this.#intake?.receivedBytes ?? 0
  }

  async forward(permit: Permit): Promise<Answered | Refusal> {
    const { collector, clock, filterHeaders } = this.#settings
    const { signal, peer, deadlineMs } = this.arrival
    const { format, acceptEncoding } = this.#shape
    if (signal === 'none') throw new TypeError('BUG: admitted without a signal')
    try {
      let intake = this.#intake
      if (intake === undefined) {
        intake = this.#intake = this.#newIntake()
        await intake.ready()
      }
      const { encoding } = intake
      const headers = filterHeaders(this.#call.headers, peer)
      const onGone = (listener: () => void) => this.#call.onGone(listener)
      const parcel = {
        signal,
        format,
        encoding,
        body: intake,
        headers,
        acceptEncoding,
        deadlineMs,
        onGone,
      }
      const answer = await collector.send(parcel, permit)
      this.bytesOut = this.#dialect.answer(this.#call, this.#shape, answer)
      const isGood =
        answer.protocol === 'grpc'
          ? answer.status === 0
          : answer.status >= 200 && answer.status < 300
      return isGood ? 'accepted' : 'collector_refused'
    } catch (thrown) {
      if (thrown instanceof BodyRefused) return thrown.refusal
      throw thrown
    } finally {
      permit.chargeBytes(this.bytesIn - this.#chargedBytes, clock.nowMs())
      this.#chargedBytes = this.bytesIn
    }
  }

  #newIntake(): Intake {
    const { encoding, lengthBytes } = this.#shape
    const framing = { isGrpc: this.#dialect.isGrpc, lengthBytes, encoding }
    return new Intake(this.#call.body, framing, this.#settings)
  }

  refuse(refusal: Refusal): void {
    if (refusal.reason === 'client_gone') {
      this.#call.abandon()
      return
    }
    const isLate = this.arrival.deadlineMs - this.#settings.clock.nowMs() < TIMER_SLACK_MS
    this.bytesOut = this.#dialect.refuse(this.#call, this.#shape, this.arrival, refusal, isLate)
  }

  onGone(listener: () => void): void {
    this.#call.onGone(listener)
  }

  close(): void {
    this.#intake?.dispose()
    this.#onClose()
  }
}
