/** A stop: what is under way ends, nothing new begins, and nobody's answer is cut off. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect } from 'node:net'
import { test } from 'node:test'
import { assertAccepted } from '../support/answers.ts'
import { WAYS } from '../support/client.ts'
import { sumOf } from '../support/exposition.ts'
import { startGateway, TOKEN } from '../support/gateway.ts'
import { openTls, textUntilClosed } from '../support/raw-socket.ts'

for (const way of WAYS) {
  test(`${way}: what is under way ends, and its answer arrives whole`, async (t) => {
    const gateway = await startGateway(t)
    const message = Buffer.alloc(1_000_000, 'answer')
    gateway.collector.behave({ kind: 'slow' })
    const client = gateway.connect(way)
    const calls = [1, 2, 3].map((size) => client.send({ message: Buffer.alloc(size) }))
    await gateway.collector.hasReached(3)
    let hasDrained = false
    const drained = gateway.drain('test').then((abandoned) => {
      hasDrained = true
      return abandoned
    })
    await assert.rejects(gateway.connect(way).send(), 'no new connection')
    assert.equal(hasDrained, false)
    gateway.collector.behave({ kind: 'ok', message })
    gateway.collector.resumeReading()
    for (const answer of await Promise.all(calls)) {
      assertAccepted(answer)
      if (way === 'HTTP/1.1') assert.equal(answer.headers.connection, 'close')
    }
    assert.equal(await drained, 0)
  })

  test(`${way}: large answers arrive whole although the gateway stops right behind them`, async (t) => {
    const gateway = await startGateway(t)
    const message = Buffer.alloc(2_000_000, 'answer')
    gateway.collector.behave({ kind: 'ok', message, delayMs: 50 })
    const answer = gateway.connect(way).send({ message: Buffer.from('message') })
    await gateway.collector.hasReached(1)
    const drained = gateway.drain('test')
    assert.equal((await answer).body?.length, message.length)
    assert.equal(await drained, 0)
  })

  test(`${way}: a call that waits is taken while the gateway stops`, async (t) => {
    const gateway = await startGateway(t, { env: { IN_FLIGHT: '1' } })
    gateway.collector.script({ kind: 'slow' })
    const first = gateway.connect(way).send({ message: Buffer.from('first') })
    await gateway.collector.hasReached(1)
    const second = gateway.connect(way).send({ message: Buffer.from('second') })
    await gateway.until((page) => sumOf(page, 'tollgate_held') === 1, 'a call that waits')
    const drained = gateway.drain('test')
    gateway.collector.resumeReading()
    assertAccepted(await first)
    assertAccepted(await second)
    assert.equal(await drained, 0)
  })

  test(`${way}: what does not end in the drain time is cut off and told of`, async (t) => {
    const gateway = await startGateway(t, { env: { DRAIN_TIME: '700ms' }, abandons: 1 })
    gateway.collector.behave({ kind: 'stall' })
    const cutOff = assert.rejects(gateway.connect(way).send({ message: Buffer.from('message') }))
    await gateway.collector.hasReached(1)
    assert.equal(await gateway.drain('test'), 1)
    await cutOff
    const last = (await gateway.log()).at(-1)
    assert.equal(last?.event, 'stop')
    assert.equal(last?.msg, 'Stopped; 1 requests were cut off')
  })
}

for (const way of ['gRPC', 'HTTP/2'] as const) {
  test(`${way}: the client is asked to go elsewhere before it is shown the door`, async (t) => {
    const gateway = await startGateway(t)
    gateway.collector.behave({ kind: 'slow' })
    const client = gateway.connect(way)
    const answer = client.send({ message: Buffer.from('message') })
    await gateway.collector.hasReached(1)
    const { session } = client
    const goaways: [number, number][] = []
    session.on('goaway', (code, lastStreamId) => goaways.push([code, lastStreamId]))
    const drained = gateway.drain('test')
    await once(session, 'goaway')
    gateway.collector.resumeReading()
    assertAccepted(await answer)
    await drained
    // The first excludes no stream: what was sent before it was read is still taken.
    assert.deepEqual(goaways[0], [0, 2 ** 31 - 1])
  })

  test(`${way}: a request that crosses the first GOAWAY on its way is still taken`, async (t) => {
    const gateway = await startGateway(t)
    const client = gateway.connect(way)
    assertAccepted(await client.send())
    const drained = gateway.drain('test')
    assertAccepted(await client.send({ message: Buffer.from('late') }))
    assert.equal(await drained, 0)
  })
}

test('HTTP/1.1: idle connections are closed', async (t) => {
  const gateway = await startGateway(t)
  const socket = await openTls(gateway, 'http')
  const request = [
    'POST /v1/traces HTTP/1.1',
    'host: localhost',
    `authorization: Bearer ${TOKEN}`,
    'content-type: application/x-protobuf',
    'content-length: 0',
    '',
    '',
  ]
  socket.write(request.join('\r\n'))
  const [answer] = (await once(socket, 'data')) as [Buffer]
  assert.match(String(answer), /^HTTP\/1\.1 200 /)
  assert.doesNotMatch(String(answer), /connection: close/i)
  const rest = textUntilClosed(socket)
  assert.equal(await gateway.drain('test'), 0)
  assert.equal(await rest, '')
})

test('a connection in the middle of its handshake does not keep the gateway', async (t) => {
  const gateway = await startGateway(t, { env: { DRAIN_TIME: '1m', HANDSHAKE_TIMEOUT: '5m' } })
  const { hostname, port } = new URL(`http://${gateway.addresses.grpc}`)
  const socket = connect(Number(port), hostname)
  const closed = once(socket, 'close')
  await gateway.until((page) => sumOf(page, 'tollgate_connections') === 1, 'the connection')
  assert.equal(await gateway.drain('test'), 0)
  await closed
})

test('a second stop is the first', async (t) => {
  const gateway = await startGateway(t)
  const both = await Promise.all([gateway.drain('first'), gateway.drain('second')])
  assert.deepEqual(both, [0, 0])
})
