/** OTLP/gRPC: reads what a call asks for, and answers in gRPC's words. */
import { SIGNALS, type Signal, signalFromGrpcPath } from '../otlp/signal.ts'
import type { Arrival, ClientCertificate, Peer } from '../pipeline/arrival.ts'
import type { Refusal } from '../pipeline/outcome.ts'
import type { CollectorAnswer, GrpcAnswer } from '../pipeline/parcel.ts'
import { grpcFromHttp } from './answers.ts'
import type { Call, OutgoingFields } from './call.ts'
import type { Dialect, Shape } from './exchange.ts'
import { parseGrpcTimeout } from './grpc-timeout.ts'
import { ENCODINGS, first, mediaType, parseEncoding } from './headers.ts'
import { MadeOnce } from './made-once.ts'
import { encodeRetryInfo, encodeRpcStatus } from './rpc-status.ts'
import { GRPC, retryAfterSeconds, wireOf, wordsOf } from './wire.ts'

const CONTENT_TYPE = 'application/grpc'
const ACCEPTED_ENCODINGS = ['identity', ...ENCODINGS].join(',')

/** Whether a request means to speak gRPC: its content type begins with application/grpc. */
export function isGrpc(contentType: string | undefined): boolean {
  return contentType?.startsWith(CONTENT_TYPE) ?? false
}

/** What a header section asks for, whoever sends it and whenever. */
interface Reading {
  readonly fixed: Pick<Arrival, 'protocol' | 'signal' | 'authorization' | 'userAgent' | 'flaw'>
  readonly timeoutMs: number | undefined
  readonly shape: Shape
}

/** Where a reading is kept: connections give equal header sections as one object, which is read once. */
const READING = Symbol('reading')

/** Reads a gRPC call's headers. What is wrong with them becomes the arrival's flaw. */
export function readGrpc(
  call: Call,
  peer: Peer,
  nowMs: number,
  certificate?: ClientCertificate,
): { arrival: Arrival; shape: Shape } {
  const kept = call.headers as { [READING]?: Reading }
  kept[READING] ??= readHeaders(call)
  const reading = kept[READING]
  const { fixed, timeoutMs, shape } = reading
  const deadlineMs = timeoutMs === undefined ? Number.POSITIVE_INFINITY : nowMs + timeoutMs
  const { protocol, signal, authorization, userAgent, flaw } = fixed
  return {
    arrival: { protocol, signal, peer, authorization, certificate, userAgent, deadlineMs, flaw },
    shape,
  }
}

function readHeaders(call: Call): Reading {
  const { headers } = call
  const signal = signalFromGrpcPath(call.target)
  const encoding = parseEncoding(first(headers, 'grpc-encoding'))
  return {
    fixed: {
      protocol: 'grpc',
      signal: signal ?? 'none',
      authorization: first(headers, 'authorization'),
      userAgent: first(headers, 'user-agent'),
      flaw: flawOf(call, signal, encoding === 'unsupported'),
    },
    timeoutMs: parseGrpcTimeout(first(headers, 'grpc-timeout')),
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
    const said = answer.protocol === 'grpc' ? answer : grpcFromHttp(answer)
    const { status, message, detailsBin, body, encoding, headers, trailers } = said
    const end =
      status === GRPC.OK && message === '' && detailsBin === undefined && isEmpty(trailers)
        ? END_OK
        : endOf(said)
    const start = isEmpty(headers) ? START : { ...headers, 'content-type': CONTENT_TYPE }
    if (body === undefined) {
      call.answer(200, { ...start, ...end })
      return 0
    }
    const isPlain = encoding === undefined
    const fields = isPlain ? start : { ...start, 'grpc-encoding': encoding }
    call.answer(200, fields, framed(body, isPlain), end)
    return body.length
  },

  refuse(call: Call, _shape: Shape, _arrival: Arrival, refusal: Refusal, isLate: boolean): number {
    call.answer(200, refusalFields(refusal, codeOf(refusal, isLate)))
    return 0
  },
}

/** What most answers begin and end with: the same objects each time, so that they are encoded once. */
const START: OutgoingFields = { 'content-type': CONTENT_TYPE }
const END_OK: OutgoingFields = { 'grpc-status': '0' }
const EMPTY_MESSAGE = Buffer.alloc(5)

function endOf({ status, message, detailsBin, trailers }: GrpcAnswer): OutgoingFields {
  const end: Record<string, string | string[]> = { ...trailers, 'grpc-status': String(status) }
  if (message !== '') end['grpc-message'] = encodeGrpcMessage(message)
  if (detailsBin !== undefined) end['grpc-status-details-bin'] = detailsBin
  return end
}

/** The message behind its five bytes: gRPC over HTTP/2, "Length-Prefixed-Message". */
function framed(body: Uint8Array, isPlain: boolean): Uint8Array {
  if (body.length === 0 && isPlain) return EMPTY_MESSAGE
  const bytes = Buffer.allocUnsafe(5 + body.length)
  bytes.writeUInt8(isPlain ? 0 : 1, 0)
  bytes.writeUInt32BE(body.length, 1)
  bytes.set(body, 5)
  return bytes
}

/** Our answer at the client's deadline races with its own timer; it is to see the same code of both. */
function codeOf({ reason }: Refusal, isLate: boolean): number {
  return isLate && reason === 'collector_timeout' ? GRPC.DEADLINE_EXCEEDED : wireOf(reason).grpc
}

const refusals = new MadeOnce<OutgoingFields>()

/** The Trailers-Only section of a refusal. */
function refusalFields(refusal: Refusal, code: number): OutgoingFields {
  const seconds = retryAfterSeconds(refusal)
  const key = `${refusal.reason} ${code} ${seconds} ${refusal.detail}`
  return refusals.of(key, () => makeRefusalFields(refusal, code, seconds))
}

function makeRefusalFields(
  refusal: Refusal,
  code: number,
  seconds: number | undefined,
): OutgoingFields {
  const { closes } = wireOf(refusal.reason)
  const message = wordsOf(refusal)
  const status = encodeRpcStatus({ code, message, retryAfterSeconds: seconds })
  const fields: Record<string, string> = {
    'content-type': CONTENT_TYPE,
    'grpc-status': String(code),
    'grpc-message': encodeGrpcMessage(message),
    'grpc-status-details-bin': binary(status),
  }
  // Python's exporter reads the hint here and nowhere else.
  if (seconds !== undefined) fields['google.rpc.retryinfo-bin'] = binary(encodeRetryInfo(seconds))
  if (refusal.reason === 'unsupported_encoding') fields['grpc-accept-encoding'] = ACCEPTED_ENCODINGS
  if (closes) fields.connection = 'close'
  return fields
}

function isEmpty(fields: object): boolean {
  for (const _ in fields) return false
  return true
}

/** Binary metadata travels as base64 without padding. */
function binary(bytes: Buffer): string {
  return bytes.toString('base64').replace(/=+$/, '')
}

/**
 * Percent-encodes what is not printable ASCII: gRPC over HTTP/2, "Status-Message". Spaces at the ends
 * too: a field value may not have them (RFC 9113 section 8.2.1).
 */
export function encodeGrpcMessage(message: string): string {
  return message.replace(/[^ -$&-~]+|^ +| +$/g, (part) =>
    Buffer.from(part).reduce(
      (text, byte) => `${text}%${byte.toString(16).toUpperCase().padStart(2, '0')}`,
      '',
    ),
  )
}
