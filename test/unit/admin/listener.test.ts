import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import { type TestContext, test } from 'node:test'
import type { Readiness } from '../../../src/admin/health.ts'
import { AdminListener, type AdminOptions } from '../../../src/admin/listener.ts'

const READY: Readiness = {
  isReady: true,
  conditions: [{ name: 'collector', isMet: true, words: 'the collector can be reached' }],
}
const NOT_READY: Readiness = {
  isReady: false,
  conditions: [{ name: 'collector', isMet: false, words: 'the collector cannot be reached' }],
}

async function started(
  t: TestContext,
  changes: Partial<AdminOptions> = {},
): Promise<{ readonly url: string; readonly port: number; readonly errors: unknown[] }> {
  const errors: unknown[] = []
  const admin = new AdminListener({
    host: '127.0.0.1',
    port: 0,
    metrics: {
      contentType: 'text/plain; version=0.0.4; charset=utf-8',
      page: async () => 'tollgate_up 1\n',
    },
    tokens: () => ['{"sources":[],', '"tokens":[]}'],
    readiness: () => READY,
    version: '0.0.0-test',
    onError: (cause) => errors.push(cause),
    ...changes,
  })
  const { address, port } = await admin.start()
  t.after(() => admin.close())
  return { url: address, port, errors }
}

test('/metrics carries the page and exactly its content type', async (t) => {
  const { url } = await started(t)
  const answer = await fetch(`${url}/metrics`)
  assert.equal(answer.status, 200)
  assert.equal(answer.headers.get('content-type'), 'text/plain; version=0.0.4; charset=utf-8')
  assert.equal(await answer.text(), 'tollgate_up 1\n')
})

test('/tokens is JSON, put together from its pieces', async (t) => {
  const { url } = await started(t)
  const answer = await fetch(`${url}/tokens`)
  assert.equal(answer.status, 200)
  assert.equal(answer.headers.get('content-type'), 'application/json; charset=utf-8')
  assert.deepEqual(await answer.json(), { sources: [], tokens: [] })
})

test('/tokens that breaks off in the middle is no whole answer', async (t) => {
  function* pieces() {
    yield '{"tokens":['
    throw new Error('BUG')
  }
  const { url } = await started(t, { tokens: pieces })
  await assert.rejects(fetch(`${url}/tokens`).then((answer) => answer.text()))
  assert.equal((await fetch(`${url}/healthz`)).status, 200)
})

test('/healthz is 200 even when nothing is ready', async (t) => {
  const { url } = await started(t, { readiness: () => NOT_READY })
  const answer = await fetch(`${url}/healthz`)
  assert.equal(answer.status, 200)
  assert.equal(await answer.text(), 'ok\n')
})

test('/readyz says 200 or 503 and why', async (t) => {
  let now = NOT_READY
  const { url } = await started(t, { readiness: () => now })
  const before = await fetch(`${url}/readyz`)
  assert.equal(before.status, 503)
  assert.deepEqual(await before.json(), {
    status: 'not ready',
    conditions: [{ name: 'collector', ok: false, words: 'the collector cannot be reached' }],
  })
  now = READY
  const after = await fetch(`${url}/readyz`)
  assert.equal(after.status, 200)
  assert.match(after.headers.get('content-type') ?? '', /^application\/json/)
})

test('/ tells the state and lists the pages', async (t) => {
  const { url } = await started(t, { readiness: () => NOT_READY })
  const text = await (await fetch(url)).text()
  assert.match(
    text,
    /^Tollgate 0\.0\.0-test: not ready\n {2}NO {2}the collector cannot be reached\n/,
  )
  for (const path of ['/metrics', '/healthz', '/readyz']) assert.ok(text.includes(path))
})

test('HEAD is answered as GET, without the body', async (t) => {
  const { url } = await started(t, { readiness: () => NOT_READY })
  for (const [path, status] of [
    ['/metrics', 200],
    ['/healthz', 200],
    ['/readyz', 503],
  ] as const) {
    const answer = await fetch(url + path, { method: 'HEAD' })
    assert.equal(answer.status, status)
    assert.equal(await answer.text(), '')
  }
})

test('other methods are refused before their body is read', async (t) => {
  const { url, port } = await started(t)
  for (const path of ['/metrics', '/nowhere']) {
    const answer = await fetch(url + path, { method: 'POST', body: 'x'.repeat(100_000) })
    assert.equal(answer.status, 405)
    assert.equal(answer.headers.get('allow'), 'GET, HEAD')
  }
  const socket = connect(port, '127.0.0.1')
  socket.write('POST /metrics HTTP/1.1\r\nhost: x\r\ncontent-length: 100000000\r\n\r\n')
  const [head] = (await once(socket, 'data')) as [Buffer]
  assert.match(head.toString(), /^HTTP\/1\.1 405 /)
  socket.destroy()
})

test('an unknown path is 404 and names those there are', async (t) => {
  const { url } = await started(t)
  const answer = await fetch(`${url}/metrics/../secret`)
  assert.equal(answer.status, 404)
  assert.match(await answer.text(), /\/metrics \/tokens \/healthz \/readyz/)
})

test('a page that cannot be made is 500 without the cause, which is told', async (t) => {
  const cause = new Error('BUG: tg_secret')
  const { url, errors } = await started(t, {
    metrics: { contentType: 'text/plain', page: async () => Promise.reject(cause) },
  })
  const answer = await fetch(`${url}/metrics`)
  assert.equal(answer.status, 500)
  assert.equal((await answer.text()).includes('BUG'), false)
  assert.deepEqual(errors, [cause])
})

test('a port that is taken rejects, and close ends connections that are open', async (t) => {
  const taken = createServer().listen(0, '127.0.0.1')
  await once(taken, 'listening')
  t.after(() => taken.close())
  const address = taken.address()
  assert.ok(typeof address === 'object' && address !== null)
  const options: AdminOptions = {
    host: '127.0.0.1',
    port: address.port,
    metrics: { contentType: 'text/plain', page: async () => '' },
    tokens: () => [],
    readiness: () => READY,
    version: 'test',
    onError: () => {},
  }
  await assert.rejects(new AdminListener(options).start(), { code: 'EADDRINUSE' })

  const admin = new AdminListener({ ...options, port: 0 })
  const { port } = await admin.start()
  const idle = connect(port, '127.0.0.1')
  await once(idle, 'connect')
  idle.write('GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n')
  await once(idle, 'data')
  const closed = once(idle, 'close')
  await admin.close()
  await closed
})
