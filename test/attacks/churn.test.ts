/** Connections made by the hundred and given up in every way there is. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { FRAME, frame, PREFACE, RawHttp2 } from '../support/raw-http2.ts'
import { openTcp, openTls } from '../support/raw-socket.ts'
import { data, open, request } from './frames.ts'
import { underAttack } from './scene.ts'

const ROUNDS = 25

test('connections that come and go at every stage leave nothing behind', async (t) => {
  await underAttack(t, async ({ gateway }) => {
    for (let round = 0; round < ROUNDS; round += 1) {
      const tcp = await openTcp(gateway.addresses.grpc)
      tcp.resetAndDestroy()
      const halfShaken = await openTcp(gateway.addresses.grpc)
      halfShaken.end(Buffer.from([22, 3, 1, 2, 0, 1]))
      const [silent, halfHello, withRequests, halfBody, halfFrame] = await Promise.all(
        Array.from({ length: 5 }, () => openTls(gateway, 'grpc')),
      )
      silent?.destroy()
      halfHello?.end(PREFACE.subarray(0, 10))
      if (withRequests === undefined || halfBody === undefined || halfFrame === undefined) return
      const busy = new RawHttp2(withRequests)
      await busy.write(...Array.from({ length: 50 }, (_, at) => request(1 + at * 2)))
      busy.close()
      const cutShort = new RawHttp2(halfBody)
      await cutShort.write(open(1), data(1, Buffer.alloc(1000)))
      cutShort.socket.end()
      const torn = new RawHttp2(halfFrame)
      await torn.write(frame(FRAME.HEADERS, 0, 1, Buffer.alloc(16_000)).subarray(0, 8000))
      torn.socket.destroy()
    }
    // `underAttack` sees to it that no connection, call or byte is left, and the numbers add up.
    await gateway.assertInvariant()
    assert.equal((await gateway.outcomes()).internal, undefined)
  })
})
