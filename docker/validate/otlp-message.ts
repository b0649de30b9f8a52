/**
 * Export requests in protobuf with one item, by the field numbers of opentelemetry-proto. Written by
 * hand because the SDKs' serializers make no message that carries a mark of one's own on every item.
 */
import { randomBytes } from 'node:crypto'

/** Signals that are sent. */
export const SENT_SIGNALS = ['traces', 'metrics', 'logs'] as const
export type SentSignal = (typeof SENT_SIGNALS)[number]

/** The metric that is sent, as OTLP and as Prometheus call it. */
export const METRIC = 'tollgate.validate.value'
export const METRIC_IN_PROMETHEUS = 'tollgate_validate_value'

export interface Mark {
  /** Tells this run from others: the attribute `run`. */
  readonly run: string
  /** The attribute `way`. */
  readonly way: string
  /** `host.name` of the resource. */
  readonly device: string
}

/** An export request with one span, one point of a gauge with the value 1, or one log record. */
export function exportRequest(signal: SentSignal, mark: Mark, wallMs: number): Buffer {
  const item = { traces: span, metrics: gauge, logs: logRecord }[signal](mark, wallMs)
  const resource = Buffer.concat([
    attribute(1, 'service.name', 'tollgate-validate'),
    attribute(1, 'host.name', mark.device),
  ])
  const scope = bytes(1, text(1, 'tollgate-validate'))
  return bytes(1, bytes(1, resource), bytes(2, scope, bytes(2, item)))
}

function span(mark: Mark, wallMs: number): Buffer {
  return Buffer.concat([
    bytes(1, randomBytes(16)),
    bytes(2, randomBytes(8)),
    text(5, 'tollgate-validate'),
    varint(6, 1),
    fixed64(7, nanos(wallMs - 1)),
    fixed64(8, nanos(wallMs)),
    ...marks(9, mark),
  ])
}

function gauge(mark: Mark, wallMs: number): Buffer {
  const point = Buffer.concat([fixed64(3, nanos(wallMs)), fixed64(6, 1n), ...marks(7, mark)])
  return Buffer.concat([text(1, METRIC), bytes(5, bytes(1, point))])
}

function logRecord(mark: Mark, wallMs: number): Buffer {
  return Buffer.concat([
    fixed64(1, nanos(wallMs)),
    varint(2, 9),
    text(3, 'INFO'),
    bytes(5, text(1, 'Sent by the validation of Tollgate.')),
    ...marks(6, mark),
    fixed64(11, nanos(wallMs)),
  ])
}

function marks(field: number, { run, way }: Mark): Buffer[] {
  return [attribute(field, 'run', run), attribute(field, 'way', way)]
}

function attribute(field: number, key: string, value: string): Buffer {
  return bytes(field, text(1, key), bytes(2, text(1, value)))
}

function nanos(wallMs: number): bigint {
  return BigInt(Math.floor(wallMs)) * 1_000_000n
}

function text(field: number, value: string): Buffer {
  return bytes(field, Buffer.from(value))
}

function bytes(field: number, ...parts: readonly Uint8Array[]): Buffer {
  const whole = Buffer.concat(parts)
  return Buffer.concat([encoded((field << 3) | 2), encoded(whole.length), whole])
}

function varint(field: number, value: number): Buffer {
  return Buffer.concat([encoded(field << 3), encoded(value)])
}

function fixed64(field: number, value: bigint): Buffer {
  const eight = Buffer.alloc(8)
  eight.writeBigUInt64LE(value)
  return Buffer.concat([encoded((field << 3) | 1), eight])
}

function encoded(value: number): Buffer {
  const out: number[] = []
  for (let left = value; ; left >>>= 7) {
    if (left < 128) return Buffer.from([...out, left])
    out.push((left & 127) | 128)
  }
}
