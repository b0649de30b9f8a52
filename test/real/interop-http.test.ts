/**
 * OTLP/HTTP over HTTP/2 with clients that are not ours: curl, nghttp, h2load and Node's own, to a
 * collector that speaks HTTP and to one that speaks gRPC alone.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import {
  type ClientHttp2Session,
  type ClientSessionOptions,
  connect,
  constants,
  type IncomingHttpHeaders,
  type SecureClientSessionOptions,
} from 'node:http2'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { gunzipSync, gzipSync } from 'node:zlib'
import { runToEnd } from '../support/child.ts'
import type { Reached } from '../support/collector-script.ts'
import { sumOf } from '../support/exposition.ts'
import { startGateway, type TestGateway, TOKEN } from '../support/gateway.ts'
import { hasTools, tool } from '../support/tools.ts'
import { createRandom, EDGE_SIZES, type Message, Messages, payload } from './clients/payloads.ts'
import { assertSameBytes, messageOf } from './clients/scene.ts'

const PATH = '/v1/traces'
const TYPE = 'content-type: application/x-protobuf'
const AUTHORIZATION = `authorization: Bearer ${TOKEN}`
const SEED = 8

interface Bench {
  readonly gateway: TestGateway
  readonly messages: Messages
  readonly ca: string
  readonly url: string
}

/** What the collector speaks. */
const BACKENDS = ['http', 'grpc'] as const

async function open(t: TestContext, speaks: (typeof BACKENDS)[number]): Promise<Bench> {
  const env = { RATE: 'off', IN_FLIGHT: 'off', MAX_BODY: '8MiB' }
  const gateway = await startGateway(t, { speaks, env })
  const ca = join(gateway.folder, 'interop-ca.pem')
  await writeFile(ca, gateway.caPem)
  const url = gateway.addresses.http.replace(/^.*:/, 'https://localhost:') + PATH
  return { gateway, messages: new Messages(join(gateway.folder, 'messages')), ca, url }
}

/** The message as it arrived, on whichever protocol, before any decompression. */
function bodyOf(reached: Reached): Buffer {
  return reached.protocol === 'grpc' ? messageOf(reached) : reached.bytes()
}

/** Exactly these arrived, in any order. */
function assertArrived({ gateway }: Bench, expected: readonly Buffer[]): void {
  const sorted = (list: readonly Buffer[]) => [...list].sort(Buffer.compare)
  const arrived = sorted(gateway.collector.reached.map(bodyOf))
  assert.equal(arrived.length, expected.length, 'arrivals at the collector')
  for (const [at, bytes] of sorted(expected).entries())
    assertSameBytes(arrived[at] ?? Buffer.alloc(0), bytes, 'a message')
}

/** Runs curl with a transfer for each part, on one connection if they follow each other; their `HTTP version status`. */
async function curl(
  { ca, url }: Bench,
  transfers: readonly (readonly string[])[],
  ...options: readonly string[]
): Promise<string[]> {
  const args = transfers.flatMap((transfer, at) => [
    ...(at === 0 ? [] : ['--next']),
    ...['--http2', '--cacert', ca, '--output', '/dev/null', '--header', TYPE],
    ...['--write-out', '%{http_version} %{http_code} %{num_connects}\\n', ...transfer, url],
  ])
  const { code, stdout, stderr } = await runToEnd(tool('curl'), ['-sS', ...options, ...args])
  assert.equal(code, 0, stderr)
  return stdout.split('\n').filter((line) => line !== '')
}

const WITH_TOKEN = ['--header', AUTHORIZATION]
/** curl would ask for leave to send large bodies. */
const AT_ONCE = ['--header', 'expect:']

function upload({ path }: Message): string[] {
  return [...WITH_TOKEN, '--data-binary', `@${path}`]
}

/** Runs nghttp with everything it prints of frames. */
async function nghttp({ url }: Bench, options: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await runToEnd(tool('nghttp'), [
    ...['--verbose', '--null-out', '--header', TYPE, '--header', AUTHORIZATION],
    ...[...options, url],
  ])
  assert.equal(code, 0, stderr)
  assert.doesNotMatch(
    stdout + stderr,
    /Some requests were not processed|\[ERROR\]|GOAWAY frame.*error_code=(?!NO_ERROR)/,
  )
  return stdout
}

function statusesIn(output: string): string[] {
  return [...output.matchAll(/recv \(stream_id=\d+\) :status: (\d+)/g)].map(
    ([, status]) => status ?? '',
  )
}

const NGHTTP_VARIANTS: readonly (readonly string[])[] = [
  [],
  ['--padding', '255'],
  ['--header-table-size', '0'],
  ['--encoder-header-table-size', '0'],
  ['--header-table-size', '65536', '--encoder-header-table-size', '65536'],
  ['--window-bits', '10', '--connection-window-bits', '16'],
  ['--window-bits', '30', '--connection-window-bits', '30'],
  ['--trailer', 'x-sum: 1', '--trailer', 'x-more: 2'],
  ['--no-content-length'],
  ['--expect-continue'],
  ['--no-dep'],
  ['--no-rfc7540-pri'],
  ['--max-concurrent-streams', '1'],
  ['--multiply', '50'],
]

