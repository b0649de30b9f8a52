/** Budgets, and waiting instead of being refused. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { assertAccepted, assertRefusedWith } from '../support/answers.ts'
import { type Answer, WAYS } from '../support/client.ts'
import { startCollector } from '../support/collector.ts'
import { sumOf } from '../support/exposition.ts'
import { startGateway, TOKEN } from '../support/gateway.ts'

const OTHER = 'another-token-0123456789abcdef'
const held = { reason: 'rate_limited' }

for (const way of WAYS) {
  test(`${way}: a call over its rate waits and is taken`, async (t) => {
    const gateway = await startGateway(t, { env: { RATE: '5/s', BURST: '2' } })
    const client = gateway.connect(way)
    const answers = await Promise.all(Array.from({ length: 6 }, () => client.send()))
    for (const answer of answers) assertAccepted(answer)
    const page = await gateway.metrics()
    // The burst and what the rate gave meanwhile went at once; the rest waited, and none was refused.
    assert.ok(sumOf(page, 'tollgate_held_total', held) >= 1)
    const saved = { ...held, how: 'saved' }
    assert.equal(
      sumOf(page, 'tollgate_held_ended_total', saved),
      sumOf(page, 'tollgate_held_total', held),
    )
    assert.equal(gateway.collector.reached.length, 6)
  })

  test(`${way}: a held call costs no reading, and its order is kept`, async (t) => {
    const gateway = await startGateway(t, { env: { IN_FLIGHT: '1', HOLD: '5m' } })
    gateway.collector.script({ kind: 'slow' })
    const first = gateway.connect(way).send({ message: Buffer.from('first') })
    await gateway.collector.hasReached(1)
    const bytes = sumOf(await gateway.metrics(), 'tollgate_in_flight_bytes')
    const waiting: Promise<Answer>[] = []
    for (const size of [1, 2, 3]) {
      waiting.push(gateway.connect(way).send({ message: Buffer.alloc(size) }))
      await gateway.until((page) => sumOf(page, 'tollgate_held') === size, 'one more that waits')
    }
    // What came ahead of being read is counted: HTTP/2 lets a little through. No room is taken for more.
    const ahead = sumOf(await gateway.metrics(), 'tollgate_in_flight_bytes') - bytes
    assert.ok(ahead <= 1 + 2 + 3 + 3 * 5, `${ahead} bytes`)
    assert.equal(gateway.collector.reached.length, 1)
    gateway.collector.resumeReading()
    for (const answer of await Promise.all([first, ...waiting])) assertAccepted(answer)
    const sizes = gateway.collector.reached.map((reached) => reached.bytes().length - 5)
    assert.deepEqual(sizes, [5, 1, 2, 3])
  })

  test(`${way}: an empty message waits as well as any other`, async (t) => {
    const gateway = await startGateway(t, { env: { IN_FLIGHT: '1', HOLD: '5m' } })
    gateway.collector.script({ kind: 'slow' })
    const first = gateway.connect(way).send({ message: Buffer.from('first') })
    await gateway.collector.hasReached(1)
    const second = gateway.connect(way).send()
    await gateway.until((page) => sumOf(page, 'tollgate_held') === 1, 'a call that waits')
    gateway.collector.resumeReading()
    assertAccepted(await first)
    assertAccepted(await second)
  })

  test(`${way}: calls that find the collector away wait for it, and none is lost`, async (t) => {
    const gateway = await startGateway(t, { speaks: 'grpc' })
    const { grpcPort } = gateway.collector
    const client = gateway.connect(way)
    assertAccepted(await client.send())
    await gateway.collector.die()
    await gateway.until((page) => sumOf(page, 'tollgate_collector_up') === 0, 'the collector away')
    const messages = [1, 2, 3, 4, 5].map((size) => Buffer.alloc(size, size))
    const answers = messages.map((message) => client.send({ message }))
    await gateway.until((page) => sumOf(page, 'tollgate_held') === 5, 'five calls that wait')
    const back = await startCollector({ grpcPort })
    t.after(() => back.die())
    for (const answer of await Promise.all(answers)) assertAccepted(answer)
    const arrived = back.reached.map(({ bytes }) => bytes().length - 5)
    assert.deepEqual(arrived.sort(), [1, 2, 3, 4, 5])
    const saved = { reason: 'collector_unavailable', how: 'saved' }
    assert.equal(sumOf(await gateway.metrics(), 'tollgate_held_ended_total', saved), 5)
    client.close()
    await gateway.stop()
  })

  test(`${way}: a client that leaves while it waits gives up its place`, async (t) => {
    const gateway = await startGateway(t, { env: { HOLD: '5m', RATE: '1/min', BURST: '1' } })
    const client = gateway.connect(way)
    assertAccepted(await client.send())
    const call = client.open({})
    await gateway.until((page) => sumOf(page, 'tollgate_held') === 1, 'a call that waits')
    call.cancel()
    await assert.rejects(call.answer)
    await gateway.until((page) => sumOf(page, 'tollgate_held') === 0, 'nobody waiting')
    assert.deepEqual(await gateway.outcomes(), { accepted: 1, client_gone: 1 })
  })

  test(`${way}: more than may wait are refused`, async (t) => {
    // A tenth of twenty for one token.
    const env = { HOLD: '5m', RATE: '1/min', BURST: '1', MAX_HELD: '20' }
    const gateway = await startGateway(t, { env })
    const client = gateway.connect(way)
    assertAccepted(await client.send())
    const waiting = [client.open({}), client.open({})]
    await gateway.until((page) => sumOf(page, 'tollgate_held') === 2, 'two calls that wait')
    assertRefusedWith(await client.open({}).answer, 429, 8)
    for (const call of waiting) call.cancel()
  })

  test(`${way}: the bytes of a message are charged, and waited for`, async (t) => {
    // The burst is the largest message.
    const env = { BYTES: '100KiB/s', MAX_BODY: '1MiB', HOLD: '5m' }
    const gateway = await startGateway(t, { env })
    const client = gateway.connect(way)
    assertAccepted(await client.send({ message: Buffer.alloc(1024 * 1024) }))
    assertAccepted(await client.send({ message: Buffer.alloc(1024 * 1024) }))
    const call = client.open({})
    await gateway.until((page) => sumOf(page, 'tollgate_held') === 1, 'a call that waits')
    call.cancel()
  })

  test(`${way}: a message larger than the burst is late, not refused for ever`, async (t) => {
    const tokens = [{ token: TOKEN, limits: { bytes: '1KiB/s' } }]
    const gateway = await startGateway(t, { tokens, env: { HOLD: 'off' } })
    const client = gateway.connect(way)
    assertAccepted(await client.send({ message: Buffer.alloc(50_000) }))
    assertRefusedWith(await client.send({ message: Buffer.alloc(1) }), 429, 8)
  })

  test(`${way}: calls in flight of one token are counted, over all its connections`, async (t) => {
    const limits = { inFlight: 1 }
    const gateway = await startGateway(t, { tokens: [{ token: TOKEN, limits }, { token: OTHER }] })
    gateway.collector.script({ kind: 'slow' })
    const first = gateway.connect(way).send({ message: Buffer.from('first') })
    await gateway.collector.hasReached(1)
    const second = gateway.connect(way).send({ message: Buffer.from('second') })
    await gateway.until((page) => sumOf(page, 'tollgate_held') === 1, 'a call that waits')
    assertAccepted(await gateway.connect(way).send({ token: OTHER }))
    gateway.collector.resumeReading()
    assertAccepted(await first)
    assertAccepted(await second)
  })
}

test('one budget for an address, over both ports, all ways and all its tokens', async (t) => {
  const env = { HOLD: 'off', RATE: '1/min', BURST: '3' }
  const gateway = await startGateway(t, { env, tokens: [{ token: TOKEN }, { token: OTHER }] })
  const { grpc, http } = gateway.addresses
  assertAccepted(await gateway.connect('gRPC', { address: grpc }).send())
  assertAccepted(await gateway.connect('HTTP/1.1', { address: http }).send({ token: OTHER }))
  assertAccepted(await gateway.connect('HTTP/2', { address: grpc }).send())
  assertRefusedWith(await gateway.connect('HTTP/2', { address: http }).send(), 429, 8)
  assertRefusedWith(await gateway.connect('gRPC').send({ token: OTHER }), 429, 8)
  // Who is refused for another reason has paid for it all the same, so guessing is limited too.
  assertRefusedWith(await gateway.connect('gRPC').send({ token: null }), 429, 8)
})

test('a token with a budget of its own leaves others their share', async (t) => {
  const limits = { rate: '1/m', burst: 1 }
  const gateway = await startGateway(t, {
    env: { HOLD: 'off' },
    tokens: [{ token: TOKEN, limits }, { token: OTHER }],
  })
  const client = gateway.connect('gRPC')
  assertAccepted(await client.send())
  assertRefusedWith(await client.send(), 429, 8)
  assertAccepted(await client.send({ token: OTHER }))
})

test('who has many calls waiting delays himself, not others', async (t) => {
  const env = { IN_FLIGHT: '1', HOLD: '5m' }
  const gateway = await startGateway(t, { env, tokens: [{ token: TOKEN }, { token: OTHER }] })
  const client = gateway.connect('gRPC')
  gateway.collector.script({ kind: 'slow' })
  const order: string[] = []
  const send = async (token: string) => {
    assertAccepted(await client.send({ token, message: Buffer.from(token) }))
    order.push(token)
  }
  const calls = Array.from({ length: 11 }, () => send(TOKEN))
  await gateway.until((page) => sumOf(page, 'tollgate_held') === 10, 'ten calls that wait')
  calls.push(send(OTHER))
  await gateway.until((page) => sumOf(page, 'tollgate_held') === 11, 'one more that waits')
  gateway.collector.resumeReading()
  await Promise.all(calls)
  // The one under way and at most one of the ten went before it.
  assert.ok(order.indexOf(OTHER) <= 2, `it was number ${order.indexOf(OTHER) + 1}`)
})

test('a gRPC deadline that waiting would miss is not waited for', async (t) => {
  const env = { HOLD: '30s', RATE: '6/min', BURST: '1' }
  const gateway = await startGateway(t, { env })
  const client = gateway.connect('gRPC')
  assertAccepted(await client.send())
  // Ten seconds until there is budget, and the client waits five.
  const answer = await client.send({ headers: { 'grpc-timeout': '5S' } })
  assert.equal(answer.grpcStatus, 8)
  assert.equal(sumOf(await gateway.metrics(), 'tollgate_held_total', held), 0)
})

test('a gRPC deadline that passes while the collector is away ends the wait before it', async (t) => {
  const gateway = await startGateway(t, { speaks: 'grpc', env: { HOLD: '5m' } })
  await gateway.collector.die()
  await gateway.until((page) => sumOf(page, 'tollgate_collector_up') === 0, 'the collector away')
  const answer: Answer = await gateway.connect('gRPC').send({ headers: { 'grpc-timeout': '400m' } })
  assert.equal(answer.grpcStatus, 14)
  const refused = { reason: 'collector_unavailable', how: 'refused' }
  assert.equal(sumOf(await gateway.metrics(), 'tollgate_held_ended_total', refused), 1)
})

test('the deadline travels on, less what has passed', async (t) => {
  const gateway = await startGateway(t, { speaks: 'grpc' })
  assertAccepted(await gateway.connect('gRPC').send({ headers: { 'grpc-timeout': '9992802u' } }))
  const timeout = String(gateway.collector.reached[0]?.headers['grpc-timeout'])
  assert.match(timeout, /^\d{1,8}m$/)
  assert.ok(Number.parseInt(timeout, 10) <= 9992)
})

test('the page tells the bounds that were set, for alerts to measure against', async (t) => {
  const env = { MAX_HELD: '20', MAX_CONNECTIONS: '30', MAX_IN_FLIGHT_BYTES: '128MiB' }
  const gateway = await startGateway(t, { env })
  const page = await gateway.metrics()
  assert.equal(sumOf(page, 'tollgate_max_held'), 20)
  assert.equal(sumOf(page, 'tollgate_max_connections'), 30)
  assert.equal(sumOf(page, 'tollgate_max_in_flight_bytes'), 128 * 2 ** 20)
})
