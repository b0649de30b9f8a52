import type { Signal } from '../otlp/signal.ts'
import type { Refusal } from './outcome.ts'

/** The wire protocol a request speaks: OTLP/gRPC or OTLP/HTTP. */
export type Protocol = 'grpc' | 'http'

/** Who is at the other end, as far as limits and bans go. */
export interface Peer {
  /** What budgets and bans are kept under: an IPv4 address, or the /64 of an IPv6 address. */
  readonly key: string
  /** The whole address in its normal form, for the log. IPv4-mapped IPv6 shows as IPv4. */
  readonly address: string
}

/** What is known of a request before anything is decided: its headers and where it came from. */
export interface Arrival {
  readonly protocol: Protocol
  /** `none` where the request names no signal (an unknown path). */
  readonly signal: Signal | 'none'
  readonly peer: Peer
  /** The value of the Authorization header, as it came. Never logged. */
  readonly authorization: string | undefined
  readonly userAgent: string | undefined
  /** Monotonic time at which the client stops waiting; Infinity where it did not say. */
  readonly deadlineMs: number
  /** What is wrong with the request whoever sent it (path, method, content type, encoding, declared size). */
  readonly flaw: Refusal | undefined
}