for (const speaks of BACKENDS) {
  test(`curl sends every size to a collector with ${speaks}`, async (t) => {
    if (!hasTools(t, 'curl')) return
    const bench = await open(t, speaks)
    const messages = await Promise.all(EDGE_SIZES.map((size) => bench.messages.of(size)))
    const lines = await curl(
      bench,
      messages.flatMap((each) => [upload(each), [...upload(each), ...AT_ONCE]]),
    )
    assert.deepEqual(
      new Set(lines.slice(1)),
      new Set(['2 200 0']),
      'HTTP/2, accepted, one connection',
    )
    assertArrived(
      bench,
      messages.flatMap(({ bytes }) => [bytes, bytes]),
    )
  })

  test(`curl sends 200 at once, compressed or not, to a collector with ${speaks}`, async (t) => {
    if (!hasTools(t, 'curl')) return
    const bench = await open(t, speaks)
    const random = createRandom(SEED)
    const expected: Buffer[] = []
    const transfers: string[][] = []
    for (let at = 0; at < 200; at += 1) {
      const plain = payload(Math.floor(10 ** (random() * 5)), random)
      const isGzip = random() < 0.5
      const message = await bench.messages.named(`m${at}`, () => (isGzip ? gzipSync(plain) : plain))
      transfers.push([
        ...upload(message),
        ...(isGzip ? ['--header', 'content-encoding: gzip'] : []),
      ])
      expected.push(plain)
    }
    const lines = await curl(bench, transfers, '--parallel', '--parallel-max', '100')
    assert.equal(lines.length, 200)
    for (const line of lines) assert.match(line, /^2 200 [01]$/)
    const { reached } = bench.gateway.collector
    const arrived = reached.map((each) =>
      each.headers['content-encoding'] === 'gzip' ? gunzipSync(each.bytes()) : bodyOf(each),
    )
    assert.deepEqual(arrived.map(String).sort(), expected.map(String).sort())
  })

  test(`nghttp, whatever it is asked to do, to a collector with ${speaks}`, async (t) => {
    if (!hasTools(t, 'nghttp')) return
    const bench = await open(t, speaks)
    const { collector } = bench.gateway
    const message = await bench.messages.of(100_000)
    const answer = payload(300_000, createRandom(SEED))
    collector.behave({ kind: 'ok', message: answer })
    for (const variant of NGHTTP_VARIANTS) {
      await t.test(variant.join(' ') || 'as it is', async () => {
        collector.reached.length = 0
        const output = await nghttp(bench, ['--data', message.path, ...variant])
        const count = variant[0] === '--multiply' ? 50 : 1
        const statuses = statusesIn(output).filter((status) => status !== '100')
        assert.deepEqual(
          statuses,
          Array.from({ length: count }, () => '200'),
        )
        assertArrived(
          bench,
          Array.from({ length: count }, () => message.bytes),
        )
        const data = [...output.matchAll(/recv DATA frame <length=(\d+)/g)]
        const received = data.reduce((sum, [, length]) => sum + Number(length), 0)
        assert.equal(received, count * answer.length, 'bytes of answers')
      })
    }
    await t.test('fields too long for one frame and for us', async () => {
      collector.reached.length = 0
      const output = await nghttp(bench, ['--data', message.path, '--continuation'])
      const [, length = ''] = /send HEADERS frame <length=(\d+)/.exec(output) ?? []
      assert.ok(Number(length) > 16_384, 'a CONTINUATION frame behind HEADERS')
      assert.deepEqual(statusesIn(output), ['431'])
      assertArrived(bench, [])
    })
  })

  test(`h2load, 5000 in a row and many at once, to a collector with ${speaks}`, async (t) => {
    if (!hasTools(t, 'h2load')) return
    const bench = await open(t, speaks)
    const { collector } = bench.gateway
    const message = await bench.messages.of(227)
    const load = async (requests: number, ...options: readonly string[]) => {
      collector.reached.length = 0
      const { stdout } = await runToEnd(tool('h2load'), [
        ...['--requests', String(requests), '--header', TYPE, '--header', AUTHORIZATION],
        ...['--data', message.path, ...options, bench.url],
      ])
      assert.match(stdout, new RegExp(`${requests} succeeded, 0 failed, 0 errored, 0 timeout`))
      assert.match(stdout, new RegExp(`status codes: ${requests} 2xx`))
      assertArrived(
        bench,
        Array.from({ length: requests }, () => message.bytes),
      )
    }
    await load(5000, '--clients', '1', '--max-concurrent-streams', '1')
    await load(5000, '--clients', '10', '--max-concurrent-streams', '100')
    const none = ['--header-table-size', '0', '--encoder-header-table-size', '0']
    await load(500, '--clients', '2', '--max-concurrent-streams', '20', ...none)
    const small = ['--window-bits', '1', '--connection-window-bits', '1']
    await load(500, '--clients', '2', '--max-concurrent-streams', '20', ...small)
  })
}

test('curl is told what is wrong', async (t) => {
  if (!hasTools(t, 'curl')) return
  const bench = await open(t, 'http')
  const small = await bench.messages.of(100)
  const large = await bench.messages.of(9_000_000)
  const body = ['--data-binary', `@${small.path}`]
  const lines = await curl(bench, [
    [...body],
    [...body, '--header', 'authorization: Bearer no-such-token-0123456789'],
    [...upload(large), ...AT_ONCE],
    upload(large),
    [...WITH_TOKEN, ...body, '--url-query', 'a=b', '--request', 'PUT'],
    [...WITH_TOKEN, ...body, '--header', 'content-encoding: br'],
    [...WITH_TOKEN, ...body, '--header', `x-long: ${'v'.repeat(20_000)}`],
    [...WITH_TOKEN, ...body],
  ])
  assert.deepEqual(
    lines.map((line) => line.split(' ').slice(0, 2).join(' ')),
    ['401', '401', '413', '413', '405', '415', '431', '200'].map((status) => `2 ${status}`),
  )
  assert.deepEqual(
    lines.slice(1).map((line) => line.split(' ')[2]),
    lines.slice(1).map(() => '0'),
    'one connection for all',
  )
  assertArrived(bench, [small.bytes])
})

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
