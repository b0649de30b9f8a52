/** One span as an OTLP message, written in protobuf by hand, numbered so that it can be counted. */

/** An ExportTraceServiceRequest with one span that carries the attributes `run` and `seq`. */
export function spanMessage(run: string, seq: number): Buffer {
  const attributes = [
    attribute('run', field(1, Buffer.from(run))),
    attribute('seq', Buffer.concat([varint((3 << 3) | 0), varint(seq)])),
  ]
  const traceId = Buffer.alloc(16)
  traceId.writeUInt32BE(seq + 1, 12)
  const spanId = Buffer.alloc(8)
  spanId.writeUInt32BE(seq + 1, 4)
  const span = Buffer.concat([
    field(1, traceId),
    field(2, spanId),
    field(5, Buffer.from('a span')),
    ...attributes.map((each) => field(9, each)),
  ])
  // ResourceSpans.scope_spans = 2, ScopeSpans.spans = 2.
  return field(1, field(2, field(2, span)))
}

/** KeyValue { key = 1, value = 2 }. */
function attribute(key: string, value: Buffer): Buffer {
  return Buffer.concat([field(1, Buffer.from(key)), field(2, value)])
}

function field(number: number, bytes: Buffer): Buffer {
  return Buffer.concat([varint((number << 3) | 2), varint(bytes.length), bytes])
}

function varint(value: number): Buffer {
  const bytes: number[] = []
  let rest = value
  for (; rest > 127; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 128)
  bytes.push(rest)
  return Buffer.from(bytes)
}
