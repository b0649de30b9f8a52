/** An HTTP/2 client made of frames written by hand, to do what libraries refuse to. RFC 9113, RFC 7541. */
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { eventually } from './eventually.ts'

export const FRAME = {
  DATA: 0,
  HEADERS: 1,
  PRIORITY: 2,
  RST_STREAM: 3,
  SETTINGS: 4,
  PUSH_PROMISE: 5,
  PING: 6,
  GOAWAY: 7,
  WINDOW_UPDATE: 8,
  CONTINUATION: 9,
} as const
export const FLAG = { NONE: 0, END_STREAM: 1, ACK: 1, END_HEADERS: 4 } as const
export const SETTING = { INITIAL_WINDOW_SIZE: 4 } as const

/** What a client sends first: RFC 9113 section 3.4. */
export const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
const HEADER_BYTES = 9

/** A frame as it came. */
export interface Frame {
  readonly type: number
  readonly flags: number
  readonly streamId: number
  readonly payload: Buffer
}

export interface RawHttp2Options {
  /** Sent in the first SETTINGS. */
  readonly settings?: readonly (readonly [id: number, value: number])[]
  /** Leaves the server's SETTINGS without an answer. */
  readonly keepsSettings?: boolean
  /** Never reads what comes. */
  readonly isDeaf?: boolean
  /** Sends nothing of its own accord: neither preface nor SETTINGS nor ACKs. */
  readonly isMute?: boolean
}

export class RawHttp2 {
  readonly socket: Socket
  /** Everything that came, in order. */
  readonly frames: Frame[] = []
  #rest = Buffer.alloc(0)

  constructor(socket: Socket, options: RawHttp2Options = {}) {
    const { settings = [], isMute = false, keepsSettings = isMute, isDeaf = false } = options
    this.socket = socket
    socket.on('error', () => {})
    if (isDeaf) socket.pause()
    else socket.on('data', (chunk: Buffer) => this.#take(chunk, keepsSettings))
    if (isMute) return
    const values = settings.map(([id, value]) => {
      const bytes = Buffer.alloc(6)
      bytes.writeUInt16BE(id, 0)
      bytes.writeUInt32BE(value, 2)
      return bytes
    })
    socket.write(Buffer.concat([PREFACE, frame(FRAME.SETTINGS, 0, 0, Buffer.concat(values))]))
  }

  /** Whether the other side has hung up. */
  get isOver(): boolean {
    return this.socket.destroyed || this.socket.readableEnded
  }

  /** Writes frames, and resolves when the kernel has them or the connection is over. */
  async write(...frames: Uint8Array[]): Promise<void> {
    if (this.isOver || this.socket.write(Buffer.concat(frames))) return
    const ended = new AbortController()
    const { signal } = ended
    await Promise.race([
      once(this.socket, 'drain', { signal }),
      once(this.socket, 'close', { signal }),
    ]).finally(() => ended.abort())
  }

  /** The frames of a stream, or of the connection (0). */
  of(streamId: number, type?: number): readonly Frame[] {
    return this.frames.filter(
      (frame) => frame.streamId === streamId && (type === undefined || frame.type === type),
    )
  }

  /** Resolves when the other side has hung up, and with the code of its GOAWAY if it sent one. */
  async ended(): Promise<number | undefined> {
    await eventually(() => this.isOver, 'the end of the connection')
    const goaway = this.of(0, FRAME.GOAWAY).at(-1)
    return goaway?.payload.readUInt32BE(4)
  }

  /** Sends a PING and resolves when it has come back: everything before has then been read. */
  async ping(mark = 1): Promise<void> {
    const payload = Buffer.alloc(8, mark)
    const count = () =>
      this.of(0, FRAME.PING).filter(
        (pong) => pong.flags === FLAG.ACK && pong.payload.equals(payload),
      ).length
    const before = count()
    await this.write(frame(FRAME.PING, FLAG.NONE, 0, payload))
    await eventually(() => count() > before || this.isOver, 'the PING come back')
  }

  close(): void {
    this.socket.destroy()
  }

  #take(chunk: Buffer, keepsSettings: boolean): void {
    let bytes = Buffer.concat([this.#rest, chunk])
    while (bytes.length >= HEADER_BYTES) {
      const end = HEADER_BYTES + bytes.readUIntBE(0, 3)
      if (bytes.length < end) break
      const received = {
        type: bytes.readUInt8(3),
        flags: bytes.readUInt8(4),
        streamId: bytes.readUInt32BE(5),
        payload: Buffer.from(bytes.subarray(HEADER_BYTES, end)),
      }
      this.frames.push(received)
      bytes = bytes.subarray(end)
      if (received.type === FRAME.SETTINGS && received.flags === 0 && !keepsSettings)
        this.socket.write(frame(FRAME.SETTINGS, FLAG.ACK, 0))
    }
    this.#rest = bytes
  }
}

/** The bytes of a frame. RFC 9113 section 4.1. */
export function frame(
  type: number,
  flags: number,
  streamId: number,
  payload: Uint8Array = Buffer.alloc(0),
): Buffer {
  const header = Buffer.alloc(HEADER_BYTES)
  header.writeUIntBE(payload.length, 0, 3)
  header.writeUInt8(type, 3)
  header.writeUInt8(flags, 4)
  header.writeUInt32BE(streamId, 5)
  return Buffer.concat([header, payload])
}

/** A header block of literals without indexing and without Huffman coding. RFC 7541 section 6.2.2. */
export function headerBlock(fields: Readonly<Record<string, string>>): Buffer {
  return Buffer.concat(
    Object.entries(fields).flatMap(([name, value]) => [
      Buffer.from([0]),
      text(Buffer.from(name)),
      text(Buffer.from(value)),
    ]),
  )
}

/** The fields of a gRPC export of traces. */
export function grpcFields(
  token: string | undefined,
  more: Readonly<Record<string, string>> = {},
): Record<string, string> {
  return {
    ':method': 'POST',
    ':scheme': 'https',
    ':path': '/opentelemetry.proto.collector.trace.v1.TraceService/Export',
    ':authority': 'localhost',
    te: 'trailers',
    'content-type': 'application/grpc',
    ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
    ...more,
  }
}

function text(bytes: Buffer): Buffer {
  return Buffer.concat([integer(bytes.length, 7), bytes])
}

/** RFC 7541 section 5.1, without flag bits above the prefix. */
function integer(value: number, prefixBits: number): Buffer {
  const most = 2 ** prefixBits - 1
  if (value < most) return Buffer.from([value])
  const bytes = [most]
  let rest = value - most
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 0x80)
  bytes.push(rest)
  return Buffer.from(bytes)
}
