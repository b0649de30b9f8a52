/** How long and how many connections a stranger may hold open, and what HTTP/1.1 lets him try. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { suite, test } from 'node:test'
import { assertAccepted, assertRefusedWith } from '../support/answers.ts'
import { WAYS } from '../support/client.ts'
import { sumOf } from '../support/exposition.ts'
import { startGateway, type TestGateway, TOKEN } from '../support/gateway.ts'
import { openTcp, openTls, textUntilClosed } from '../support/raw-socket.ts'
import { assertTurnedAway } from '../support/turned-away.ts'

const PORTS = ['grpc', 'http'] as const
const WRONG = 'a-guessed-token-0123456789abcdef'

// Most of these wait for a time to pass.
suite('time limits and numbers', { concurrency: 6 }, () => {
  for (const port of PORTS) {
    test(`${port} port: a client that never shakes hands is cut off`, async (t) => {
      const gateway = await startGateway(t, { env: { HANDSHAKE_TIMEOUT: '200ms' } })
      assert.equal(await textUntilClosed(await openTcp(gateway.addresses[port])), '')
      await refusedBy(gateway, 'handshake_timeout')
    })

    test(`${port} port: without TLS, a client that says nothing is cut off`, async (t) => {
      const env = { TLS: 'off', HANDSHAKE_TIMEOUT: '200ms' }
      const gateway = await startGateway(t, { env })
      assert.equal(await textUntilClosed(await openTcp(gateway.addresses[port])), '')
      await refusedBy(gateway, 'protocol_timeout')
    })

    test(`${port} port: HTTP/1.1 headers that never end are cut off in words`, async (t) => {
      const gateway = await startGateway(t, { env: { HEADER_TIMEOUT: '200ms' } })
      const socket = await openTls(gateway, port, 'http/1.1')
      socket.write('POST /v1/traces HTTP/1.1\r\nhost: localhost\r\n')
      assert.match(await textUntilClosed(socket), /^HTTP\/1\.1 408 /)
      await refusedBy(gateway, 'slow_headers')
    })

    test(`${port} port: HTTP/2 without a hello is cut off`, async (t) => {
      const gateway = await startGateway(t, { env: { HEADER_TIMEOUT: '200ms' } })
      const socket = await openTls(gateway, port, 'h2')
      await textUntilClosed(socket)
      await refusedBy(gateway, 'no_hello')
    })

    test(`${port} port: garbage instead of TLS`, async (t) => {
      const gateway = await startGateway(t)
      const socket = await openTcp(gateway.addresses[port])
      socket.write('POST /v1/traces HTTP/1.1\r\nhost: localhost\r\n\r\n')
      await textUntilClosed(socket)
      await refusedBy(gateway, 'handshake')
    })
  }

  for (const way of WAYS) {
    test(`${way}: an idle connection is closed`, async (t) => {
      const gateway = await startGateway(t, { env: { IDLE_TIMEOUT: '1s' } })
      if (way === 'HTTP/1.1') {
        // Node's own client would hang up by itself, warned by the Keep-Alive field.
        const socket = await openTls(gateway, 'http')
        socket.write('POST /elsewhere HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n')
        const text = await textUntilClosed(socket)
        assert.match(text, /^HTTP\/1\.1 404 /)
        assert.doesNotMatch(text, /connection: close/i)
        return
      }
      assertAccepted(await gateway.connect(way).send())
      assert.equal(sumOf(await gateway.metrics(), 'tollgate_connections'), 1)
      await gateway.until((page) => sumOf(page, 'tollgate_connections') === 0, 'it closed')
    })

    test(`${way}: a call that lasts longer than an idle connection may is not cut off`, async (t) => {
      const gateway = await startGateway(t, { env: { IDLE_TIMEOUT: '1s' } })
      gateway.collector.behave({ kind: 'ok', delayMs: 1500 })
      assertAccepted(await gateway.connect(way).send())
    })

    test(`${way}: more connections than there may be are turned away`, async (t) => {
      const gateway = await startGateway(t, { env: { MAX_CONNECTIONS: '2' } })
      const clients = [gateway.connect(way), gateway.connect(way)]
      for (const client of clients) assertAccepted(await client.send())
      await assertTurnedAway(gateway.addresses.grpc)
      await assertTurnedAway(gateway.addresses.http)
      await refusedBy(gateway, 'full', 2)
      clients[0]?.close()
      await gateway.until((page) => sumOf(page, 'tollgate_connections') === 1, 'room')
      assertAccepted(await gateway.connect(way).send())
    })

    test(`${way}: more connections than one address may have are turned away`, async (t) => {
      const gateway = await startGateway(t, { env: { MAX_CONNECTIONS_PER_PEER: '1' } })
      assertAccepted(await gateway.connect(way).send())
      await assertTurnedAway(gateway.addresses.grpc)
      await refusedBy(gateway, 'peer_full')
      if (process.platform !== 'linux') return
      assertAccepted(await gateway.connect(way, { localAddress: '127.0.0.9' }).send())
    })

    test(`${way}: a body that trickles is given up, and its memory with it`, async (t) => {
      const gateway = await startGateway(t, { env: { BODY_TIMEOUT: '200ms' } })
      const call = gateway.connect(way).open({}, 100_000)
      await call.write(way === 'gRPC' ? Buffer.from([0, 0, 1, 0, 0, 9]) : Buffer.from([9]))
      await assert.rejects(call.answer)
      await gateway.until((page) => sumOf(page, 'tollgate_in_flight') === 0, 'the end')
      assert.deepEqual(await gateway.outcomes(), { client_gone: 1 })
      assert.equal(gateway.collector.reached.length, 0)
    })

    test(`${way}: in plaintext`, async (t) => {
      const gateway = await startGateway(t, { env: { TLS: 'off' } })
      for (const address of [gateway.addresses.grpc, gateway.addresses.http]) {
        const client = gateway.connect(way, { caPem: undefined, address })
        assertAccepted(await client.send({ message: Buffer.alloc(300_000, 1) }))
        assertRefusedWith(await client.send({ token: WRONG }), 401, 16)
      }
      assert.deepEqual(gateway.collector.reached[0]?.bytes().subarray(5), Buffer.alloc(300_000, 1))
    })
  }

  test('HTTP/1.1: who sends a large body all the same gets his answer, and comes back on another connection', async (t) => {
    const gateway = await startGateway(t)
    const socket = await openTls(gateway, 'http')
    socket.write(
      `POST /v1/traces HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer ${WRONG}\r\n` +
        'content-type: application/x-protobuf\r\ncontent-length: 20000000\r\n\r\n',
    )
    // Without looking at the answer, as many clients do until they are done.
    socket.write(Buffer.alloc(20_000_000))
    const [answer] = (await once(socket, 'data')) as [Buffer]
    assert.match(String(answer), /^HTTP\/1\.1 401 /)
    socket.destroy()

    const client = gateway.connect('HTTP/1.1')
    const refused = await client.send({ token: WRONG, message: Buffer.alloc(1_000_000) })
    assertRefusedWith(refused, 401, 16)
    assert.equal(refused.headers.connection, 'close')
    const next = await client.send({ message: Buffer.from('next') })
    assertAccepted(next)
    assert.equal(next.wasReused, false)
    assert.equal(sumOf(await gateway.metrics(), 'tollgate_received_bytes_total'), 4)
  })
})

test('Expect: 100-continue is answered before the body: on with it, or not', async (t) => {
  const gateway = await startGateway(t)
  const head = (token: string) =>
    `POST /v1/traces HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer ${token}\r\n` +
    'content-type: application/x-protobuf\r\ncontent-length: 5\r\nexpect: 100-continue\r\n'
  const good = await openTls(gateway, 'http')
  good.write(`${head(TOKEN)}connection: close\r\n\r\n`)
  const [first] = (await once(good, 'data')) as [Buffer]
  assert.equal(String(first), 'HTTP/1.1 100 Continue\r\n\r\n')
  good.write('12345')
  assert.match(await textUntilClosed(good), /^HTTP\/1\.1 200 /)
  assert.equal(String(gateway.collector.reached[0]?.bytes().subarray(5)), '12345')

  const bad = await openTls(gateway, 'http')
  bad.write(`${head(WRONG)}\r\n`)
  const text = await textUntilClosed(bad)
  assert.match(text, /^HTTP\/1\.1 401 /)
  assert.match(text, /\r\nconnection: close\r\n/i)
  assert.doesNotMatch(text, /100 Continue/)
})

test('HTTP/1.1: a connection whose small body was refused unread is used again', async (t) => {
  const gateway = await startGateway(t)
  const client = gateway.connect('HTTP/1.1')
  for (const body of [
    { message: Buffer.alloc(20_000) },
    { message: Buffer.alloc(900_000), isChunked: true },
  ]) {
    assertRefusedWith(await client.send({ token: WRONG, ...body }), 401, 16)
    const next = await client.send({ message: Buffer.from('next') })
    assertAccepted(next)
    assert.ok(next.wasReused)
    assert.equal(String(gateway.collector.reached.at(-1)?.bytes().subarray(5)), 'next')
  }
  assert.equal(sumOf(await gateway.metrics(), 'tollgate_connections_total'), 1)
})

test('HTTP/1.1: pipelined requests are answered in order', async (t) => {
  const gateway = await startGateway(t)
  const socket = await openTls(gateway, 'http')
  const request = (token: string, ending: string) =>
    `POST /v1/traces HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer ${token}\r\n` +
    `content-type: application/x-protobuf\r\ncontent-length: 1\r\n${ending}\r\n.`
  socket.write(request(TOKEN, '') + request(WRONG, '') + request(TOKEN, 'connection: close\r\n'))
  const text = await textUntilClosed(socket)
  const statuses = [...text.matchAll(/HTTP\/1\.1 (\d+) /g)].map((at) => at[1])
  assert.deepEqual(statuses, ['200', '401', '200'])
})

const NO_HTTP = {
  'length and chunks at once': 'content-length: 5\r\ntransfer-encoding: chunked\r\n',
  'two lengths': 'content-length: 5\r\ncontent-length: 6\r\n',
  'a length that is none': 'content-length: -1\r\n',
  'a folded header': 'x-a: b\r\n  c\r\n',
  'a header without a name': ': b\r\n',
  'a control character': 'x-a: b\0c\r\n',
}

for (const [name, field] of Object.entries(NO_HTTP)) {
  test(`HTTP/1.1: ${name} ends the connection in words`, async (t) => {
    const gateway = await startGateway(t)
    const socket = await openTls(gateway, 'http')
    socket.write(
      `POST /v1/traces HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer ${TOKEN}\r\n` +
        `content-type: application/x-protobuf\r\n${field}\r\n12345`,
    )
    const text = await textUntilClosed(socket)
    assert.match(text, /^HTTP\/1\.1 400 /)
    const body = text.slice(text.indexOf('\r\n\r\n') + 4)
    assert.deepEqual(JSON.parse(body), { code: 3, message: 'Bad Request.' })
    assert.equal(gateway.collector.reached.length, 0)
    await refusedBy(gateway, 'malformed')
  })
}

test('HTTP/1.1: headers beyond the limit', async (t) => {
  const gateway = await startGateway(t)
  const socket = await openTls(gateway, 'http')
  socket.write(`POST /v1/traces HTTP/1.1\r\nhost: localhost\r\nx-a: ${'b'.repeat(20_000)}\r\n\r\n`)
  assert.match(await textUntilClosed(socket), /^HTTP\/1\.1 431 /)
})

for (const way of ['gRPC', 'HTTP/2'] as const) {
  test(`${way}: headers beyond the limit`, async (t) => {
    const gateway = await startGateway(t)
    const client = gateway.connect(way)
    const large = { headers: { 'x-a': 'b'.repeat(20_000) } }
    assert.equal((await client.send(large)).httpStatus, 431)
    assertAccepted(await client.send())
    assert.equal((await client.send(large)).httpStatus, 431)
    assert.equal(gateway.collector.reached.length, 1)
  })
}

/** Waits for connections that were refused for this reason, and for no other. */
async function refusedBy(gateway: TestGateway, reason: string, count = 1): Promise<void> {
  const name = 'tollgate_connections_refused_total'
  const page = await gateway.until((now) => sumOf(now, name, { reason }) === count, reason)
  assert.equal(sumOf(page, name), count)
}
