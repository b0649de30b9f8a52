/** What an edge hands to the collector's side, and what comes back. */
import type { Signal } from '../otlp/signal.ts'
import type { Permit } from './admit.ts'
import type { Destination } from './ports.ts'

/** How the message is written down. The gateway never changes it. */
export type Format = 'protobuf' | 'json'

/** The bytes of one message: no gRPC prefix, still compressed as the client sent it. */
export interface MessageBody {
  /** Length in bytes; undefined where the client did not say and not all of it has arrived. */
  readonly lengthBytes: number | undefined
  /** All of it is at hand: `whole` can be sent, and sent again. */
  readonly whole: readonly Uint8Array[] | undefined
  /**
   * The bytes as they arrive, at the reader's pace: the client is read from as fast as the loop
   * takes chunks. May be read once. Throws what ended the body early: a `Fault` (`client_gone`), or
   * a `BodyRefused`. Ends only after every check on the whole body has passed, so an end of
   * iteration is the leave to end the stream to the collector.
   */
  stream(): AsyncIterable<Uint8Array>
}

/** One admitted export on its way to the collector. */
export interface Parcel {
  readonly signal: Signal
  readonly format: Format
  /** Content coding of the body (`gzip`, `zstd`, …); undefined for none. */
  readonly encoding: string | undefined
  readonly body: MessageBody
  /** Request headers that travel on, lower-case, already without credentials and hop-by-hop ones. */
  readonly headers: Readonly<Record<string, string | string[]>>
  /** Codings the client takes in the answer, as it said; undefined where it said nothing. */
  readonly acceptEncoding: string | undefined
  /** Monotonic time at which the client stops waiting; Infinity where it did not say. */
  readonly deadlineMs: number
  /** Calls back once when the client goes away: the call to the collector is cancelled. */
  onGone(listener: () => void): void
}

/** An answer that came over gRPC. */
export interface GrpcAnswer {
  readonly protocol: 'grpc'
  readonly status: number
  readonly message: string
  /** The `grpc-status-details-bin` trailer, as it came (base64). */
  readonly detailsBin: string | undefined
  /** The response message without its five bytes; undefined where none came (Trailers-Only). */
  readonly body: Uint8Array | undefined
  /** Content coding of the body; undefined for none. */
  readonly encoding: string | undefined
  /** Metadata that travels back: not pseudo, not hop-by-hop, not the fields above. */
  readonly headers: Readonly<Record<string, string | string[]>>
  readonly trailers: Readonly<Record<string, string | string[]>>
}

/** An answer that came over HTTP. */
export interface HttpAnswer {
  readonly protocol: 'http'
  readonly status: number
  readonly contentType: string | undefined
  readonly encoding: string | undefined
  readonly retryAfter: string | undefined
  readonly body: Uint8Array
}

export type CollectorAnswer = GrpcAnswer | HttpAnswer

/** The internal collector. */
export interface Collector extends Destination {
  /** Whether a message in this format can be delivered at all with the addresses configured. */
  accepts(format: Format): boolean
  /**
   * Sends one export. Resolves with whatever the collector answered, good or bad; throws a `Fault`
   * where there was no answer, and passes on what `parcel.body.stream()` throws.
   */
  send(parcel: Parcel, permit: Permit): Promise<CollectorAnswer>
}
