/**
 * OTLP/HTTP over HTTP/2 with curl, nghttp and h2load, to a collector that speaks HTTP and to one that
 * speaks gRPC alone.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { gunzipSync, gzipSync } from 'node:zlib'
import { runToEnd } from '../support/child.ts'
import { TOKEN } from '../support/gateway.ts'
import { hasTools, tool } from '../support/tools.ts'
import { assertArrived, BACKENDS, type Bench, bodyOf, open, SEED } from './clients/http-bench.ts'
import { createRandom, EDGE_SIZES, type Message, payload } from './clients/payloads.ts'

const TYPE = 'content-type: application/x-protobuf'
const AUTHORIZATION = `authorization: Bearer ${TOKEN}`

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
