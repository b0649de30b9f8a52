/** Asking gateways, and what they may answer. */
import assert from 'node:assert/strict'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { GatewayCalls } from '../../../src/rotation/gateway-calls.ts'

const TOKEN = {
  id: 'k3m9xw2p',
  holder: 'web',
  fingerprint: '01234567',
  isAccepted: true,
  firstUsedAt: '2026-11-01T00:00:00Z',
  lastUsedAt: '2026-11-02T00:00:00Z',
  requests: 3,
  lastUse: {
    address: '203.0.113.7',
    signal: 'traces',
    protocol: 'http',
    userAgent: 'x',
    sdk: { name: 'Py\u0007thon', version: '1.30.0' },
  },
}

async function served(t: TestContext, listener: RequestListener): Promise<string> {
  const server = createServer(listener)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

const calls = new GatewayCalls(join('/nonexistent', 'control.sock'))

test('reads what a gateway says, its clock too', async (t) => {
  const url = await served(t, (request, response) => {
    assert.equal(request.url, '/tokens')
    response.end(
      JSON.stringify({
        sources: [{ place: 'file:x', isGood: false, problem: 'gone' }],
        tokens: [TOKEN],
      }),
    )
  })
  const [answer] = await calls.ask([url])
  const token = answer?.report?.tokens.get('k3m9xw2p')
  assert.equal(token?.lastUsedMs, Date.parse(TOKEN.lastUsedAt))
  assert.equal(token?.lastUse?.program, 'Py thon 1.30.0', 'without what could move a terminal')
  assert.deepEqual(answer?.report?.sources, [{ place: 'file:x', isGood: false, problem: 'gone' }])
  assert.ok(Math.abs((answer?.report?.clockMs ?? 0) - Date.now()) < 60_000)
})

for (const [name, listener, problem] of [
  ['another status', (_, response) => response.writeHead(404).end(), /it answered 404/],
  ['no JSON', (_, response) => response.end('<html>'), /no list of tokens/],
  ['half of it', (_, response) => response.end('{"tokens":[{"id":'), /no list of tokens/],
  ['another list', (_, response) => response.end('{"tokens":[{"id":"x"}]}'), /no list of tokens/],
  ['a connection that breaks', (request) => request.socket.destroy(), /ECONNRESET|hang up/],
] satisfies [string, RequestListener, RegExp][])
  test(`${name} is no answer`, async (t) => {
    const [answer] = await calls.ask([await served(t, listener)])
    assert.equal(answer?.report, undefined)
    assert.match(answer?.problem ?? '', problem)
  })

test('nobody there is told of, and reloading nobody is no error', async () => {
  const answers = await calls.ask(['local', 'http://127.0.0.1:1', 'http://gateway.invalid:9464'])
  assert.deepEqual(
    answers.map(({ report }) => report),
    [undefined, undefined, undefined],
  )
  assert.match(answers[0]?.problem ?? '', /nobody listens on \/nonexistent\/control\.sock/)
  assert.match(answers[1]?.problem ?? '', /nobody listens on 127\.0\.0\.1:1/)
  assert.match(answers[2]?.problem ?? '', /gateway\.invalid:9464 is not known/)
  await calls.reload(['local'])
})
