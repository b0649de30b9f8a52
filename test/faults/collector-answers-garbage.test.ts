/** What answers is no collector, or a broken one: nobody is told that their data arrived. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer as createHttp } from 'node:http'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import { assertAccepted, assertComeBack } from '../support/answers.ts'
import { type Answer, WAYS } from '../support/client.ts'
import { sumOf } from '../support/exposition.ts'
import { startGateway } from '../support/gateway.ts'

const MIB = 1024 * 1024

/** Something that takes the place of a collector's gRPC port. */
const IMPOSTORS: Record<string, () => Server> = {
  'HTTP/1.1 where HTTP/2 is expected': () =>
    createHttp((_request, response) => response.end('It works!')),
  'random bytes': () =>
    createServer((socket) => {
      socket.on('error', () => {})
      socket.end(Buffer.alloc(1000, 0xa5))
    }),
  'a port that hangs up at once': () => createServer((socket) => socket.destroy()),
  'a banner, as mail servers send': () =>
    createServer((socket) => {
      socket.on('error', () => {})
      socket.write('220 mail.example ESMTP\r\n')
    }),
}

for (const [what, create] of Object.entries(IMPOSTORS)) {
  test(`${what}: the collector counts as away, and calls wait`, async (t) => {
    const gateway = await startGateway(t, { speaks: 'grpc', env: { HOLD: '300ms' } })
    const { grpcPort } = gateway.collector
    await gateway.collector.die()
    await listen(t, create(), grpcPort)
    await gateway.until((page) => sumOf(page, 'tollgate_collector_up') === 0, 'it away')
    for (const way of WAYS) assertComeBack(await gateway.connect(way).send())
    assert.deepEqual(await gateway.outcomes(), { collector_unavailable: WAYS.length })
    await gateway.assertInvariant()
  })
}

/** Never a success, whatever the way in. */
function assertNotAccepted(answer: Answer): void {
  if (answer.way === 'gRPC') {
    assert.equal(answer.httpStatus, 200)
    assert.ok(answer.grpcStatus !== 0 && answer.grpcStatus !== undefined)
  } else {
    assert.ok(answer.httpStatus >= 400, `HTTP ${answer.httpStatus}`)
    assert.equal(answer.headers['content-type'], 'application/x-protobuf')
  }
}

for (const way of WAYS) {
  test(`${way} to grpc: a web page instead of an answer`, async (t) => {
    const gateway = await startGateway(t, { speaks: 'grpc' })
    const client = gateway.connect(way)
    for (const httpStatus of [200, 204, 302, 404, 502]) {
      gateway.collector.script({ kind: 'bare', httpStatus, body: '<html>Welcome</html>' })
      assertNotAccepted(await client.send())
    }
    assertAccepted(await client.send())
    assert.equal(gateway.collector.reached.length, 6)
    await gateway.assertInvariant()
  })

  test(`${way} to http: a web page instead of an answer`, async (t) => {
    const gateway = await startGateway(t, { speaks: 'http' })
    const client = gateway.connect(way)
    for (const httpStatus of [200, 404, 502]) {
      gateway.collector.script({ kind: 'bare', httpStatus, body: '<html>Welcome</html>' })
      assertNotAccepted(await client.send())
    }
    await gateway.assertInvariant()
  })

  test(`${way} to http: a redirect is followed by nobody`, async (t) => {
    const gateway = await startGateway(t, { speaks: 'http' })
    const client = gateway.connect(way)
    const location = `http://127.0.0.1:${gateway.collector.httpPort}/v1/elsewhere`
    for (const httpStatus of [301, 302, 303, 307, 308]) {
      gateway.collector.script({ kind: 'refuse', httpStatus, headers: { location } })
      const answer = await client.send()
      assertNotAccepted(answer)
      if (way !== 'gRPC') assert.equal(answer.httpStatus, 503)
      assert.equal(answer.headers.location, undefined)
    }
    assert.equal(gateway.collector.reached.length, 5)
    await gateway.assertInvariant()
  })

  for (const speaks of ['grpc', 'http'] as const) {
    test(`${way} to ${speaks}: an answer of more than 4 MiB`, async (t) => {
      const gateway = await startGateway(t, { speaks })
      const client = gateway.connect(way)
      gateway.collector.script({ kind: 'ok', message: Buffer.alloc(4 * MIB + 1) })
      assertNotAccepted(await client.send())
      const fits = Buffer.alloc(4 * MIB, 'x')
      gateway.collector.script({ kind: 'ok', message: fits })
      const answer = await client.send()
      assertAccepted(answer)
      assert.ok(answer.body?.equals(fits))
      assert.equal(gateway.collector.reached.length, 2)
      await gateway.assertInvariant()
    })
  }
}

async function listen(t: TestContext, server: Server, port: number): Promise<void> {
  const sockets = new Set<Socket>()
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
  })
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
  assert.equal((server.address() as AddressInfo).port, port)
  t.after(() => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
}
