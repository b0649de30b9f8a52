/** A relay for plaintext HTTP/2 that counts connections and the PINGs that clients send. RFC 9113 section 4.1. */
import { startRelay } from '../../support/relay.ts'

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

/** Relays a free port of 127.0.0.1 to a `host:port` of this machine. */
export async function startPingRelay(to: string): Promise<PingRelay> {
  let connections = 0
  let pings = 0
  const relay = await startRelay(Number(new URL(`http://${to}`).port), (near) => {
    connections += 1
    near.on(
      'data',
      createFrameCounter((type, flags) => {
        if (type === PING && (flags & ACK) === 0) pings += 1
      }),
    )
  })
  return {
    address: `localhost:${relay.port}`,
    get connections() {
      return connections
    },
    get pings() {
      return pings
    },
    close: () => relay.close(),
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
