/** What a scripted collector can be told to do, and what it tells of a request. */
import type { IncomingMessage } from 'node:http'
import type { IncomingHttpHeaders, OutgoingHttpHeaders } from 'node:http2'

/** What the collector does with a request. */
export type Behaviour =
  /** Reads all of it and accepts. */
  | {
      readonly kind: 'ok'
      /** Response message, without prefix; default empty. */
      readonly message?: Uint8Array
      /** Marks the message as compressed with this. */
      readonly encoding?: string
      readonly headers?: OutgoingHttpHeaders
      readonly trailers?: OutgoingHttpHeaders
      readonly delayMs?: number
    }
  /** Refuses: over gRPC with `status` (Trailers-Only unless told), over HTTP with `httpStatus`. */
  | {
      readonly kind: 'refuse'
      readonly status?: number
      readonly message?: string
      readonly detailsBin?: string
      readonly trailers?: OutgoingHttpHeaders
      readonly isTrailersOnly?: boolean
      /** Answers before reading the body. */
      readonly isEarly?: boolean
      readonly httpStatus?: number
      readonly body?: Uint8Array
      readonly headers?: OutgoingHttpHeaders
    }
  /** A plain HTTP answer on the gRPC port, as a proxy in between would give. */
  | { readonly kind: 'bare'; readonly httpStatus: number; readonly body?: string }
  /** Reads everything and never answers. */
  | { readonly kind: 'stall' }
  /** Does not read the body until `resumeReading()` is called, then accepts. */
  | { readonly kind: 'slow' }
  /** Resets the stream: at once, or after half an answer. Over HTTP: closes the connection. */
  | { readonly kind: 'reset'; readonly code?: number; readonly when: 'at-once' | 'mid-answer' }
  /** GOAWAY that disowns this stream and later ones (there must have been an earlier one), or takes it still. */
  | { readonly kind: 'goaway'; readonly takesThis: boolean; readonly code?: number }
  /** Reads everything, then the connection dies. */
  | { readonly kind: 'die' }

/** One request that reached the collector. */
export interface Reached {
  readonly protocol: 'grpc' | 'http'
  readonly path: string
  readonly headers: IncomingHttpHeaders | IncomingMessage['headers']
  /** Names and values as they came, in turn: fields that came twice are twice there. */
  readonly rawHeaders: readonly string[]
  /** What was read so far; over gRPC with the five bytes in front. */
  readonly bytes: () => Buffer
  /** All of it was read. */
  isComplete: boolean
  /** HTTP/2 code with which the other side cancelled it. */
  resetCode: number | undefined
}

/** Where the answering side gets its orders, and tells what it sees. */
export interface Stage {
  readonly reached: Reached[]
  next(): Behaviour
  paused(resume: () => void): void
  changed(): void
}
