/** What the handshake leaves no choice about: order, renegotiation, early data, ALPN, sessions over a swap. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls'
import { writeCertificate } from '../support/certs.ts'
import { Child } from '../support/child.ts'
import { sumOf } from '../support/exposition.ts'
import { startGateway, type TestGateway, TOKEN } from '../support/gateway.ts'
import { hasTools, tool } from '../support/tools.ts'

const PORTS = ['grpc', 'http'] as const

const ORDER = {
  'TLSv1.2': [
    'ECDHE-ECDSA-AES128-GCM-SHA256',
    'ECDHE-ECDSA-AES256-GCM-SHA384',
    'ECDHE-ECDSA-CHACHA20-POLY1305',
  ],
  'TLSv1.3': ['TLS_AES_128_GCM_SHA256', 'TLS_AES_256_GCM_SHA384', 'TLS_CHACHA20_POLY1305_SHA256'],
} as const

for (const [version, order] of Object.entries(ORDER)) {
  test(`${version}: the suite is the gateway's first, whatever the client would rather have`, async (t) => {
    const gateway = await startGateway(t)
    for (const [at, wanted] of order.entries()) {
      const ciphers = order.slice(at).toReversed().join(':')
      const socket = await shakeHands(gateway, 'grpc', { ...only(version), ciphers })
      assert.equal(socket.getCipher().name, wanted)
      socket.destroy()
    }
  })
}

test('key exchange groups beyond the list are refused', async (t) => {
  const gateway = await startGateway(t)
  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    const options = { ...only(version), ecdhCurve: 'P-521' }
    await assert.rejects(shakeHands(gateway, 'grpc', options), /alert|EPROTO|handshake/i)
  }
})

for (const port of PORTS) {
  test(`${port}: a client that speaks neither h2 nor http/1.1 is told so`, async (t) => {
    const gateway = await startGateway(t)
    for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
      await assert.rejects(
        shakeHands(gateway, port, { ...only(version), ALPNProtocols: ['spdy/3', 'h2c'] }),
        { code: 'ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL' },
      )
    }
    await gateway.until(
      (now) => sumOf(now, 'tollgate_connections_refused_total', { reason: 'handshake' }) === 2,
      'two failed handshakes',
    )
  })

  test(`${port}: HTTP/2 that was not agreed upon is answered 400, and nothing is forwarded`, async (t) => {
    const gateway = await startGateway(t)
    const socket = await shakeHands(gateway, port, { ALPNProtocols: [] })
    assert.equal(socket.alpnProtocol, false)
    socket.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
    assert.match(await readAll(socket), /^HTTP\/1\.1 400 Bad Request\r\n/)
    await gateway.until(
      (now) => sumOf(now, 'tollgate_connections_refused_total', { reason: 'malformed' }) === 1,
      'a malformed request',
    )
  })
}

test('gRPC without HTTP/2 is refused by its content type, without a strike', async (t) => {
  const gateway = await startGateway(t)
  const socket = await shakeHands(gateway, 'grpc', { ALPNProtocols: ['http/1.1'] })
  const path = '/opentelemetry.proto.collector.trace.v1.TraceService/Export'
  socket.write(
    `POST ${path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer ${TOKEN}\r\ncontent-type: application/grpc\r\ncontent-length: 5\r\nconnection: close\r\n\r\n\0\0\0\0\0`,
  )
  assert.match(await readAll(socket), /^HTTP\/1\.1 4\d\d /)
  assert.equal(sumOf(await gateway.metrics(), 'tollgate_strikes_total'), 0)
})

for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
  test(`${version}: no session outlives its certificate, so that whoever returns sees the new one`, async (t) => {
    const gateway = await startGateway(t)
    const first = connectTo(gateway, 'grpc', only(version))
    const [session] = (await once(first, 'session')) as [Buffer]
    const old = first.getPeerX509Certificate()?.fingerprint256
    first.destroy()
    const before = await shakeHands(gateway, 'grpc', { ...only(version), session })
    assert.equal(before.isSessionReused(), true)
    before.destroy()
    await writeCertificate(gateway.folder)
    await gateway.reload()
    const after = await shakeHands(gateway, 'grpc', { ...only(version), session })
    assert.equal(after.isSessionReused(), false)
    const renewed = after.getPeerX509Certificate()?.fingerprint256
    assert.ok(renewed !== undefined && renewed !== old)
    after.destroy()
  })
}

test('a client cannot renegotiate', { timeout: 30_000 }, async (t) => {
  if (!hasTools(t, 'openssl')) return
  const gateway = await startGateway(t)
  // In HTTP/1.1 the gateway speaks second: nothing it says comes between the client's hello and the answer.
  const to = ['-connect', gateway.addresses.grpc, '-tls1_2', '-alpn', 'http/1.1']
  const client = new Child(tool('openssl'), ['s_client', ...to], { input: 'R\n' })
  await client.exit
  assert.match(client.output, /RENEGOTIATING/)
  assert.match(client.output, /no renegotiation/)
})

test('tickets take no early data, and nothing is compressed', { timeout: 30_000 }, async (t) => {
  if (!hasTools(t, 'openssl')) return
  const gateway = await startGateway(t)
  // openssl prints the ticket while it waits for the answer, and ends with the connection.
  const to = ['-connect', gateway.addresses.grpc, '-tls1_3', '-alpn', 'http/1.1', '-ign_eof']
  const input = 'GET /x HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n'
  const client = new Child(tool('openssl'), ['s_client', ...to], { input })
  await client.exit
  const allowed = client.stdout.flatMap((line) => /Max Early Data: (\d+)/.exec(line)?.[1] ?? [])
  assert.deepEqual([...new Set(allowed)], ['0'], client.output)
  assert.ok(client.stdout.includes('Compression: NONE'), client.output)
})

function only(version: string): ConnectionOptions {
  const name = version as 'TLSv1.2' | 'TLSv1.3'
  return { minVersion: name, maxVersion: name }
}

function connectTo(
  { addresses, caPem }: TestGateway,
  port: (typeof PORTS)[number],
  options: ConnectionOptions,
): TLSSocket {
  const { hostname: host, port: number } = new URL(`http://${addresses[port]}`)
  return connect({
    ...{ host, port: Number(number), servername: 'localhost', ca: caPem, ALPNProtocols: ['h2'] },
    ...options,
  })
}

async function shakeHands(
  gateway: TestGateway,
  port: (typeof PORTS)[number],
  options: ConnectionOptions,
): Promise<TLSSocket> {
  const socket = connectTo(gateway, port, options)
  await once(socket, 'secureConnect')
  // In TLS 1.3 the client is done before the server: what went wrong there comes later.
  socket.on('error', () => {})
  return socket
}

async function readAll(socket: TLSSocket): Promise<string> {
  return Buffer.concat(await socket.toArray()).toString('latin1')
}
