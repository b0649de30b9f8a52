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

/** A client certificate that was verified in the handshake. Made once a connection. */
export interface ClientCertificate {
  /**
   * What the token set may know it by, the most exact first: `sha256:` with the fingerprint, `dns:`,
   * `uri:`, `email:`, `cn:`.
   */
  readonly names: readonly string[]
  /** Unix time at which it ends: connections may outlive it. */
  readonly notAfterMs: number
  /** Issuer and serial number, as CRLs name it. */
  readonly mark: string
}

/** What is known of a request before anything is decided: its headers and where it came from. */
export interface Arrival {
  readonly protocol: Protocol
  /** `none` where the request names no signal (an unknown path). */
  readonly signal: Signal | 'none'
  readonly peer: Peer
  /** The value of the Authorization header, as it came. Never logged. */
  readonly authorization: string | undefined
  /** The certificate that may stand in for a token; undefined where there is none, or none may. */
  readonly certificate?: ClientCertificate | undefined
  readonly userAgent: string | undefined
  /** Monotonic time at which the client stops waiting; Infinity where it did not say. */
  readonly deadlineMs: number
  /** What is wrong with the request whoever sent it (path, method, content type, encoding, declared size). */
  readonly flaw: Refusal | undefined
}
