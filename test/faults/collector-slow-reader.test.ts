/** The collector reads slowly: so does the gateway, and what it holds of a body stays small. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { assertAccepted } from '../support/answers.ts'
import { type Client, frame, type OpenCall, WAYS } from '../support/client.ts'
import { settled } from '../support/eventually.ts'
import { sumOf } from '../support/exposition.ts'
import { startGateway } from '../support/gateway.ts'

const BODY_BYTES = 60 * 1024 * 1024
const PIECE_BYTES = 256 * 1024
/**
 * What is held of one body: 256 KiB ahead of the collector, the frame of 16 KiB that closed the tap, and
 * then what the stream's window of 256 KiB still lets the client send.
 */
const HELD_BYTES = (256 + 16 + 256) * 1024
for (const way of WAYS) {
  for (const speaks of ['grpc', 'http'] as const) {
    test(`${way} to ${speaks}: a client is not read ahead of the collector`, async (t) => {
      const gateway = await startGateway(t, { speaks, env: { MAX_IN_FLIGHT_BYTES: '64MiB' } })
      const { collector } = gateway
      collector.script({ kind: 'slow' })
      const upload = new Upload(gateway.connect(way))
      await collector.hasReached(1)
      const sentBytes = await settled(() => upload.sentBytes, 'the client to be held back')
      // What the kernel takes on both hops is its own affair (tcp_rmem allows 32 MB a socket on Linux 6.18).
      assert.ok(sentBytes < BODY_BYTES, 'all of it went out')
      const page = await gateway.metrics()
      const heldBytes = sumOf(page, 'tollgate_in_flight_bytes')
      assert.ok(heldBytes > 0 && heldBytes <= HELD_BYTES, `${heldBytes} bytes are held`)

      // Others are not kept waiting by it.
      assertAccepted(await gateway.connect(way).send())
      collector.resumeReading()
      assertAccepted(await upload.call.answer)
      const received = collector.reached[0]?.bytes() ?? Buffer.alloc(0)
      const prefixBytes = speaks === 'grpc' ? 5 : 0
      assert.equal(received.length, BODY_BYTES + prefixBytes)
      assert.ok(received.subarray(prefixBytes).equals(upload.body), 'it arrives as it was sent')
      await gateway.assertInvariant()
    })
  }
}

/** One large body, sent as fast as it is taken. */
class Upload {
  readonly body = Buffer.alloc(BODY_BYTES)
  readonly call: OpenCall
  sentBytes = 0

  constructor(client: Client) {
    for (let at = 0; at < BODY_BYTES; at += 4096) this.body.writeUInt32BE(at, at)
    this.call = client.open({}, BODY_BYTES)
    void this.#send(client.way === 'gRPC' ? frame(this.body) : this.body)
  }

  async #send(bytes: Buffer): Promise<void> {
    for (let at = 0; at < bytes.length; at += PIECE_BYTES) {
      await this.call.write(bytes.subarray(at, at + PIECE_BYTES))
      this.sentBytes += PIECE_BYTES
    }
    this.call.end()
  }
}
