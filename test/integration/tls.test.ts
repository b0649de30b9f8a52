/** What the public ports speak before HTTP: TLS, its versions, protocols, sessions and certificates. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls'
import { assertAccepted } from '../support/answers.ts'
import { writeCertificate } from '../support/certs.ts'
import { WAYS } from '../support/client.ts'
import { sumOf } from '../support/exposition.ts'
import { startGateway, type TestGateway } from '../support/gateway.ts'

const PORTS = ['grpc', 'http'] as const

for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
  for (const port of PORTS) {
    for (const protocol of ['h2', 'http/1.1']) {
      test(`${version} with ${protocol} on the ${port} port`, async (t) => {
        const gateway = await startGateway(t)
        const socket = await shakeHands(gateway, port, {
          minVersion: version,
          maxVersion: version,
          ALPNProtocols: [protocol],
        })
        assert.equal(socket.getProtocol(), version)
        assert.equal(socket.alpnProtocol, protocol)
        assert.match(socket.getCipher().standardName, /_(?:GCM|POLY1305)_/)
        const agreed = { version, suite: socket.getCipher().standardName, resumed: 'no' }
        await gateway.until(
          (page) => sumOf(page, 'tollgate_tls_handshakes_total', agreed) === 1,
          'the handshake counted',
        )
        socket.destroy()
      })
    }
  }
}

test('of both protocols HTTP/2 is taken, and without ALPN it is HTTP/1.1', async (t) => {
  const gateway = await startGateway(t)
  const both = await shakeHands(gateway, 'http', { ALPNProtocols: ['http/1.1', 'h2'] })
  assert.equal(both.alpnProtocol, 'h2')
  both.destroy()
  const plain = gateway.connect('HTTP/1.1', { tls: { ALPNProtocols: [] } })
  assertAccepted(await plain.send())
})

const WEAK = {
  'TLS 1.1': { minVersion: 'TLSv1.1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' },
  'TLS 1.2 with CBC': { maxVersion: 'TLSv1.2', ciphers: 'ECDHE-ECDSA-AES128-SHA256@SECLEVEL=0' },
  'TLS 1.2 without forward secrecy': { maxVersion: 'TLSv1.2', ciphers: 'AES128-GCM-SHA256' },
  'a protocol nobody speaks here': { ALPNProtocols: ['spdy/3'] },
} satisfies Record<string, ConnectionOptions>

for (const [name, options] of Object.entries(WEAK)) {
  test(`refused: ${name}`, async (t) => {
    const gateway = await startGateway(t)
    for (const port of PORTS) {
      await assert.rejects(shakeHands(gateway, port, options), /alert|EPROTO|reset|handshake/i)
    }
    const refused = { reason: 'handshake' }
    const page = await gateway.until(
      (now) => sumOf(now, 'tollgate_connections_refused_total', refused) === 2,
      'two failed handshakes',
    )
    assert.equal(sumOf(page, 'tollgate_strikes_total'), 0)
  })
}

for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
  test(`${version}: a session is resumed, on the other port too`, async (t) => {
    const gateway = await startGateway(t)
    const options = { minVersion: version, maxVersion: version, ALPNProtocols: ['h2'] } as const
    const first = connectTo(gateway, 'grpc', options)
    // Tickets of TLS 1.3 come after the handshake.
    const [session] = (await once(first, 'session')) as [Buffer]
    assert.equal(first.isSessionReused(), false)
    first.destroy()
    for (const port of PORTS) {
      const again = await shakeHands(gateway, port, { ...options, session })
      assert.equal(again.isSessionReused(), true)
      again.destroy()
    }
  })
}

for (const way of WAYS) {
  test(`${way}: a new certificate is used by new connections, and live ones go on`, async (t) => {
    const gateway = await startGateway(t)
    const before = gateway.connect(way)
    assertAccepted(await before.send())
    const old = before.socket?.getPeerX509Certificate()?.fingerprint256
    await writeCertificate(gateway.folder)
    await gateway.reload()
    assertAccepted(await before.send())
    assert.equal(sumOf(await gateway.metrics(), 'tollgate_connections_total'), 1)
    const after = gateway.connect(way)
    assertAccepted(await after.send())
    const renewed = after.socket?.getPeerX509Certificate()?.fingerprint256
    assert.ok(renewed !== undefined && renewed !== old)
  })
}

test('a changed certificate is taken up by itself', async (t) => {
  const gateway = await startGateway(t)
  const before = await shakeHands(gateway, 'grpc')
  const old = before.getPeerX509Certificate()?.fingerprint256
  await writeCertificate(gateway.folder)
  await gateway.until(
    (page) => sumOf(page, 'tollgate_certificate_last_reload_success') === 1,
    'a good certificate',
  )
  for (;;) {
    const socket = await shakeHands(gateway, 'grpc')
    const now = socket.getPeerX509Certificate()?.fingerprint256
    socket.destroy()
    if (now !== old) break
  }
  before.destroy()
})

function connectTo(
  { addresses, caPem }: TestGateway,
  port: (typeof PORTS)[number],
  options: ConnectionOptions = {},
): TLSSocket {
  const { hostname, port: number } = new URL(`http://${addresses[port]}`)
  return connect({
    host: hostname,
    port: Number(number),
    servername: 'localhost',
    ca: caPem,
    ...options,
  })
}

async function shakeHands(
  gateway: TestGateway,
  port: (typeof PORTS)[number],
  options: ConnectionOptions = {},
): Promise<TLSSocket> {
  const socket = connectTo(gateway, port, options)
  await once(socket, 'secureConnect')
  // In TLS 1.3 the client is done before the server: what went wrong there comes later.
  socket.on('error', () => {})
  return socket
}
