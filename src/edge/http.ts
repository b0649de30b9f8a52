/** OTLP/HTTP: reads what a request asks for, and answers in its own encoding. */
import {
  HTTP_PATHS,
  SIGNALS,
  type Signal,
  signalFromGrpcPath,
  signalFromHttpPath,
} from '../otlp/signal.ts'
import type { Arrival, ClientCertificate, Peer } from '../pipeline/arrival.ts'
import type { Refusal } from '../pipeline/outcome.ts'
import type { Collector, CollectorAnswer, Format, HttpAnswer } from '../pipeline/parcel.ts'
import { httpFromGrpc, rpcStatusOfHttp } from './answers.ts'
import type { Call, OutgoingFields } from './call.ts'
import type { Dialect, Shape } from './exchange.ts'
import { contentLength, ENCODINGS, first, mediaType, parseEncoding } from './headers.ts'
import { tooLargeRefusal } from './intake.ts'
import { MadeOnce } from './made-once.ts'
import { encodeRpcStatus, type RpcStatus, rpcStatusToJson } from './rpc-status.ts'
import { httpStatusFor, retryAfterSeconds, wireOf, wordsOf } from './wire.ts'

/** Exactly these, without parameters: Go's exporter and the Collector compare letter by letter. */
const CONTENT_TYPES = {
  protobuf: 'application/x-protobuf',
  json: 'application/json',
} as const satisfies Record<Format, string>
const PATHS = SIGNALS.map((signal) => HTTP_PATHS[signal]).join(', ')

export interface HttpReading {
  readonly collector: Collector
  readonly maxBodyBytes: number
  readonly certificate?: ClientCertificate | undefined
}

/** Reads an OTLP/HTTP request's headers. What is wrong with them becomes the arrival's flaw. */
export function readHttp(
  call: Call,
  peer: Peer,
  reading: HttpReading,
): { arrival: Arrival; shape: Shape } {
  const { headers, target } = call
  const query = target.indexOf('?')
  const path = query < 0 ? target : target.slice(0, query)
  const signal = signalFromHttpPath(path)
  const type = mediaType(first(headers, 'content-type'))
  const encoding = parseEncoding(first(headers, 'content-encoding'))
  const shape: Shape = {
    format: type === CONTENT_TYPES.protobuf ? 'protobuf' : 'json',
    encoding: encoding === 'unsupported' ? undefined : encoding,
    lengthBytes: contentLength(headers),
    acceptEncoding: first(headers, 'accept-encoding'),
  }
  return {
    arrival: {
      protocol: 'http',
      signal: signal ?? 'none',
      peer,
      authorization: first(headers, 'authorization'),
      certificate: reading.certificate,
      userAgent: first(headers, 'user-agent'),
      deadlineMs: Number.POSITIVE_INFINITY,
      flaw: flawOf(call, signal, type, encoding === 'unsupported', shape, reading),
    },
    shape,
  }
}

function flawOf(
  call: Call,
  signal: Signal | undefined,
  type: string,
  isUnsupported: boolean,
  { lengthBytes }: Shape,
  { collector, maxBodyBytes }: HttpReading,
): Refusal | undefined {
  // gRPC over HTTP/2, "Requests": 415 where the content type is another.
  if (signalFromGrpcPath(call.target) !== undefined) {
    return { reason: 'bad_content_type', detail: 'gRPC is application/grpc over HTTP/2' }
  }
  if (signal === undefined) return { reason: 'unknown_path', detail: `use one of ${PATHS}` }
  if (call.method !== 'POST') return { reason: 'bad_method' }
  if (type !== CONTENT_TYPES.protobuf && type !== CONTENT_TYPES.json) {
    return {
      reason: 'bad_content_type',
      detail: `use ${CONTENT_TYPES.protobuf} or ${CONTENT_TYPES.json}`,
    }
  }
  if (type === CONTENT_TYPES.json && !collector.accepts('json')) {
    return {
      reason: 'bad_content_type',
      detail: `the collector behind this gateway takes ${CONTENT_TYPES.protobuf} only`,
    }
  }
  if (isUnsupported) {
    return {
      reason: 'unsupported_encoding',
      detail: `use one of identity, ${ENCODINGS.join(', ')}`,
    }
  }
  return lengthBytes !== undefined && lengthBytes > maxBodyBytes
    ? tooLargeRefusal(maxBodyBytes)
    : undefined
}

/** Answers as OTLP/HTTP asks: the request's own content type, and a google.rpc.Status for every error. */
export const httpDialect: Dialect = {
  isGrpc: false,

  answer(call: Call, { format }: Shape, given: CollectorAnswer): number {
    const answer = given.protocol === 'http' ? given : httpFromGrpc(given)
    const { status, contentType, encoding, retryAfter } = answer
    const isOurs = status < 300 || (status >= 400 && contentType === CONTENT_TYPES[format])
    const body = isOurs ? answer.body : statusBody(rpcStatusOfHttp(answer), format)
    const fields: Record<string, string> = { 'content-type': CONTENT_TYPES[format] }
    if (isOurs && encoding !== undefined) fields['content-encoding'] = encoding
    if (retryAfter !== undefined) fields['retry-after'] = retryAfter
    call.answer(statusFor(answer), fields, body)
    return body.length
  },

  refuse(call: Call, { format }: Shape, { userAgent }: Arrival, refusal: Refusal): number {
    const { fields, body } = refusalIn(format, refusal)
    call.answer(httpStatusFor(refusal.reason, userAgent), fields, body)
    return body.length
  },
}

interface RefusalAnswer {
  readonly fields: OutgoingFields
  readonly body: Buffer
}

const refusals = new MadeOnce<RefusalAnswer>()

/** The fields and the body of a refusal. */
function refusalIn(format: Format, refusal: Refusal): RefusalAnswer {
  const seconds = retryAfterSeconds(refusal)
  const key = `${format} ${refusal.reason} ${seconds} ${refusal.detail}`
  return refusals.of(key, () => makeRefusal(format, refusal, seconds))
}

function makeRefusal(format: Format, refusal: Refusal, seconds: number | undefined): RefusalAnswer {
  const { reason } = refusal
  const { grpc: code, http: status, closes } = wireOf(reason)
  const message = wordsOf(refusal)
  const violation = reason === 'malformed' ? { field: 'body', description: message } : undefined
  const body = statusBody({ code, message, retryAfterSeconds: seconds, violation }, format)
  const fields: Record<string, string> = { 'content-type': CONTENT_TYPES[format] }
  if (seconds !== undefined) fields['retry-after'] = String(seconds)
  if (status === 401) fields['www-authenticate'] = 'Bearer realm="otlp"'
  if (reason === 'bad_method') fields.allow = 'POST'
  if (closes) fields.connection = 'close'
  return { fields, body }
}

/** A redirect must never reach a client: some count it as success. */
function statusFor({ status }: HttpAnswer): number {
  return status >= 300 && status < 400 ? 503 : status
}

function statusBody(status: RpcStatus, format: Format): Buffer {
  return format === 'protobuf' ? encodeRpcStatus(status) : rpcStatusToJson(status)
}
