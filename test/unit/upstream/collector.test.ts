import assert from 'node:assert/strict'
import { afterEach, before, test } from 'node:test'
import { type Issued, issueCa, issueServer } from '../../../src/tls/issue.ts'
import { createCollector } from '../../../src/upstream/collector.ts'
import { startCollector } from '../../support/collector.ts'
import { alsoClose, closePairs, fault, pair, until } from '../../support/collector-pair.ts'
import { parcel, permit, streamedBody } from '../../support/parcel.ts'
import { startRelay } from '../../support/relay.ts'

afterEach(closePairs)

let ca: Issued
let otherCa: Issued
let server: Issued
before(async () => {
  ca = await issueCa('test CA', Date.now())
  otherCa = await issueCa('another CA', Date.now())
  server = await issueServer(ca, ['localhost', '127.0.0.1'], Date.now())
})

for (const way of ['grpc', 'http'] as const) {
  for (const host of ['localhost', '127.0.0.1']) {
    test(`${way} over TLS with a private CA, to ${host}`, async () => {
      const { far, send } = await pair({ tls: server, ca: ca.cert, host, ways: [way] })
      const answer = await send()
      assert.equal(answer.status, way === 'grpc' ? 0 : 200)
      assert.equal(far.reached[0]?.protocol, way)
    })
  }
}

test('gRPC over TLS with the wrong CA or none never counts as up, and says why', async () => {
  for (const trusted of [otherCa.cert, undefined]) {
    const trust = trusted === undefined ? {} : { ca: trusted }
    const { far, near, changes, send } = await pair({ tls: server, ...trust, waits: false })
    await until(() => changes.length > 0)
    assert.equal(near.isAvailable(), false)
    assert.match(changes[0]?.[1] ?? '', /certificate is signed by nobody we trust/)
    await assert.rejects(send(), fault('collector_unavailable', true))
    assert.equal(far.reached.length, 0)
  }
})

test('a certificate for another name is refused', async () => {
  const elsewhere = await issueServer(ca, ['collector.example'], Date.now())
  const { changes } = await pair({ tls: elsewhere, ca: ca.cert, waits: false })
  await until(() => changes.length > 0)
  assert.match(changes[0]?.[1] ?? '', /certificate is for another name/)
})

test('HTTP over TLS with the wrong CA: nothing is sent', async () => {
  const { far, send } = await pair({ tls: server, ca: otherCa.cert, ways: ['http'] })
  await assert.rejects(send(), fault('collector_unavailable', true))
  assert.equal(far.reached.length, 0)
})

test('a TLS port that does not speak HTTP/2 never counts as up', async () => {
  const far = await startCollector({ tls: server })
  alsoClose(() => far.die())
  const words: string[] = []
  const near = createCollector({
    grpc: [{ protocol: 'https:', host: '127.0.0.1', port: far.httpPort, path: '' }],
    http: [],
    ca: ca.cert,
    timeoutMs: 1000,
    now: () => performance.now(),
    onChange: (_isAvailable, said) => words.push(said),
  })
  alsoClose(() => near.close())
  near.start()
  await until(() => words.length > 0)
  assert.match(words[0] ?? '', /does not speak HTTP\/2/)
})

test('a port that does not speak HTTP/2 never counts as up', async () => {
  const far = await startCollector()
  alsoClose(() => far.die())
  const words: string[] = []
  const near = createCollector({
    grpc: [{ protocol: 'http:', host: '127.0.0.1', port: far.httpPort, path: '' }],
    http: [],
    timeoutMs: 1000,
    now: () => performance.now(),
    onChange: (_isAvailable, said) => words.push(said),
  })
  alsoClose(() => near.close())
  near.start()
  await until(() => words.length > 0)
  assert.match(words[0] ?? '', /does not speak HTTP\/2|closed by the other side/)
  assert.equal(near.isAvailable(), false)
})

test('with both ways protobuf goes over gRPC, JSON and bodies of unknown length over HTTP', async () => {
  const { far, near, send } = await pair({ ways: ['grpc', 'http'] })
  await send()
  await send({ format: 'json' })
  const body = streamedBody(undefined, async function* () {
    yield Buffer.from('x')
  })
  await send({ body })
  assert.deepEqual(
    far.reached.map(({ protocol }) => protocol),
    ['grpc', 'http', 'http'],
  )
  assert.deepEqual([near.accepts('protobuf'), near.accepts('json')], [true, true])
})

test('with gRPC alone JSON is not accepted', async () => {
  const { near } = await pair()
  assert.deepEqual([near.accepts('protobuf'), near.accepts('json')], [true, false])
})

test('a connection on which nothing arrives any more is given up for a new one', async () => {
  const far = await startCollector()
  alsoClose(() => far.die())
  const relay = await startRelay(far.grpcPort)
  alsoClose(() => relay.close())
  const near = createCollector({
    grpc: [{ protocol: 'http:', host: '127.0.0.1', port: relay.port, path: '' }],
    http: [],
    timeoutMs: 1200,
    now: () => performance.now(),
    onChange() {},
  })
  alsoClose(() => near.close())
  near.start()
  await until(() => near.isAvailable())
  await near.send(parcel(), permit())
  relay.cutOff()
  await assert.rejects(near.send(parcel(), permit()), fault('collector_timeout', false))
  assert.equal((await near.send(parcel(), permit())).status, 0)
  assert.equal(far.reached.length, 2)
})

test('several addresses take turns, and one that is away is left out', async () => {
  const [first, second] = [await startCollector(), await startCollector()]
  alsoClose(() => first.die())
  alsoClose(() => second.die())
  const address = (port: number) =>
    ({ protocol: 'http:', host: '127.0.0.1', port, path: '' }) as const
  const near = createCollector({
    grpc: [address(first.grpcPort), address(second.grpcPort)],
    http: [],
    timeoutMs: 5000,
    now: () => performance.now(),
    onChange() {},
  })
  alsoClose(() => near.close())
  near.start()
  await until(() => near.state().every(({ isConnected }) => isConnected))
  const send = () => near.send(parcel(), permit())
  for (let sent = 0; sent < 4; sent += 1) await send()
  assert.deepEqual([first.reached.length, second.reached.length], [2, 2])
  await first.die()
  await until(() => near.state()[0]?.isConnected === false)
  assert.equal(near.isAvailable(), true)
  for (let sent = 0; sent < 3; sent += 1) await send()
  assert.equal(second.reached.length, 5)
})

test('before the start and after the end nobody is there', async () => {
  const { near, changes, send } = await pair()
  await near.close()
  assert.equal(near.isAvailable(), false)
  await assert.rejects(send(), fault('collector_unavailable', true))
  assert.equal(changes.length, 1)
})

test('health: a collector that answers at all counts as serving', async () => {
  const { far, near } = await pair()
  far.behave({ kind: 'refuse', status: 12 })
  const [without] = await near.health(2000)
  assert.deepEqual([without?.isServing, without?.words], [true, 'reachable, has no health service'])
  far.behave({ kind: 'ok', message: Buffer.from([8, 1]) })
  assert.equal((await near.health(2000))[0]?.isServing, true)
  far.behave({ kind: 'ok', message: Buffer.from([8, 2]) })
  assert.deepEqual((await near.health(2000))[0]?.isServing, false)
  await far.die()
  assert.match((await near.health(2000))[0]?.words ?? '', /^no health: UNAVAILABLE/)
})
