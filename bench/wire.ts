/** What all loads have in common on the wire. */

export const GRPC_PATH = '/opentelemetry.proto.collector.trace.v1.TraceService/Export'
export const HTTP_PATH = '/v1/traces'

/**
 * All proxies are spoken to with this suite, and not with the one each prefers, so that the work on
 * a byte is the same.
 */
export const TLS_SUITE = 'TLS_AES_128_GCM_SHA256'
