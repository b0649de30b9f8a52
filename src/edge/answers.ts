/**
 * The collector's answer in the other protocol's words, where request and collector differ.
 * Mappings: OTLP "Failures" of both transports, and what the Collector's own receiver does.
 */
import type { GrpcAnswer, HttpAnswer } from '../pipeline/parcel.ts'
import { decodeRpcStatus, encodeRpcStatus, type RpcStatus } from './rpc-status.ts'
import { GRPC } from './wire.ts'

const HTTP_OF_GRPC: Readonly<Record<number, number>> = {
  [GRPC.CANCELLED]: 503,
  [GRPC.INVALID_ARGUMENT]: 400,
  [GRPC.DEADLINE_EXCEEDED]: 503,
  [GRPC.PERMISSION_DENIED]: 403,
  [GRPC.RESOURCE_EXHAUSTED]: 429,
  [GRPC.ABORTED]: 503,
  [GRPC.OUT_OF_RANGE]: 503,
  [GRPC.UNIMPLEMENTED]: 404,
  [GRPC.UNAVAILABLE]: 503,
  [GRPC.DATA_LOSS]: 503,
  [GRPC.UNAUTHENTICATED]: 401,
}

const GRPC_OF_HTTP: Readonly<Record<number, number>> = {
  400: GRPC.INVALID_ARGUMENT,
  401: GRPC.UNAUTHENTICATED,
  403: GRPC.PERMISSION_DENIED,
  404: GRPC.UNIMPLEMENTED,
  413: GRPC.RESOURCE_EXHAUSTED,
  429: GRPC.RESOURCE_EXHAUSTED,
  502: GRPC.UNAVAILABLE,
  503: GRPC.UNAVAILABLE,
  504: GRPC.UNAVAILABLE,
}

const EMPTY = Buffer.alloc(0)

/** An answer that came over gRPC, for an OTLP/HTTP client that speaks protobuf. */
export function httpFromGrpc(answer: GrpcAnswer): HttpAnswer {
  const { status: code, message, detailsBin, body, encoding } = answer
  const common = { protocol: 'http', contentType: 'application/x-protobuf' } as const
  if (code === GRPC.OK)
    return { ...common, status: 200, encoding, retryAfter: undefined, body: body ?? EMPTY }
  const details = detailsBin === undefined ? undefined : Buffer.from(detailsBin, 'base64')
  const retryAfterSeconds = details && decodeRpcStatus(details)?.retryAfterSeconds
  const status = HTTP_OF_GRPC[code] ?? 500
  return {
    ...common,
    status,
    encoding: undefined,
    // Zero would make the JavaScript exporter come back at once.
    retryAfter:
      retryAfterSeconds === undefined ? undefined : String(Math.max(1, retryAfterSeconds)),
    body: details ?? encodeRpcStatus({ code, message }),
  }
}

/** An answer that came over HTTP, for a gRPC client. */
export function grpcFromHttp(answer: HttpAnswer): GrpcAnswer {
  const common = { protocol: 'grpc', headers: {}, trailers: {} } as const
  if (answer.status >= 200 && answer.status < 300) {
    const { body, encoding } = answer
    return { ...common, status: GRPC.OK, message: '', detailsBin: undefined, body, encoding }
  }
  const status = rpcStatusOfHttp(answer)
  const details = encodeRpcStatus(status).toString('base64')
  const { code, message } = status
  return {
    ...common,
    status: code,
    message,
    detailsBin: details,
    body: undefined,
    encoding: undefined,
  }
}

/** What a bad HTTP answer says, whatever its body is. */
export function rpcStatusOfHttp({ status, contentType, body, retryAfter }: HttpAnswer): RpcStatus {
  const said = contentType === 'application/x-protobuf' ? decodeRpcStatus(body) : undefined
  const seconds =
    retryAfter !== undefined && /^\d+$/.test(retryAfter) ? Number(retryAfter) : undefined
  return {
    code:
      said !== undefined && said.code > 0 && said.code <= 16
        ? said.code
        : (GRPC_OF_HTTP[status] ?? GRPC.INTERNAL),
    message: said?.message || `The collector answered with HTTP status ${status}.`,
    retryAfterSeconds: said?.retryAfterSeconds ?? seconds,
  }
}
