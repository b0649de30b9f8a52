/** OTLP/gRPC: reads what a call asks for, and answers in gRPC's words. */
import { SIGNALS, type Signal, signalFromGrpcPath } from '../otlp/signal.ts'
import type { Arrival, Peer } from '../pipeline/arrival.ts'
import type { Refusal } from '../pipeline/outcome.ts'
import type { CollectorAnswer } from '../pipeline/parcel.ts'
import { grpcFromHttp } from './answers.ts'
import type { Call, OutgoingFields } from './call.ts'
import type { Dialect, Shape } from './exchange.ts'
import { parseGrpcTimeout } from './grpc-timeout.ts'
import { ENCODINGS, first, mediaType, parseEncoding } from './headers.ts'
import { encodeRetryInfo, encodeRpcStatus } from './rpc-status.ts'
import { retryAfterSeconds, wireOf, wordsOf } from './wire.ts'

const CONTENT_TYPE = 'application/grpc'
const ACCEPTED_ENCODINGS = ['identity', ...ENCODINGS].join(',')

/** Whether a request means to speak gRPC: its content type begins with application/grpc. */
export function isGrpc(contentType: string | undefined): boolean {
  return contentType?.startsWith(CONTENT_TYPE) ?? false
}

/** Reads a gRPC call's headers. What is wrong with them becomes the arrival's flaw. */
export function readGrpc(
  call: Call,
  peer: Peer,
  nowMs: number,
): { arrival: Arrival; shape: Shape } {
  const { headers } = call
  const signal = signalFromGrpcPath(call.target)
  const encoding = parseEncoding(first(headers, 'grpc-encoding'))
  const timeoutMs = parseGrpcTimeout(first(headers, 'grpc-timeout'))
  return {
    arrival: {
      protocol: 'grpc',
      signal: signal ?? 'none',
      peer,
      authorization: first(headers, 'authorization'),
      userAgent: first(headers, 'user-agent'),
      deadlineMs: timeoutMs === undefined ? Number.POSITIVE_INFINITY : nowMs + timeoutMs,
      flaw: flawOf(call, signal, encoding === 'unsupported'),
    },
    shape: {
      format: 'protobuf',
      encoding: encoding === 'unsupported' ? undefined : encoding,
      lengthBytes: undefined,
      acceptEncoding: first(headers, 'grpc-accept-encoding'),
    },
  }
}

function flawOf(
  call: Call,
  signal: Signal | undefined,
  isUnsupported: boolean,
): Refusal | undefined {
  if (call.method !== 'POST') return { reason: 'bad_method' }
  if (signal === undefined) {
    return {
      reason: 'unknown_path',
      detail: `gRPC methods are the Export of ${SIGNALS.join(', ')}`,
    }
  }
  const type = mediaType(first(call.headers, 'content-type'))
  if (type !== CONTENT_TYPE && type !== `${CONTENT_TYPE}+proto`) {
    return { reason: 'bad_content_type', detail: `${CONTENT_TYPE} and ${CONTENT_TYPE}+proto are` }
  }
  if (isUnsupported)
    return { reason: 'unsupported_encoding', detail: `use one of ${ACCEPTED_ENCODINGS}` }
  return undefined
}

/** Answers as gRPC over HTTP/2 asks; every error is Trailers-Only, or Java's exporter does not retry it. */
export const grpcDialect: Dialect = {
  isGrpc: true,

  answer(call: Call, _shape: Shape, answer: CollectorAnswer): number {
    const { status, message, detailsBin, body, encoding, headers, trailers } =
      answer.protocol === 'grpc' ? answer : grpcFromHttp(answer)
    const end: Record<string, string | string[]> = { ...trailers, 'grpc-status': String(status) }
    if (message !== '') end['grpc-message'] = encodeGrpcMessage(message)
    if (detailsBin !== undefined) end['grpc-status-details-bin'] = detailsBin
    const start: OutgoingFields = { ...headers, 'content-type': CONTENT_TYPE }
    if (body === undefined) {
      call.answer(200, { ...start, ...end })
      return 0
    }
    const framed = Buffer.allocUnsafe(5 + body.length)
    framed.writeUInt8(encoding === undefined ? 0 : 1, 0)
    framed.writeUInt32BE(body.length, 1)
    framed.set(body, 5)
    call.answer(
      200,
      encoding === undefined ? start : { ...start, 'grpc-encoding': encoding },
      framed,
      end,
    )
    return body.length
  },

  refuse(call: Call, _shape: Shape, _arrival: Arrival, refusal: Refusal): number {
    const { grpc: code, closes } = wireOf(refusal.reason)
    const message = wordsOf(refusal)
    const seconds = retryAfterSeconds(refusal)
    const status = encodeRpcStatus({ code, message, retryAfterSeconds: seconds })
    const fields: Record<string, string> = {
      'content-type': CONTENT_TYPE,
      'grpc-status': String(code),
      'grpc-message': encodeGrpcMessage(message),
      'grpc-status-details-bin': binary(status),
    }
    // Python's exporter reads the hint here and nowhere else.
    if (seconds !== undefined) fields['google.rpc.retryinfo-bin'] = binary(encodeRetryInfo(seconds))
    if (refusal.reason === 'unsupported_encoding')
      fields['grpc-accept-encoding'] = ACCEPTED_ENCODINGS
    if (closes) fields.connection = 'close'
    call.answer(200, fields)
    return 0
  },
}

/** Binary metadata travels as base64 without padding. */
function binary(bytes: Buffer): string {
  return bytes.toString('base64').replace(/=+$/, '')
}

/** Percent-encodes what is not printable ASCII: gRPC over HTTP/2, "Status-Message". */
export function encodeGrpcMessage(message: string): string {
  return message.replace(/[^ -$&-~]+/g, (part) =>
    Buffer.from(part).reduce(
      (text, byte) => `${text}%${byte.toString(16).toUpperCase().padStart(2, '0')}`,
      '',
    ),
  )
}
