/** OTLP/HTTP over HTTP/2 with Node's own client, whatever its settings. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import {
  type ClientHttp2Session,
  type ClientSessionOptions,
  connect,
  constants,
  type IncomingHttpHeaders,
  type SecureClientSessionOptions,
} from 'node:http2'
import { test } from 'node:test'
import { sumOf } from '../support/exposition.ts'
import { TOKEN } from '../support/gateway.ts'
import { assertArrived, type Bench, open, PATH, SEED } from './clients/http-bench.ts'
import { createRandom, payload } from './clients/payloads.ts'
import { assertSameBytes } from './clients/scene.ts'

/** What Node's client got. */
interface Answer {
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
}

async function withSession(
  bench: Bench,
  options: ClientSessionOptions | SecureClientSessionOptions,
  use: (session: ClientHttp2Session) => Promise<void>,
): Promise<void> {
  const session = connect(bench.url, { ca: bench.gateway.caPem, ...options })
  await once(session, 'remoteSettings')
  try {
    await use(session)
  } finally {
    const closed = once(session, 'close')
    session.close()
    await closed
  }
}

function start(session: ClientHttp2Session, headers: Readonly<Record<string, string>> = {}) {
  const stream = session.request({
    ':method': 'POST',
    ':path': PATH,
    'content-type': 'application/x-protobuf',
    authorization: `Bearer ${TOKEN}`,
    ...headers,
  })
  stream.on('error', () => {})
  return stream
}

async function send(session: ClientHttp2Session, message: Uint8Array): Promise<Answer> {
  const stream = start(session)
  stream.end(message)
  const [headers] = (await once(stream, 'response')) as [IncomingHttpHeaders]
  const chunks: Buffer[] = []
  for await (const chunk of stream) chunks.push(chunk as Buffer)
  return { headers, body: Buffer.concat(chunks) }
}

const NODE_VARIANTS: readonly (readonly [title: string, options: ClientSessionOptions])[] = [
  ['as it is', {}],
  ['a window of one byte', { settings: { initialWindowSize: 1 } }],
  ['a window of 5000 bytes', { settings: { initialWindowSize: 5000 } }],
  ['the largest window', { settings: { initialWindowSize: 2 ** 31 - 1 } }],
  ['no header table', { settings: { headerTableSize: 0 } }],
  ['a large header table', { settings: { headerTableSize: 2 ** 20 } }],
  ['the largest frames', { settings: { maxFrameSize: 2 ** 24 - 1 } }],
  ['padding', { paddingStrategy: constants.PADDING_STRATEGY_MAX }],
]

for (const [title, options] of NODE_VARIANTS) {
  test(`Node's client: ${title}`, async (t) => {
    const bench = await open(t, 'grpc')
    const { collector } = bench.gateway
    const random = createRandom(SEED)
    await withSession(bench, options, async (session) => {
      // A client that takes megabytes in single bytes is no honest one.
      const isTrickle = options.settings?.initialWindowSize === 1
      for (const size of [0, 1, 16_384, 65_536, 700_000]) {
        const message = payload(size, random)
        const answer = payload(isTrickle ? Math.min(size, 20) : size, random)
        collector.reached.length = 0
        collector.behave({ kind: 'ok', message: answer })
        const got = await Promise.all([send(session, message), send(session, message)])
        for (const { headers, body } of got) {
          assert.equal(headers[':status'], 200)
          assertSameBytes(body, answer, 'the answer')
        }
        assertArrived(bench, [message, message])
      }
    })
  })
}

test("Node's client: settings that change, pings, trailers, and streams it gives up", async (t) => {
  const bench = await open(t, 'grpc')
  const { collector } = bench.gateway
  const message = payload(1_000_000, createRandom(SEED))
  await withSession(bench, { settings: { initialWindowSize: 0 } }, async (session) => {
    await t.test('an answer waits for a window, and comes when there is one', async () => {
      collector.behave({ kind: 'ok', message })
      const answers = [send(session, Buffer.from('one')), send(session, Buffer.from('two'))]
      await collector.hasReached(2)
      await new Promise((resolve) => session.ping(resolve))
      session.settings({ initialWindowSize: 2_000_000 })
      for (const answer of answers) assertSameBytes((await answer).body, message, 'the answer')
    })
    await t.test('100 at once, each with trailers', async () => {
      collector.reached.length = 0
      collector.behave({ kind: 'ok' })
      const sent = Array.from({ length: 100 }, (_, at) => Buffer.from(`message ${at}`))
      await Promise.all(
        sent.map(async (bytes) => {
          const stream = session.request(
            {
              ':method': 'POST',
              ':path': PATH,
              'content-type': 'application/x-protobuf',
              authorization: `Bearer ${TOKEN}`,
            },
            { waitForTrailers: true },
          )
          stream.on('wantTrailers', () => stream.sendTrailers({ 'x-sum': String(bytes.length) }))
          stream.end(bytes)
          const [headers] = (await once(stream, 'response')) as [IncomingHttpHeaders]
          assert.equal(headers[':status'], 200)
          stream.resume()
          await once(stream, 'close')
        }),
      )
      assertArrived(bench, sent)
    })
    await t.test('given up while waiting, and in the middle of a body', async () => {
      collector.reached.length = 0
      collector.behave({ kind: 'stall' })
      const waiting = start(session)
      waiting.end('message')
      const sending = start(session, { 'content-length': String(message.length) })
      sending.write(message.subarray(0, 600_000))
      await collector.until(
        () => collector.reached[0]?.isComplete === true && collector.reached.length === 2,
      )
      for (const stream of [waiting, sending]) stream.close(constants.NGHTTP2_CANCEL)
      await collector.until(() =>
        collector.reached.every(({ resetCode }) => resetCode === constants.NGHTTP2_CANCEL),
      )
      collector.reached.length = 0
      collector.behave({ kind: 'ok' })
      for (let at = 0; at < 5; at += 1) await send(session, message)
      assertArrived(
        bench,
        Array.from({ length: 5 }, () => message),
      )
    })
    await t.test('all of it on one connection', async () => {
      const page = await bench.gateway.metrics()
      assert.equal(sumOf(page, 'tollgate_connections_total', { port: 'http' }), 1)
      assert.equal(sumOf(page, 'tollgate_connections_refused_total'), 0)
    })
  })
})
