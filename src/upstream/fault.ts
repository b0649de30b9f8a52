/**
 * The one place that knows what errors of Node and of undici mean: as a `Fault` for the request,
 * and in words for the operator. Nothing here reaches the wire.
 */
import { BodyRefused, Fault } from '../pipeline/fault.ts'

const WORDS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'connection refused',
  ECONNRESET: 'connection reset',
  EPIPE: 'connection closed by the other side',
  ETIMEDOUT: 'no answer in time',
  EHOSTUNREACH: 'no route to the host',
  ENETUNREACH: 'no route to the network',
  ENOTFOUND: 'the name does not resolve',
  EAI_AGAIN: 'the name does not resolve (name server not reachable)',
  ERR_TLS_CERT_ALTNAME_INVALID: 'its certificate is for another name',
  CERT_HAS_EXPIRED: 'its certificate has expired',
  CERT_NOT_YET_VALID: 'its certificate is not valid yet',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'its certificate is signed by nobody we trust',
  SELF_SIGNED_CERT_IN_CHAIN: 'its certificate is signed by nobody we trust',
  UNABLE_TO_GET_ISSUER_CERT: 'its certificate is signed by nobody we trust',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'its certificate is signed by nobody we trust',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'its certificate is signed by nobody we trust',
  ERR_SSL_WRONG_VERSION_NUMBER: 'it does not speak TLS',
  ERR_SSL_PACKET_LENGTH_TOO_LONG: 'it does not speak TLS',
  ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL: 'it does not speak HTTP/2',
  ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED: 'it asks for a client certificate',
  ERR_HTTP2_ERROR: 'it does not speak HTTP/2',
  UND_ERR_CONNECT_TIMEOUT: 'no answer in time',
  UND_ERR_HEADERS_TIMEOUT: 'no answer in time',
  UND_ERR_BODY_TIMEOUT: 'no answer in time',
  UND_ERR_SOCKET: 'connection closed by the other side',
}

/** What an error says about the collector, in a few words for a log line or a status page. */
export function wordsOf(thrown: unknown): string {
  for (let error = thrown; error instanceof Error; error = inner(error)) {
    const code = codeOf(error)
    const words = code === undefined ? undefined : WORDS[code]
    if (words !== undefined) return words
    if (inner(error) === undefined) return code ?? error.message
  }
  return 'unknown error'
}

/** The collector could not be reached, or was lost. `canSendAgain`: it has processed nothing of it. */
export function collectorUnavailable(
  canSendAgain: boolean,
  message: string,
  cause?: unknown,
): Fault {
  return new Fault('collector_unavailable', 'collector', { canSendAgain, message, cause })
}

/** The collector did not answer before our time limit or the client's. */
export function collectorTimeout(message: string): Fault {
  return new Fault('collector_timeout', 'collector', { message })
}

/** The client went away before the answer. */
export function clientGone(): Fault {
  return new Fault('client_gone', 'client', { message: 'the client went away' })
}

/**
 * Any thrown value as what `Collector.send` throws: faults and refusals of the body pass unchanged,
 * the rest is the loss of the connection to the collector. A TypeError or RangeError is our own bug.
 */
export function faultFrom(thrown: unknown, canSendAgain: boolean): Error {
  if (thrown instanceof Fault || thrown instanceof BodyRefused) return thrown
  if (isOurBug(thrown)) {
    return new Fault('internal', 'gateway', {
      cause: thrown,
      message: 'BUG: the request could not be written down for the collector',
    })
  }
  return collectorUnavailable(canSendAgain, `the collector: ${wordsOf(thrown)}`, thrown)
}

/** Node reports misuse of its interfaces as TypeError; what the network does never is one. */
function isOurBug(thrown: unknown): boolean {
  if (thrown instanceof TypeError || thrown instanceof RangeError) return true
  const code = thrown instanceof Error ? codeOf(thrown) : undefined
  return code === 'UND_ERR_INVALID_ARG' || code === 'UND_ERR_REQ_CONTENT_LENGTH_MISMATCH'
}

function codeOf(error: Error): string | undefined {
  const { code } = error as NodeJS.ErrnoException
  return typeof code === 'string' ? code : undefined
}

/** The error behind an error; the first of several attempts at one name. */
function inner(error: Error): unknown {
  if (error instanceof AggregateError && error.errors.length > 0) return error.errors[0]
  return error.cause
}
