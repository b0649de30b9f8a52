/** What each reason looks like on the wire. One table: a reason without a row does not compile. */
import type { Reason, Refusal } from '../pipeline/outcome.ts'

/** gRPC status codes, by name. */
export const GRPC = {
  OK: 0,
  CANCELLED: 1,
  UNKNOWN: 2,
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  NOT_FOUND: 5,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  ABORTED: 10,
  OUT_OF_RANGE: 11,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  DATA_LOSS: 15,
  UNAUTHENTICATED: 16,
} as const

interface Row {
  readonly http: number
  readonly grpc: number
  /** Whether the client is told to come back (Retry-After, RetryInfo). */
  readonly retry: boolean
  /** What is wrong, in words. `Refusal.detail` is added behind a colon. */
  readonly words: string
  /** Whether the connection ends with the answer. */
  readonly closes?: true
}

export const WIRE = {
  banned: {
    http: 403,
    grpc: GRPC.PERMISSION_DENIED,
    retry: false,
    closes: true,
    words: 'This address is banned for a while after too many requests without a valid token',
  },
  rate_limited: {
    http: 429,
    grpc: GRPC.RESOURCE_EXHAUSTED,
    retry: true,
    words: 'Too many requests',
  },
  token_missing: {
    http: 401,
    grpc: GRPC.UNAUTHENTICATED,
    retry: false,
    words: 'A bearer token is needed: send "Authorization: Bearer <token>"',
  },
  token_unknown: {
    http: 401,
    grpc: GRPC.UNAUTHENTICATED,
    retry: false,
    words: 'This bearer token is not known here',
  },
  token_expired: {
    http: 401,
    grpc: GRPC.UNAUTHENTICATED,
    retry: false,
    words: 'This bearer token has expired or was revoked',
  },
  token_not_yet_valid: {
    http: 401,
    grpc: GRPC.UNAUTHENTICATED,
    retry: false,
    words: 'This bearer token is not valid yet',
  },
  tokens_unavailable: {
    http: 503,
    grpc: GRPC.UNAVAILABLE,
    retry: true,
    words: 'Tokens cannot be checked at the moment',
  },
  scope_denied: {
    http: 403,
    grpc: GRPC.PERMISSION_DENIED,
    retry: false,
    words: 'This bearer token may not do that',
  },
  certificate_unknown: {
    http: 401,
    grpc: GRPC.UNAUTHENTICATED,
    retry: false,
    words: 'No bearer token came, and this client certificate is not known here',
  },
  too_large: {
    http: 413,
    grpc: GRPC.RESOURCE_EXHAUSTED,
    retry: false,
    words: 'The message is too large',
  },
  malformed: {
    http: 400,
    grpc: GRPC.INVALID_ARGUMENT,
    retry: false,
    words: 'The request is malformed',
  },
  unknown_path: {
    http: 404,
    grpc: GRPC.UNIMPLEMENTED,
    retry: false,
    words: 'OTLP is not served here under this path',
  },
  bad_method: {
    http: 405,
    grpc: GRPC.UNIMPLEMENTED,
    retry: false,
    words: 'OTLP takes POST requests only',
  },
  bad_content_type: {
    http: 415,
    grpc: GRPC.UNIMPLEMENTED,
    retry: false,
    words: 'This content type is not taken here',
  },
  unsupported_encoding: {
    http: 415,
    grpc: GRPC.UNIMPLEMENTED,
    retry: false,
    words: 'This compression is not supported',
  },
  overloaded: {
    http: 503,
    grpc: GRPC.UNAVAILABLE,
    retry: true,
    words: 'Too much is under way at the moment',
  },
  draining: {
    http: 503,
    grpc: GRPC.UNAVAILABLE,
    retry: true,
    closes: true,
    words: 'The gateway is restarting',
  },
  collector_unavailable: {
    http: 503,
    grpc: GRPC.UNAVAILABLE,
    retry: true,
    words: 'The collector cannot be reached at the moment',
  },
  collector_timeout: {
    http: 504,
    grpc: GRPC.UNAVAILABLE,
    retry: true,
    words: 'The collector did not answer in time',
  },
  // Our bug must not make an agent throw its data away: 503 and UNAVAILABLE are retried.
  internal: { http: 503, grpc: GRPC.UNAVAILABLE, retry: true, words: 'The gateway failed' },
  client_gone: {
    http: 499,
    grpc: GRPC.CANCELLED,
    retry: false,
    closes: true,
    words: 'The client went away or sent too slowly',
  },
} as const satisfies Record<Reason, Row>

/** The row of a reason. */
export function wireOf(reason: Reason): Row {
  return WIRE[reason]
}

/** What is wrong, in words for the client's developer. */
export function wordsOf({ reason, detail }: Refusal): string {
  return detail === undefined ? `${WIRE[reason].words}.` : `${WIRE[reason].words}: ${detail}.`
}

/** SDKs give up on a hint beyond their export timeout, and hammer on 0: facts of OTLP exporters. */
const MIN_RETRY_SECONDS = 1
const MAX_RETRY_SECONDS = 5
/** Where we cannot know when it will be better. */
const DEFAULT_RETRY_SECONDS = 2

/** When the client is asked to come back, in whole seconds from 1 to 5; undefined where it should not. */
export function retryAfterSeconds({ reason, retryAfterMs }: Refusal): number | undefined {
  if (!WIRE[reason].retry) return undefined
  if (retryAfterMs === undefined || !Number.isFinite(retryAfterMs)) return DEFAULT_RETRY_SECONDS
  return Math.min(MAX_RETRY_SECONDS, Math.max(MIN_RETRY_SECONDS, Math.ceil(retryAfterMs / 1000)))
}

/**
 * OTLP/HTTP clients that throw data away on 429 although they keep it on 503, by User-Agent.
 * Python up to 1.44 retries 408 and 5xx only.
 */
const DROPS_ON_429: readonly RegExp[] = [
  /^OTel-OTLP-Exporter-Python\/(?:0\.|1\.(?:[0-3]?\d|4[0-4])(?:\D|$))/,
]

/** The HTTP status of a reason for this client. */
export function httpStatusFor(reason: Reason, userAgent: string | undefined): number {
  const { http } = WIRE[reason]
  if (http !== 429 || userAgent === undefined) return http
  return DROPS_ON_429.some((client) => client.test(userAgent)) ? 503 : http
}
