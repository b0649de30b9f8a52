/**
 * Writes and reads google.rpc.Status, the body of every refusal, in both of its encodings, and the
 * google.rpc.RetryInfo and google.rpc.BadRequest that may be in it. Protocol Buffers encoding by
 * hand: three small messages do not need a library on the request path.
 */

/** What a status says. */
export interface RpcStatus {
  /** A gRPC status code, 0–16. */
  readonly code: number
  readonly message: string
  /** When to come back, in whole seconds. Makes RESOURCE_EXHAUSTED retryable. */
  readonly retryAfterSeconds?: number | undefined
  /** What is wrong with the request (google.rpc.BadRequest). */
  readonly violation?: { readonly field: string; readonly description: string } | undefined
}

const TYPE_PREFIX = 'type.googleapis.com/google.rpc.'

/** The status as protobuf bytes. */
export function encodeRpcStatus(status: RpcStatus): Buffer {
  const { code, message, retryAfterSeconds, violation } = status
  const parts = [varintField(1, code), bytesField(2, Buffer.from(message))]
  if (retryAfterSeconds !== undefined) {
    parts.push(bytesField(3, any('RetryInfo', encodeRetryInfo(retryAfterSeconds))))
  }
  if (violation !== undefined) {
    const { field, description } = violation
    const text = [bytesField(1, Buffer.from(field)), bytesField(2, Buffer.from(description))]
    parts.push(bytesField(3, any('BadRequest', bytesField(1, Buffer.concat(text)))))
  }
  return Buffer.concat(parts)
}

/** google.rpc.RetryInfo alone, as the trailer `google.rpc.retryinfo-bin` carries it. */
export function encodeRetryInfo(seconds: number): Buffer {
  return bytesField(1, varintField(1, seconds))
}

/** The status in proto3 JSON. */
export function rpcStatusToJson(status: RpcStatus): Buffer {
  const { code, message, retryAfterSeconds, violation } = status
  const details: object[] = []
  if (retryAfterSeconds !== undefined) {
    details.push({ '@type': `${TYPE_PREFIX}RetryInfo`, retryDelay: `${retryAfterSeconds}s` })
  }
  if (violation !== undefined) {
    details.push({ '@type': `${TYPE_PREFIX}BadRequest`, fieldViolations: [violation] })
  }
  return Buffer.from(
    JSON.stringify(details.length > 0 ? { code, message, details } : { code, message }),
  )
}

/** What a status read off the wire says; undefined where the bytes are not one. */
export function decodeRpcStatus(bytes: Uint8Array): RpcStatus | undefined {
  try {
    let code = 0
    let message = ''
    let retryAfterSeconds: number | undefined
    for (const [field, value] of fields(bytes)) {
      if (field === 1 && typeof value === 'number') code = value
      else if (field === 2 && typeof value === 'object') message = Buffer.from(value).toString()
      else if (field === 3 && typeof value === 'object') retryAfterSeconds ??= retrySecondsOf(value)
    }
    return { code, message, retryAfterSeconds }
  } catch {
    return undefined
  }
}

function retrySecondsOf(any: Uint8Array): number | undefined {
  let type = ''
  let value: Uint8Array | undefined
  for (const [field, content] of fields(any)) {
    if (field === 1 && typeof content === 'object') type = Buffer.from(content).toString()
    else if (field === 2 && typeof content === 'object') value = content
  }
  if (!type.endsWith('/google.rpc.RetryInfo') || value === undefined) return undefined
  for (const [field, duration] of fields(value)) {
    if (field !== 1 || typeof duration !== 'object') continue
    let seconds = 0
    for (const [part, amount] of fields(duration)) {
      if (typeof amount !== 'number') continue
      if (part === 1) seconds += amount
      else if (part === 2) seconds += amount / 1e9
    }
    return Math.ceil(seconds)
  }
  return undefined
}

function any(type: string, value: Buffer): Buffer {
  return Buffer.concat([bytesField(1, Buffer.from(TYPE_PREFIX + type)), bytesField(2, value)])
}

function varintField(field: number, value: number): Buffer {
  return Buffer.from([field << 3, ...varint(value)])
}

function bytesField(field: number, value: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from([(field << 3) | 2, ...varint(value.length)]), value])
}

function varint(value: number): number[] {
  const bytes: number[] = []
  let rest = value
  for (; rest > 0x7f; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 0x80)
  bytes.push(rest)
  return bytes
}

/** Walks the fields of one message. Throws RangeError where it is cut short or malformed. */
function* fields(bytes: Uint8Array): Generator<[number, number | Uint8Array]> {
  let at = 0
  const next = (): number => {
    let value = 0
    for (let scale = 1; scale < 2 ** 70; scale *= 128) {
      const byte = bytes[at++]
      if (byte === undefined) throw new RangeError('truncated')
      value += (byte & 0x7f) * scale
      if (byte < 0x80) return value
    }
    throw new RangeError('varint too long')
  }
  while (at < bytes.length) {
    const tag = next()
    const field = Math.floor(tag / 8)
    const wireType = tag % 8
    if (wireType === 0) yield [field, next()]
    else {
      const length = wireType === 2 ? next() : wireType === 1 ? 8 : wireType === 5 ? 4 : -1
      if (length < 0 || at + length > bytes.length) throw new RangeError('malformed')
      if (wireType === 2) yield [field, bytes.subarray(at, at + length)]
      at += length
    }
  }
}
