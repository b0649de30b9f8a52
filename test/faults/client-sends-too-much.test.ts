/** Bodies that are not what they say: the collector never takes one of them for a message. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { deflateSync, gzipSync, zstdCompressSync } from 'node:zlib'
import { assertRefusedWith } from '../support/answers.ts'
import { frame, WAYS } from '../support/client.ts'
import { sumOf } from '../support/exposition.ts'
import { startGateway, type TestGateway, TOKEN } from '../support/gateway.ts'
import { openTls, textUntilClosed } from '../support/raw-socket.ts'
import { taken } from '../support/taken.ts'

/** Below and above what is read whole before the collector hears of it. */
const SIZES = { small: 1000, large: 600_000 } as const
const MIB = 1024 * 1024

for (const [size, lengthBytes] of Object.entries(SIZES)) {
  test(`gRPC, ${size}: a second message behind the first`, async (t) => {
    const gateway = await startGateway(t)
    const call = gateway.connect('gRPC').open()
    const message = frame(Buffer.alloc(lengthBytes))
    call.write(Buffer.concat([message, message])).catch(() => {})
    assertRefusedWith(await call.answer, 400, 3)
    await nothingTaken(gateway, { malformed: 1 })
  })

  test(`gRPC, ${size}: less than announced`, async (t) => {
    const gateway = await startGateway(t)
    const call = gateway.connect('gRPC').open()
    await call.write(frame(Buffer.alloc(lengthBytes)).subarray(0, lengthBytes - 10))
    call.end()
    assertRefusedWith(await call.answer, 400, 3)
    await nothingTaken(gateway, { malformed: 1 })
  })

  for (const [what, sentBytes] of [
    ['more', lengthBytes + 10],
    ['less', lengthBytes - 10],
  ] as const) {
    test(`HTTP/2, ${size}: ${what} than announced`, async (t) => {
      const gateway = await startGateway(t)
      const call = gateway.connect('HTTP/2').open({}, lengthBytes)
      call.write(Buffer.alloc(sentBytes)).then(
        () => call.end(),
        () => {},
      )
      // RFC 9113 section 8.1.1: malformed, which may be answered or reset.
      await call.answer.then(
        (answer) => assertRefusedWith(answer, 400, 3),
        () => {},
      )
      await gateway.until((page) => sumOf(page, 'tollgate_in_flight') === 0, 'the end of it')
      assert.equal(taken(gateway.collector).length, 0)
      await gateway.assertInvariant()
    })
  }

  test(`HTTP/1.1, ${size}: more than announced is no second request`, async (t) => {
    const gateway = await startGateway(t)
    const socket = await openTls(gateway, 'http')
    socket.write(
      [
        'POST /v1/traces HTTP/1.1',
        'Host: localhost',
        'Content-Type: application/x-protobuf',
        `Authorization: Bearer ${TOKEN}`,
        `Content-Length: ${lengthBytes}`,
        '\r\n',
      ].join('\r\n'),
    )
    socket.write(Buffer.alloc(lengthBytes, 'x'))
    socket.write('surplus that is no request\r\n\r\n')
    const said = await textUntilClosed(socket)
    // The surplus may be seen before the answer is written, and ends the connection either way.
    assert.match(said, /HTTP\/1\.1 400 Bad Request\r\n/)
    await gateway.until((page) => sumOf(page, 'tollgate_in_flight') === 0, 'the end of it')
    assert.equal(sumOf(await gateway.metrics(), 'tollgate_arrivals_total'), 1)
    assert.ok(taken(gateway.collector).length <= 1)
    await gateway.assertInvariant()
  })
}

/** Small on the wire, and beyond any limit when unpacked; the last is too long to be read whole. */
const BOMBS = {
  'gzip, 100 kB': { encoding: 'gzip', message: gzipSync(Buffer.alloc(100 * MIB)) },
  'deflate, 100 kB': { encoding: 'deflate', message: deflateSync(Buffer.alloc(100 * MIB)) },
  'zstd, a few kB': { encoding: 'zstd', message: zstdCompressSync(Buffer.alloc(100 * MIB)) },
  'gzip, streamed': {
    encoding: 'gzip',
    message: gzipSync(Buffer.concat([randomBytes(500_000), Buffer.alloc(20 * MIB)])),
  },
} as const

for (const way of WAYS) {
  test(`${way}: bombs are stopped at the limit`, async (t) => {
    const gateway = await startGateway(t, { env: { MAX_BODY: '1MiB' } })
    for (const [name, bomb] of Object.entries(BOMBS)) {
      await t.test(name, async () => {
        const client = gateway.connect(way)
        assertRefusedWith(await client.send(bomb), 413, 8)
        client.close()
      })
    }
    await nothingTaken(gateway, { too_large: Object.keys(BOMBS).length })
  })

  test(`${way}: no announced length, and no end`, async (t) => {
    const gateway = await startGateway(t, { env: { MAX_BODY: '1MiB' } })
    const call = gateway.connect(way).open({ isChunked: true })
    const endless = async () => {
      if (way === 'gRPC') await call.write(Buffer.from([0, 0xff, 0xff, 0xff, 0xff]))
      for (;;) await call.write(Buffer.alloc(64 * 1024))
    }
    endless().catch(() => {})
    assertRefusedWith(await call.answer, 413, 8)
    call.cancel()
    await nothingTaken(gateway, { too_large: 1 })
  })
}

async function nothingTaken(gateway: TestGateway, outcomes: Record<string, number>): Promise<void> {
  await gateway.until((page) => sumOf(page, 'tollgate_in_flight') === 0, 'the end of it')
  assert.equal(taken(gateway.collector).length, 0)
  assert.deepEqual(await gateway.outcomes(), outcomes)
  await gateway.assertInvariant()
}
