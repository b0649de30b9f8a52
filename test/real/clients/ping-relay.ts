/** A relay for plaintext HTTP/2 that counts connections and the PINGs that clients send. RFC 9113 section 4.1. */
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

const PREFACE_BYTES = 24
const HEADER_BYTES = 9
const PING = 6
const ACK = 1

export interface PingRelay {
  /** `localhost:port` */
  readonly address: string
  readonly connections: number
  readonly pings: number
  close(): Promise<void>
}

/** Relays a free port of 127.0.0.1 to `host:port`. */
export async function startPingRelay(to: string): Promise<PingRelay> {
  const { hostname, port } = new URL(`http://${to}`)
  const sockets = new Set<Socket>()
  let connections = 0
  let pings = 0
  const server = createServer((near) => {
    connections += 1
    const far = connect({ host: hostname, port: Number(port) })
    const count = createFrameCounter((type, flags) => {
      if (type === PING && (flags & ACK) === 0) pings += 1
    })
    near.on('data', count)
    near.pipe(far).pipe(near)
    for (const socket of [near, far]) {
      sockets.add(socket)
      socket.on('error', () => {})
      socket.on('close', () => sockets.delete(socket))
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    address: `localhost:${(server.address() as AddressInfo).port}`,
    get connections() {
      return connections
    },
    get pings() {
      return pings
    },
    async close() {
      const closed = once(server, 'close')
      server.close()
      for (const socket of sockets) socket.destroy()
      await closed
    },
  }
}

/** Takes what a client sends, in pieces, and tells of each frame as its header is complete. */
function createFrameCounter(onFrame: (type: number, flags: number) => void) {
  let skip = PREFACE_BYTES
  let rest = Buffer.alloc(0)
  return (chunk: Buffer): void => {
    let bytes = Buffer.concat([rest, chunk])
    for (;;) {
      const skipped = Math.min(skip, bytes.length)
      skip -= skipped
      bytes = bytes.subarray(skipped)
      if (bytes.length < HEADER_BYTES) break
      onFrame(bytes.readUInt8(3), bytes.readUInt8(4))
      skip = HEADER_BYTES + bytes.readUIntBE(0, 3)
    }
    rest = bytes
  }
}
