/** Frames of which attacks are made. RFC 9113 section 6. */
import { TOKEN } from '../support/gateway.ts'
import { FLAG, FRAME, frame, grpcFields, headerBlock } from '../support/raw-http2.ts'

export const CODE = {
  NO_ERROR: 0,
  PROTOCOL_ERROR: 1,
  FLOW_CONTROL_ERROR: 3,
  SETTINGS_TIMEOUT: 4,
  STREAM_CLOSED: 5,
  REFUSED_STREAM: 7,
  CANCEL: 8,
  COMPRESSION_ERROR: 9,
  ENHANCE_YOUR_CALM: 11,
} as const

const PADDED = 8
const PRIORITY = 0x20

/** The header block of an export that is let in, and of one that is refused. */
export const GOOD = headerBlock(grpcFields(TOKEN))
export const BAD = headerBlock(grpcFields('no-such-token-0123456789'))

/** The request of an empty export, whole. */
export function request(streamId: number, block: Uint8Array = GOOD): Buffer {
  return Buffer.concat([open(streamId, block), data(streamId, Buffer.alloc(5), true)])
}

/** HEADERS of a request whose body is still to come. */
export function open(streamId: number, block: Uint8Array = GOOD): Buffer {
  return frame(FRAME.HEADERS, FLAG.END_HEADERS, streamId, block)
}

/** HEADERS with the priority fields of old: the stream depends on `dependency`. */
export function openWithPriority(streamId: number, dependency: number): Buffer {
  const priority = Buffer.alloc(5)
  priority.writeUInt32BE(dependency, 0)
  const payload = Buffer.concat([priority, GOOD])
  return frame(FRAME.HEADERS, FLAG.END_HEADERS | PRIORITY, streamId, payload)
}

export function data(streamId: number, bytes: Uint8Array, ends = false): Buffer {
  return frame(FRAME.DATA, ends ? FLAG.END_STREAM : 0, streamId, bytes)
}

/** DATA that is padding and nothing else. */
export function padding(streamId: number, bytes = 255): Buffer {
  return frame(
    FRAME.DATA,
    PADDED,
    streamId,
    Buffer.concat([Buffer.from([bytes]), Buffer.alloc(bytes)]),
  )
}

export function reset(streamId: number, code: number = CODE.CANCEL): Buffer {
  return frame(FRAME.RST_STREAM, 0, streamId, uint32(code))
}

export function windowUpdate(streamId: number, increment: number): Buffer {
  return frame(FRAME.WINDOW_UPDATE, 0, streamId, uint32(increment))
}

export function priority(streamId: number, dependency: number): Buffer {
  return frame(FRAME.PRIORITY, 0, streamId, Buffer.concat([uint32(dependency), Buffer.from([15])]))
}

export function ping(flags: number = FLAG.NONE): Buffer {
  return frame(FRAME.PING, flags, 0, Buffer.alloc(8, 7))
}

export function goaway(): Buffer {
  return frame(FRAME.GOAWAY, 0, 0, Buffer.alloc(8))
}

/** SETTINGS with the same value so many times. */
export function settings(count: number): Buffer {
  const value = Buffer.from([0, 4, 0, 0, 0xff, 0xff])
  return frame(FRAME.SETTINGS, 0, 0, Buffer.concat(Array<Buffer>(count).fill(value)))
}

export function times(count: number, bytes: Buffer): Buffer {
  return Buffer.concat(Array<Buffer>(count).fill(bytes))
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value, 0)
  return bytes
}
