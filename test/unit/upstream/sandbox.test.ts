import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { request } from 'undici'
import { type Issued, issueCa, issueServer } from '../../../src/tls/issue.ts'
import { createCollector } from '../../../src/upstream/collector.ts'
import { sampleRequests } from '../../../src/upstream/sample.ts'
import { type Sandbox, startSandbox } from '../../../src/upstream/sandbox.ts'
import { sendOneOfEach } from '../../../src/upstream/self-check.ts'
import { startCollector } from '../../support/collector.ts'
import { until } from '../../support/collector-pair.ts'
import { parcel, permit, wholeBody } from '../../support/parcel.ts'

let sandbox: Sandbox
before(async () => {
  sandbox = await startSandbox()
})
after(() => sandbox.close())

function post(path: string, type: string, body: Buffer, encoding?: string) {
  const headers = {
    'content-type': type,
    ...(encoding === undefined ? {} : { 'content-encoding': encoding }),
  }
  return request(`http://127.0.0.1:${sandbox.httpPort}${path}`, { method: 'POST', headers, body })
}

test('one of each over both protocols arrives and is counted', async () => {
  const earlier = sandbox.counts()
  const results = await sendOneOfEach({
    grpcTarget: `127.0.0.1:${sandbox.grpcPort}`,
    httpOrigin: `http://127.0.0.1:${sandbox.httpPort}`,
    token: 'not-needed',
    timeoutMs: 5000,
  })
  assert.deepEqual(
    results.map(({ protocol, signal, ok, words }) => [protocol, signal, ok, words]),
    ['grpc', 'http'].flatMap((protocol) =>
      ['traces', 'metrics', 'logs'].map((signal) => [protocol, signal, true, 'accepted']),
    ),
  )
  const now = sandbox.counts()
  for (const signal of ['traces', 'metrics', 'logs'] as const)
    assert.equal(now[signal] - earlier[signal], 2, signal)
})

for (const way of ['grpc', 'http'] as const) {
  test(`the gateway's ${way} way reaches it, with gzip too`, async (t) => {
    const port = way === 'grpc' ? sandbox.grpcPort : sandbox.httpPort
    const addresses = [{ protocol: 'http:', host: '127.0.0.1', port, path: '' } as const]
    const collector = createCollector({
      grpc: way === 'grpc' ? addresses : [],
      http: way === 'http' ? addresses : [],
      timeoutMs: 5000,
      now: () => performance.now(),
      onChange() {},
    })
    t.after(() => collector.close())
    collector.start()
    await until(() => collector.isAvailable())
    const earlier = sandbox.counts()
    const message = Buffer.from(sampleRequests(0).metrics)
    const plain = parcel({ signal: 'metrics', body: wholeBody(message) })
    const zipped = parcel({
      signal: 'metrics',
      encoding: 'gzip',
      body: wholeBody(gzipSync(message)),
      acceptEncoding: 'gzip',
    })
    const good = way === 'grpc' ? 0 : 200
    assert.equal((await collector.send(plain, permit())).status, good)
    assert.equal((await collector.send(zipped, permit())).status, good)
    assert.equal(sandbox.counts().metrics - earlier.metrics, 2)
    if (way === 'grpc') assert.equal((await collector.health(5000))[0]?.isServing, true)
  })
}

test('JSON and gzip are read, and the answer has the type of the request, verbatim', async () => {
  const earlier = sandbox.counts()
  const json = Buffer.from('{"resourceSpans":[{"scopeSpans":[{"spans":[{},{}]}]}]}')
  const taken = await post('/v1/traces', 'application/json', json)
  assert.deepEqual(
    [taken.statusCode, taken.headers['content-type'], await taken.body.text()],
    [200, 'application/json', '{}'],
  )
  const zipped = gzipSync(sampleRequests(0).logs)
  assert.equal((await post('/v1/logs', 'application/x-protobuf', zipped, 'gzip')).statusCode, 200)
  const now = sandbox.counts()
  assert.deepEqual([now.traces - earlier.traces, now.logs - earlier.logs], [2, 1])
})

test('what is not OTLP is refused and not counted', async () => {
  const earlier = sandbox.counts()
  const bad = Buffer.from([0x0a, 0xff])
  assert.equal((await post('/v1/traces', 'application/x-protobuf', bad)).statusCode, 400)
  assert.equal((await post('/v1/traces', 'application/json', bad)).statusCode, 400)
  assert.equal((await post('/v1/traces', 'text/plain', bad)).statusCode, 415)
  assert.equal((await post('/elsewhere', 'application/json', bad)).statusCode, 404)
  assert.deepEqual(sandbox.counts(), earlier)
})

test('the self-check works over TLS, sends its token, and says what went wrong', async (t) => {
  const ca: Issued = await issueCa('test CA', Date.now())
  const collector = await startCollector({ tls: await issueServer(ca, ['localhost'], Date.now()) })
  t.after(() => collector.die())
  const options = {
    grpcTarget: `localhost:${collector.grpcPort}`,
    httpOrigin: `https://localhost:${collector.httpPort}`,
    token: 'tg_test',
    caPem: ca.cert,
    timeoutMs: 5000,
  }
  const good = await sendOneOfEach(options)
  assert.deepEqual([good.length, good.every(({ ok }) => ok)], [6, true])
  assert.ok(collector.reached.every(({ headers }) => headers.authorization === 'Bearer tg_test'))

  const body = Buffer.from('\u0008\u0010\u0012\u0003bad')
  collector.behave({ kind: 'refuse', status: 16, message: 'bad', httpStatus: 401, body })
  const refused = await sendOneOfEach(options)
  assert.deepEqual(
    new Set(refused.map(({ ok, words }) => `${ok} ${words}`)),
    new Set(['false UNAUTHENTICATED: bad', 'false HTTP 401: bad']),
  )

  // rejected_spans = 1, error_message = "full"
  const partial = Buffer.from('\u000a\u0008\u0008\u0001\u0012\u0004full')
  collector.behave({ kind: 'ok', message: partial })
  for (const { ok, words } of await sendOneOfEach(options))
    assert.deepEqual([ok, words], [false, 'the collector did not take it: full'])

  const mistrusted = await sendOneOfEach({
    ...options,
    caPem: (await issueCa('x', Date.now())).cert,
  })
  for (const { ok, words } of mistrusted) {
    assert.equal(ok, false)
    assert.match(words, /certificate/)
  }
})

test('nobody there is said in words', async () => {
  const gone = await startSandbox()
  await gone.close()
  const results = await sendOneOfEach({
    grpcTarget: `127.0.0.1:${gone.grpcPort}`,
    httpOrigin: `http://127.0.0.1:${gone.httpPort}`,
    timeoutMs: 5000,
  })
  assert.deepEqual(
    new Set(results.map(({ words }) => words)),
    new Set(['UNAVAILABLE: connection refused', 'connection refused']),
  )
})
