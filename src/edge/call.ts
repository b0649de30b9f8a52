/**
 * What an edge needs of the HTTP engine below it: one request and the means to answer it. The seam
 * is narrow so that the engine can be replaced.
 */

/** Header fields as both engines give them: lower-case names. */
export type Headers = Readonly<Record<string, string | readonly string[] | undefined>>

/** Who reads a body. */
export interface BodySink {
  chunk(bytes: Uint8Array): void
  end(): void
  /** The client went away, or the engine gave up on it, before the end. */
  failed(cause: unknown): void
}

/** A request body. Not a byte is read before `start`. */
export interface Body {
  start(sink: BodySink): void
  /** Stops the flow after what is under way; the client's window closes. */
  pause(): void
  resume(): void
}

/** One request. */
export interface Call {
  readonly httpVersion: 1 | 2
  readonly method: string
  /** The request target as sent, query included. */
  readonly target: string
  readonly headers: Headers
  readonly body: Body
  /** Whether an answer has begun. */
  readonly isAnswered: boolean
  /**
   * Sends the whole answer: one header block, the body if any, and the trailers if any. Without body
   * and trailers the stream ends on the header block. What is left of the request body is not read:
   * the stream is reset without error, or the connection closed.
   */
  answer(
    status: number,
    headers: OutgoingFields,
    body?: Uint8Array,
    trailers?: OutgoingFields,
  ): void
  /** Ends the call without an answer. */
  abandon(): void
  /** Calls back once if the client goes away before it is answered; at once if it has already. */
  onGone(listener: () => void): void
}

/** Header fields or trailers to send: lower-case names. */
export type OutgoingFields = Readonly<Record<string, string | string[]>>
