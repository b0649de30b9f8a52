/** What probes and clients are told of the gateway's own state. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { assertAccepted, assertRefusedWith } from '../support/answers.ts'
import { type Answer, type Client, frame } from '../support/client.ts'
import { startCollector } from '../support/collector.ts'
import { sumOf } from '../support/exposition.ts'
import { startGateway, type TestGateway } from '../support/gateway.ts'

const CHECK = '/grpc.health.v1.Health/Check'
/** HealthCheckResponse.ServingStatus */
const SERVING = Buffer.from([0x08, 1])
const NOT_SERVING = Buffer.from([0x08, 2])

test('grpc.health.v1 needs no token, and says whether the gateway is ready', async (t) => {
  const gateway = await startGateway(t, { speaks: 'grpc' })
  const { grpcPort } = gateway.collector
  const client = gateway.connect('gRPC')
  for (const service of ['', 'opentelemetry.proto.collector.trace.v1.TraceService']) {
    const answer = await check(client, service)
    assert.equal(answer.grpcStatus, 0)
    assert.deepEqual(answer.body, SERVING)
  }
  assert.equal((await check(client, 'nobody.Knows')).grpcStatus, 5)
  const watch = await client.send({ path: '/grpc.health.v1.Health/Watch', token: null })
  assert.equal(watch.grpcStatus, 12)

  await gateway.collector.die()
  await gateway.until((page) => sumOf(page, 'tollgate_collector_up') === 0, 'the collector away')
  const away = await check(client, '')
  assert.equal(away.grpcStatus, 0)
  assert.deepEqual(away.body, NOT_SERVING)

  const back = await startCollector({ grpcPort })
  t.after(() => back.die())
  await gateway.until((page) => sumOf(page, 'tollgate_collector_up') === 1, 'the collector back')
  assert.deepEqual((await check(client, '')).body, SERVING)
  await gateway.stop()
})

test('a health check that is none is refused without reading on', async (t) => {
  const client = (await startGateway(t)).connect('gRPC')
  const malformed = await client.send({ path: CHECK, token: null, message: Buffer.from([0x0a, 9]) })
  assert.equal(malformed.grpcStatus, 3)
  const large = await client.send({ path: CHECK, token: null, message: Buffer.alloc(10_000) })
  assert.equal(large.grpcStatus, 8)
})

test('health checks take from the budget of their address', async (t) => {
  const gateway = await startGateway(t, { env: { HOLD: 'off', RATE: '1/min', BURST: '2' } })
  const client = gateway.connect('gRPC')
  assert.equal((await check(client, '')).grpcStatus, 0)
  assert.equal((await check(client, '')).grpcStatus, 0)
  assert.equal((await check(client, '')).grpcStatus, 8)
  assertRefusedWith(await client.send(), 429, 8)
})

test('/healthz and /readyz', async (t) => {
  const gateway = await startGateway(t, { speaks: 'grpc' })
  assert.deepEqual(await look(gateway, '/healthz'), { status: 200, text: 'ok\n' })
  const ready = await look(gateway, '/readyz')
  assert.equal(ready.status, 200)
  await gateway.collector.die()
  await gateway.until((page) => sumOf(page, 'tollgate_collector_up') === 0, 'the collector away')
  const away = await look(gateway, '/readyz')
  assert.equal(away.status, 503)
  assert.match(away.text, /the collector cannot be reached/)
  assert.equal((await look(gateway, '/healthz')).status, 200)
})

test('/readyz turns at once when the gateway begins to stop, and metrics go on', async (t) => {
  const gateway = await startGateway(t)
  gateway.collector.behave({ kind: 'slow' })
  const answer = gateway.connect('gRPC').send({ message: Buffer.from('message') })
  await gateway.collector.hasReached(1)
  const drained = gateway.drain('test')
  const stopping = await look(gateway, '/readyz')
  assert.equal(stopping.status, 503)
  assert.match(stopping.text, /the gateway is stopping/)
  assert.equal(sumOf(await gateway.metrics(), 'tollgate_in_flight'), 1)
  gateway.collector.resumeReading()
  assertAccepted(await answer)
  assert.equal(await drained, 0)
})

test('HTTP/1.1 clients are told their budget, the one all ways share', async (t) => {
  const gateway = await startGateway(t, { env: { RATE: '1/min', BURST: '10', HOLD: 'off' } })
  const client = gateway.connect('HTTP/1.1')
  const left = async () => {
    const answer = await client.send()
    assertAccepted(answer)
    assert.equal(answer.headers['x-ratelimit-limit'], '10')
    assert.match(String(answer.headers['x-ratelimit-reset']), /^\d+$/)
    return Number(answer.headers['x-ratelimit-remaining'])
  }
  assert.equal(await left(), 9)
  assertAccepted(await gateway.connect('gRPC').send())
  assertAccepted(await gateway.connect('HTTP/2').send())
  assert.equal(await left(), 6)
  for (let rest = 6; rest > 0; rest -= 1) assertAccepted(await client.send())
  const refused = await client.send()
  assert.equal(refused.httpStatus, 429)
  assert.equal(refused.headers['x-ratelimit-remaining'], '0')
  assert.equal(refused.headers['content-type'], 'application/x-protobuf')
})

test('over its rate a call waits on HTTP/1.1 too: the plugin that tells the budget does not refuse', async (t) => {
  const gateway = await startGateway(t, { env: { RATE: '5/s', BURST: '1' } })
  const client = gateway.connect('HTTP/1.1')
  for (const answer of await Promise.all([client.send(), client.send(), client.send()]))
    assertAccepted(answer)
})

test('without a budget there is nothing to tell', async (t) => {
  const gateway = await startGateway(t, { env: { RATE: 'off' } })
  const answer = await gateway.connect('HTTP/1.1').send()
  assertAccepted(answer)
  assert.equal(answer.headers['x-ratelimit-limit'], undefined)
})

function check(client: Client, service: string): Promise<Answer> {
  const name = Buffer.from(service)
  const message = name.length === 0 ? name : Buffer.concat([Buffer.from([0x0a, name.length]), name])
  assert.equal(frame(message).length, 5 + message.length)
  return client.send({ path: CHECK, token: null, message })
}

async function look({ addresses }: TestGateway, path: string) {
  const answer = await fetch(`http://${addresses.admin}${path}`)
  return { status: answer.status, text: await answer.text() }
}
