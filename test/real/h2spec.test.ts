/**
 * h2spec, strict cases included, against the gateway over TLS and plaintext, and against a server of
 * the bare engine that reads every request to its end before it answers.
 */
import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { ServerConnection } from '../../src/http2/server-connection.ts'
import type { ServerStream } from '../../src/http2/server-stream.ts'
import { runToEnd } from '../support/child.ts'
import { startGateway } from '../support/gateway.ts'
import { hasTools, tool } from '../support/tools.ts'

/** All there are in this version, the strict ones included. */
const CASES = 146

/**
 * h2spec asks for `/` without a token, which the gateway refuses before the body (RFC 9113 section
 * 8.1 lets a server answer early, and reset the rest without error). What these cases do wrong comes
 * behind that answer, where it is no longer looked at. The bare engine is held to them below.
 */
const BEHIND_THE_ANSWER = [
  'http2/6.9.1 Sends multiple WINDOW_UPDATE frames increasing the flow control window to above 2^31-1 on a stream',
  'http2/8.1 Sends a second HEADERS frame without the END_STREAM flag',
  'http2/8.1.2.1 Sends a HEADERS frame that contains a pseudo-header field as trailers',
  'http2/8.1.2.6 Sends a HEADERS frame with the "content-length" header field which does not equal the DATA frame payload length',
  'http2/8.1.2.6 Sends a HEADERS frame with the "content-length" header field which does not equal the sum of the multiple DATA frames payload length',
]
/** A plaintext port speaks HTTP/1.1 with whoever does not begin with the preface: it answers 400. */
const NOT_HTTP2 = ['http2/3.5 Sends invalid connection preface']

test('h2spec against the gateway over TLS', { timeout: 60_000 }, async (t) => {
  if (!hasTools(t, 'h2spec')) return
  const { addresses } = await startGateway(t, { env: { RATE: 'off' } })
  const failed = await h2spec(t, addresses.grpc, '--tls', '--insecure')
  assert.deepEqual(without(failed, BEHIND_THE_ANSWER), [])
})

test('h2spec against the gateway over plaintext', { timeout: 60_000 }, async (t) => {
  if (!hasTools(t, 'h2spec')) return
  const { addresses } = await startGateway(t, { env: { RATE: 'off', TLS: 'off' } })
  const failed = await h2spec(t, addresses.grpc)
  assert.deepEqual(without(failed, [...BEHIND_THE_ANSWER, ...NOT_HTTP2]), [])
})

test('h2spec against the bare engine', { timeout: 60_000 }, async (t) => {
  if (!hasTools(t, 'h2spec')) return
  assert.deepEqual(await h2spec(t, await serveEngine(t)), [])
})

/** The names of the cases that failed. */
async function h2spec(t: TestContext, address: string, ...args: string[]): Promise<string[]> {
  const { hostname, port } = new URL(`http://${address}`)
  const folder = await mkdtemp(join(tmpdir(), 'tollgate-h2spec-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  const report = join(folder, 'report.xml')
  const to = ['--host', hostname, '--port', port]
  const asked = ['--strict', '--junit-report', report, ...to, ...args]
  const { stdout, stderr } = await runToEnd(tool('h2spec'), asked)
  const xml = await readFile(report, 'utf8').catch(() => assert.fail(stdout + stderr))
  const cases = [
    ...xml.matchAll(/<testcase package="(.*?)" classname="(.*?)"[^>]*>(.*?)<\/testcase>/gs),
  ]
  assert.equal(cases.length, CASES, 'cases in the report')
  return cases
    .filter(([, , , inside = '']) => inside.trim() !== '')
    .map(([, section = '', title = '']) => `${section} ${title.replaceAll('&#34;', '"')}`)
}

function without(failed: readonly string[], known: readonly string[]): string[] {
  return failed.filter((name) => !known.includes(name))
}

/** A server that answers when a request has ended. Returns its `host:port`. */
async function serveEngine(t: TestContext): Promise<string> {
  const connections = new Set<ServerConnection>()
  const ticker = setInterval(() => {
    for (const connection of connections) connection.tick(performance.now())
  }, 1000)
  const server = createServer((socket) => {
    const connection = new ServerConnection(
      socket,
      {
        maxStreams: 250,
        maxListBytes: 16 * 1024,
        maxFields: 64,
        windowBytes: 1024 * 1024,
        streamWindowBytes: 256 * 1024,
        headerTimeoutMs: 10_000,
        idleTimeoutMs: 30_000,
        sendTimeoutMs: 30_000,
        onRequest: answerAtTheEnd,
        onShut: (ended) => connections.delete(ended),
        onMisuse: () => {},
      },
      performance.now(),
    )
    connections.add(connection)
  })
  t.after(() => {
    clearInterval(ticker)
    server.close()
    for (const { socket } of connections) socket.destroy()
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return `127.0.0.1:${(server.address() as AddressInfo).port}`
}

function answerAtTheEnd(stream: ServerStream): void {
  stream.start({
    chunk: () => {},
    end: () => stream.answer(200, { 'content-type': 'text/plain' }, Buffer.alloc(10_000, 'x')),
    failed: () => {},
  })
}
