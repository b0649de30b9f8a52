/** Reads an answer that came over gRPC (grpc/grpc doc/PROTOCOL-HTTP2.md, "Responses"). */
import { gunzipSync } from 'node:zlib'
import type { Fields } from '../http2/request-fields.ts'
import type { Fault } from '../pipeline/fault.ts'
import type { GrpcAnswer } from '../pipeline/parcel.ts'
import { collectorUnavailable } from './fault.ts'

/** One byte says whether the message is compressed, four say how long it is. */
export const PREFIX_BYTES = 5

const UNAVAILABLE = 14
const UNKNOWN = 2
const RESOURCE_EXHAUSTED = 8

/**
 * Status of an answer without `grpc-status`, from its HTTP status: doc/http-grpc-status-mapping.md,
 * except that other 5xx are UNAVAILABLE instead of UNKNOWN. They speak of the collector and not of
 * the data, and exporters throw data away on UNKNOWN.
 */
const STATUS_OF_HTTP: Readonly<Record<number, number>> = {
  400: 13,
  401: 16,
  403: 7,
  404: 12,
  429: UNAVAILABLE,
  431: 13,
}

/** Fields that are ours to write or that end at this hop. */
const NOT_METADATA: ReadonlySet<string> = new Set([
  'connection',
  'content-length',
  'content-type',
  'date',
  'grpc-accept-encoding',
  'grpc-encoding',
  'grpc-message',
  'grpc-status',
  'grpc-status-details-bin',
  'keep-alive',
  'proxy-authenticate',
  'proxy-connection',
  'server',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
])

/** What arrived on the stream. */
export interface Received {
  readonly headers: Fields
  /** Undefined where the headers ended the stream (Trailers-Only), or none came. */
  readonly trailers: Fields | undefined
  readonly data: readonly Buffer[]
  /** Whether the client takes a gzip answer; otherwise it is unpacked here. */
  readonly acceptsGzip: boolean
  readonly maxAnswerBytes: number
}

/** The answer, or a `Fault` where what arrived does not say how the call ended. */
export function readAnswer(received: Received): GrpcAnswer | Fault {
  const { headers, trailers, data } = received
  const ending = trailers ?? headers
  const httpStatus = Number(headers[':status'])
  const grpcStatus = ending['grpc-status']
  if (grpcStatus === undefined) {
    if (httpStatus === 200)
      return collectorUnavailable(false, 'the collector ended its answer without a status')
    const status = STATUS_OF_HTTP[httpStatus] ?? (httpStatus >= 500 ? UNAVAILABLE : UNKNOWN)
    return failed(status, `the collector answered HTTP ${httpStatus} without a gRPC status`)
  }
  const message = readMessage(data, headers['grpc-encoding'], received)
  if (message === undefined)
    return collectorUnavailable(false, "the collector's answer is not one gRPC message")
  return {
    protocol: 'grpc',
    status: /^\d{1,9}$/.test(grpcStatus.toString()) ? Number(grpcStatus) : UNKNOWN,
    message: percentDecoded(text(ending['grpc-message']) ?? ''),
    detailsBin: text(ending['grpc-status-details-bin']),
    ...message,
    headers: trailers === undefined ? {} : metadata(headers),
    trailers: metadata(ending),
  }
}

/** An answer beyond the size limit: not to be sent again (OTLP/gRPC Response). */
export function tooLargeAnswer(maxAnswerBytes: number): GrpcAnswer {
  return failed(
    RESOURCE_EXHAUSTED,
    `the collector's answer is longer than ${maxAnswerBytes} bytes; it may have taken the data`,
  )
}

function failed(status: number, message: string): GrpcAnswer {
  return {
    protocol: 'grpc',
    status,
    message,
    detailsBin: undefined,
    body: undefined,
    encoding: undefined,
    headers: {},
    trailers: {},
  }
}

function readMessage(
  data: readonly Buffer[],
  grpcEncoding: string | readonly string[] | undefined,
  { acceptsGzip, maxAnswerBytes }: Received,
): Pick<GrpcAnswer, 'body' | 'encoding'> | undefined {
  const first = data[0]
  if (first === undefined) return { body: undefined, encoding: undefined }
  const bytes = data.length === 1 ? first : Buffer.concat(data)
  if (bytes.length < PREFIX_BYTES || bytes.readUInt32BE(1) !== bytes.length - PREFIX_BYTES)
    return undefined
  const body = bytes.subarray(PREFIX_BYTES)
  if (bytes[0] === 0) return { body, encoding: undefined }
  const encoding = text(grpcEncoding)
  if (encoding === undefined || encoding === 'identity') return undefined
  if (encoding !== 'gzip' || acceptsGzip) return { body, encoding }
  try {
    return {
      body: gunzipSync(body, { maxOutputLength: maxAnswerBytes }),
      encoding: undefined,
    }
  } catch {
    return undefined
  }
}

type Metadata = Readonly<Record<string, string | string[]>>

/** Where it is kept: connections give equal sections as one object, which is looked through once. */
const METADATA = Symbol('metadata')

function metadata(fields: Fields): Metadata {
  const kept = fields as { [METADATA]?: Metadata }
  kept[METADATA] ??= metadataOf(fields)
  return kept[METADATA]
}

function metadataOf(fields: Fields): Metadata {
  const kept: Record<string, string | string[]> = {}
  for (const name of Object.keys(fields)) {
    const value = fields[name]
    if (value === undefined || name.startsWith(':') || NOT_METADATA.has(name)) continue
    kept[name] = typeof value === 'string' ? value : [...value]
  }
  return kept
}

function text(value: string | readonly string[] | undefined): string | undefined {
  return typeof value === 'object' ? value.join(',') : value
}

/** `grpc-message` is percent-encoded UTF-8; what is not encoded properly stays as it is. */
function percentDecoded(value: string): string {
  if (!value.includes('%')) return value
  try {
    return decodeURIComponent(value)
  } catch {
    return value
  }
}
