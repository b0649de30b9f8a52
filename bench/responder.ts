/**
 * The collector's stand-in, in a process of its own: answers every gRPC call over plaintext HTTP/2
 * and every HTTP/1.1 request with an empty success, once the whole request has been read, and counts
 * both. It reads frames and not headers, so that it costs less than any proxy before it.
 *
 * Told over the process channel: `counts` → `Counts`. Tells `{ grpcPort, httpPort }` once it listens.
 */
import { createServer, type Server, type Socket } from 'node:net'

/** What has arrived since the start. Bytes are those of the messages, with gRPC's five bytes. */
export interface Counts {
  readonly grpcRequests: number
  readonly grpcBytes: number
  readonly httpRequests: number
  readonly httpBytes: number
}

let grpcRequests = 0
let grpcBytes = 0
let httpRequests = 0
let httpBytes = 0

const PREFACE_BYTES = 24
const FRAME_HEADER_BYTES = 9
const FRAME = { data: 0, headers: 1, reset: 3, settings: 4, ping: 6, windowUpdate: 8 } as const
const END_STREAM = 0x1
const ACK = 0x1
const PADDED = 0x8
/** Room for a whole large message on each stream, and for all streams on the connection. */
const STREAM_WINDOW_BYTES = 1 << 20
const CONNECTION_WINDOW_BYTES = 2 ** 31 - 1
const DEFAULT_WINDOW_BYTES = 65_535

/** RFC 9113 §4.1. */
function frame(type: number, flags: number, streamId: number, payload: Buffer): Buffer {
  const header = Buffer.alloc(FRAME_HEADER_BYTES)
  header.writeUIntBE(payload.length, 0, 3)
  header.writeUInt8(type, 3)
  header.writeUInt8(flags, 4)
  header.writeUInt32BE(streamId, 5)
  return Buffer.concat([header, payload])
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}

const SETTINGS = frame(
  FRAME.settings,
  0,
  0,
  Buffer.concat([
    Buffer.from([0, 3]),
    uint32(1000),
    Buffer.from([0, 4]),
    uint32(STREAM_WINDOW_BYTES),
  ]),
)
const OPENING = Buffer.concat([
  SETTINGS,
  frame(FRAME.windowUpdate, 0, 0, uint32(CONNECTION_WINDOW_BYTES - DEFAULT_WINDOW_BYTES)),
])

const CONTENT_TYPE = 'application/grpc'
const text = (value: string) => Buffer.concat([Buffer.from([value.length]), Buffer.from(value)])

/** One answer: header block, the empty message, trailers. Stream ids are written in afterwards. */
function answer(headers: Buffer, trailers: Buffer): { bytes: Buffer; idOffsets: number[] } {
  const parts = [
    frame(FRAME.headers, 0x4, 0, headers),
    frame(FRAME.data, 0, 0, Buffer.alloc(5)),
    frame(FRAME.headers, 0x4 | END_STREAM, 0, trailers),
  ]
  let offset = 0
  const idOffsets = parts.map((part) => {
    const at = offset + 5
    offset += part.length
    return at
  })
  return { bytes: Buffer.concat(parts), idOffsets }
}

/** HPACK (RFC 7541): `:status: 200` is entry 8, `content-type` is name 31, dynamic entries begin at 62. */
const STATUS_200 = Buffer.from([0x88])
/** The first answer of a connection: fills the dynamic table. */
const FIRST = answer(
  Buffer.concat([STATUS_200, Buffer.from([0x5f]), text(CONTENT_TYPE)]),
  Buffer.concat([
    Buffer.from([0x40]),
    text('grpc-status'),
    text('0'),
    Buffer.from([0x40]),
    text('grpc-message'),
    text(''),
  ]),
)
/** The others: content-type is the oldest of the three entries. */
const INDEXED = answer(Buffer.from([0x88, 0xc0]), Buffer.from([0xbf, 0xbe]))
/** For a peer that allows no dynamic table; each block may say again that its size is nought. */
const LITERAL = answer(
  Buffer.concat([Buffer.from([0x20]), STATUS_200, Buffer.from([0x0f, 0x10]), text(CONTENT_TYPE)]),
  Buffer.concat([
    Buffer.from([0x00]),
    text('grpc-status'),
    text('0'),
    Buffer.from([0x00]),
    text('grpc-message'),
    text(''),
  ]),
)

