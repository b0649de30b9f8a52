import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type TestContext, test } from 'node:test'
import { DocumentFault, Documents } from '../../../src/oidc/documents.ts'

/** Serves on a free port, and fetches from there. */
async function fetchFrom(t: TestContext, answer: RequestListener): Promise<unknown> {
  const server = createServer(answer)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const documents = new Documents()
  t.after(async () => {
    await documents.close()
    server.close()
    server.closeAllConnections()
  })
  const { port } = server.address() as AddressInfo
  return await documents.fetch(new URL(`http://127.0.0.1:${port}/keys`))
}

test('a document is fetched', async (t) => {
  const got = await fetchFrom(t, (_request, response) => response.end('{"keys":[]}'))
  assert.deepEqual(got, { keys: [] })
})

test('a redirect is not followed', async (t) => {
  let asked = 0
  const fetched = fetchFrom(t, (_request, response) => {
    asked += 1
    response.writeHead(302, { location: '/elsewhere' }).end()
  })
  await assert.rejects(fetched, /answered 302; expected 200/)
  assert.equal(asked, 1)
})

const BAD: Readonly<Record<string, readonly [RequestListener, RegExp]>> = {
  'an error': [(_request, response) => response.writeHead(500).end('no'), /answered 500/],
  'no JSON': [(_request, response) => response.end('<html>'), /is not JSON/],
  'larger than it says': [
    (_request, response) => {
      const piece = Buffer.alloc(64 * 1024, ' ')
      response.on('error', () => {})
      const more = () => {
        while (!response.destroyed && response.write(piece));
      }
      response.on('drain', more)
      more()
    },
    /is larger than 512 KiB/,
  ],
  'cut off': [
    (_request, response) => {
      response.writeHead(200, { 'content-length': '100' })
      response.write('{')
      setImmediate(() => response.destroy())
    },
    /could not be read/,
  ],
}
for (const [what, [answer, problem]] of Object.entries(BAD))
  test(`what is no document is told in words: ${what}`, async (t) => {
    await assert.rejects(fetchFrom(t, answer), (thrown) => {
      assert.ok(thrown instanceof DocumentFault)
      assert.match(thrown.message, problem)
      assert.match(thrown.message, /^http:\/\/127\.0\.0\.1:\d+\/keys /, 'names the document')
      return true
    })
  })

test('who is not there, and what is not https', async (t) => {
  const documents = new Documents()
  t.after(() => documents.close())
  await assert.rejects(documents.fetch(new URL('http://login.example/')), /is not https/)
  await assert.rejects(documents.fetch(new URL('http://127.0.0.1.evil.example/')), /is not https/)
  await assert.rejects(documents.fetch(new URL('ftp://login.example/')), /is not https/)
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  await assert.rejects(documents.fetch(new URL(`http://127.0.0.1:${port}/`)), /ECONNREFUSED/)
})

test('closing ends what is under way', async () => {
  const asked = Promise.withResolvers<void>()
  const server = createServer(() => asked.resolve())
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const documents = new Documents()
  const { port } = server.address() as AddressInfo
  const fetched = documents.fetch(new URL(`http://127.0.0.1:${port}/`))
  await asked.promise
  await Promise.all([assert.rejects(fetched, DocumentFault), documents.close()])
  server.close()
  server.closeAllConnections()
})