function serveGrpc(socket: Socket): void {
  let pending: Buffer = Buffer.alloc(0)
  let isGreeted = false
  let isIndexed = true
  let isFirst = true
  let unacknowledgedBytes = 0
  /** What is left of a DATA frame whose beginning has been counted, and the stream it ends (or 0). */
  let tailBytes = 0
  let tailEnds = 0
  const streamBytes = new Map<number, number>()
  const out: Buffer[] = []

  const finish = (streamId: number) => {
    streamBytes.delete(streamId)
    grpcRequests += 1
    const template = isIndexed ? (isFirst ? FIRST : INDEXED) : LITERAL
    isFirst = false
    const bytes = Buffer.from(template.bytes)
    for (const offset of template.idOffsets) bytes.writeUInt32BE(streamId, offset)
    out.push(bytes)
  }

  const countData = (streamId: number, payloadBytes: number, paddingBytes: number) => {
    grpcBytes += payloadBytes - paddingBytes
    unacknowledgedBytes += payloadBytes
    const unread = (streamBytes.get(streamId) ?? 0) + payloadBytes
    const isWindowDue = unread > STREAM_WINDOW_BYTES / 2
    if (isWindowDue) out.push(frame(FRAME.windowUpdate, 0, streamId, uint32(unread)))
    streamBytes.set(streamId, isWindowDue ? 0 : unread)
  }

  const settings = (flags: number, payload: Buffer) => {
    if (flags & ACK) return
    for (let at = 0; at + 6 <= payload.length; at += 6) {
      if (payload.readUInt16BE(at) === 1 && payload.readUInt32BE(at + 2) < 4096) isIndexed = false
    }
    out.push(frame(FRAME.settings, ACK, 0, Buffer.alloc(0)))
  }

  /** Reads the frame at `at`; returns where the next one begins, or -1 where more bytes are needed. */
  const readFrame = (bytes: Buffer, at: number): number => {
    if (bytes.length - at < FRAME_HEADER_BYTES) return -1
    const length = bytes.readUIntBE(at, 3)
    const type = bytes.readUInt8(at + 3)
    const flags = bytes.readUInt8(at + 4)
    const streamId = bytes.readUInt32BE(at + 5) & 0x7fffffff
    const start = at + FRAME_HEADER_BYTES
    const end = start + length
    if (type === FRAME.data) {
      const isPadded = (flags & PADDED) !== 0
      if (isPadded && bytes.length === start) return -1
      countData(streamId, length, isPadded ? 1 + bytes.readUInt8(start) : 0)
      const ends = flags & END_STREAM ? streamId : 0
      tailBytes = Math.max(0, end - bytes.length)
      if (tailBytes > 0) tailEnds = ends
      else if (ends !== 0) finish(ends)
      return Math.min(end, bytes.length)
    }
    if (end > bytes.length) return -1
    if (type === FRAME.headers && flags & END_STREAM) finish(streamId)
    else if (type === FRAME.settings) settings(flags, bytes.subarray(start, end))
    else if (type === FRAME.reset) streamBytes.delete(streamId)
    else if (type === FRAME.ping && !(flags & ACK)) {
      out.push(frame(FRAME.ping, ACK, 0, bytes.subarray(start, end)))
    }
    return end
  }

  socket.on('data', (chunk: Buffer) => {
    const bytes = pending.length === 0 ? chunk : Buffer.concat([pending, chunk])
    pending = bytes
    let at = 0
    if (!isGreeted) {
      if (bytes.length < PREFACE_BYTES) return
      at = PREFACE_BYTES
      isGreeted = true
      out.push(OPENING)
    }
    if (tailBytes > 0) {
      const taken = Math.min(tailBytes, bytes.length)
      at += taken
      tailBytes -= taken
      if (tailBytes === 0 && tailEnds !== 0) finish(tailEnds)
    }
    for (let next = at; next !== -1; next = readFrame(bytes, at)) at = next
    pending = bytes.subarray(at)
    if (unacknowledgedBytes > CONNECTION_WINDOW_BYTES / 4) {
      out.push(frame(FRAME.windowUpdate, 0, 0, uint32(unacknowledgedBytes)))
      unacknowledgedBytes = 0
    }
    if (out.length > 0) socket.write(Buffer.concat(out))
    out.length = 0
  })
}

const HTTP_ANSWER = Buffer.from(
  'HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n',
)
const HEADERS_END = '\r\n\r\n'

function serveHttp(socket: Socket): void {
  let pending: Buffer = Buffer.alloc(0)
  /** Bytes of the body (or chunk and its line end) still to come. */
  let leftBytes = 0
  let isChunked = false
  let isInBody = false

  const finish = () => {
    httpRequests += 1
    isInBody = false
    socket.write(HTTP_ANSWER)
  }

  /** Reads one element at the front; returns how many bytes it took, 0 where more are needed. */
  const readChunkLine = (bytes: Buffer): number => {
    const lineEnd = bytes.indexOf('\r\n')
    if (lineEnd === -1) return 0
    const size = Number.parseInt(bytes.toString('latin1', 0, lineEnd), 16)
    if (size === 0) {
      if (bytes.length < lineEnd + 4) return 0
      finish()
      return lineEnd + 4
    }
    httpBytes += size
    leftBytes = size + 2
    return lineEnd + 2
  }

  const readHeaders = (bytes: Buffer): number => {
    const end = bytes.indexOf(HEADERS_END)
    if (end === -1) return 0
    const headers = bytes.toString('latin1', 0, end)
    const length = /\r\ncontent-length: *(\d+)/i.exec(headers)?.[1]
    isChunked = length === undefined && /\r\ntransfer-encoding: *chunked/i.test(headers)
    isInBody = true
    leftBytes = Number(length ?? 0)
    httpBytes += leftBytes
    if (!isChunked && leftBytes === 0) finish()
    return end + HEADERS_END.length
  }

  socket.on('data', (chunk: Buffer) => {
    let bytes = pending.length === 0 ? chunk : Buffer.concat([pending, chunk])
    while (bytes.length > 0) {
      let taken: number
      if (leftBytes > 0) {
        taken = Math.min(leftBytes, bytes.length)
        leftBytes -= taken
        if (leftBytes === 0 && !isChunked) finish()
      } else taken = isInBody ? readChunkLine(bytes) : readHeaders(bytes)
      if (taken === 0) break
      bytes = bytes.subarray(taken)
    }
    pending = bytes
  })
}

function listen(serve: (socket: Socket) => void, port: number): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer({ noDelay: true }, (socket) => {
      socket.on('error', () => socket.destroy())
      serve(socket)
    })
    server.on('error', reject)
    server.listen(port, '127.0.0.1', 1024, () => resolve(server))
  })
}

if (import.meta.main) {
  const [grpcPort, httpPort] = process.argv.slice(2).map(Number)
  if (grpcPort === undefined || httpPort === undefined) {
    throw new Error('Usage: responder.ts GRPC_PORT HTTP_PORT')
  }
  await listen(serveGrpc, grpcPort)
  await listen(serveHttp, httpPort)
  process.on('message', () => {
    const counts: Counts = { grpcRequests, grpcBytes, httpRequests, httpBytes }
    process.send?.(counts)
  })
  process.on('disconnect', () => process.exit(0))
  process.send?.({ grpcPort, httpPort })
}
