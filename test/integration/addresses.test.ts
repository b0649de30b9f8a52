/** Whose address counts when a proxy stands in front: the one a trusted proxy names, and no other. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { assertAccepted, assertRefusedWith } from '../support/answers.ts'
import { WAYS, type Way } from '../support/client.ts'
import { sumOf } from '../support/exposition.ts'
import { startGateway, type TestGateway } from '../support/gateway.ts'
import { openTcp, textUntilClosed } from '../support/raw-socket.ts'

const WRONG = 'a-guessed-token-0123456789abcdef'
const PROXY = { CLIENT_ADDRESS: 'proxy-protocol', TRUSTED_PROXIES: '127.0.0.0/8' }
const FORWARDED = { CLIENT_ADDRESS: 'x-forwarded-for', TRUSTED_PROXIES: '127.0.0.0/8,10.0.0.0/8' }

/** PROXY protocol version 2: signature, version and command, family, length, addresses. */
function version2(command: number, family: number, addresses: string): Buffer {
  const body = Buffer.from(addresses, 'hex')
  const head = Buffer.from('0d0a0d0a000d0a515549540a00000000', 'hex')
  head.writeUInt8(0x20 | command, 12)
  head.writeUInt8(family, 13)
  head.writeUInt16BE(body.length, 14)
  return Buffer.concat([head, body])
}

const V4_PORTS = 'cb007109' + '7f000001' + 'd903' + '10dd'
const V6_PORTS =
  '20010db8000100020000000000000009' + '00000000000000000000000000000001' + 'd903' + '10dd'

const HEADERS: Readonly<Record<string, { readonly bytes: Buffer; readonly address: string }>> = {
  'version 1, IPv4': {
    bytes: Buffer.from('PROXY TCP4 203.0.113.9 127.0.0.1 55555 4317\r\n'),
    address: '203.0.113.9',
  },
  'version 1, IPv6': {
    bytes: Buffer.from('PROXY TCP6 2001:db8:1:2::9 ::1 55555 4317\r\n'),
    address: '2001:db8:1:2::9',
  },
  'version 1, UNKNOWN': { bytes: Buffer.from('PROXY UNKNOWN\r\n'), address: '127.0.0.1' },
  'version 2, IPv4': { bytes: version2(1, 0x11, V4_PORTS), address: '203.0.113.9' },
  'version 2, IPv4 with more behind it': {
    bytes: version2(1, 0x11, `${V4_PORTS}04000361622e`),
    address: '203.0.113.9',
  },
  'version 2, IPv6': { bytes: version2(1, 0x21, V6_PORTS), address: '2001:db8:1:2::9' },
  'version 2, LOCAL': { bytes: version2(0, 0, ''), address: '127.0.0.1' },
}

for (const [name, { bytes, address }] of Object.entries(HEADERS)) {
  test(`PROXY protocol ${name}`, async (t) => {
    for (const tls of ['on', 'off']) {
      const gateway = await startGateway(t, { env: { ...PROXY, TLS: tls } })
      const caPem = tls === 'on' ? gateway.caPem : undefined
      for (const way of WAYS) {
        const client = gateway.connect(way, { prelude: bytes, caPem })
        assertAccepted(await client.send())
        assert.equal(gateway.collector.reached.at(-1)?.headers['x-forwarded-for'], address)
      }
      await gateway.stop()
    }
  })
}

test('a PROXY header that comes byte by byte', async (t) => {
  const gateway = await startGateway(t, { env: { ...PROXY, TLS: 'off' } })
  const socket = await openTcp(gateway.addresses.http)
  socket.setNoDelay(true)
  const header = HEADERS['version 2, IPv6']?.bytes ?? Buffer.alloc(0)
  for (const byte of header) {
    socket.write(Buffer.from([byte]))
    await turn()
  }
  socket.write('POST /elsewhere HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n')
  assert.match(await textUntilClosed(socket), /^HTTP\/1\.1 404 /)
  assert.match(await gateway.logText(), /from 2001:db8:1:2::9/)
})

test('a trusted proxy that sends no PROXY header, or half of one, is cut off', async (t) => {
  const gateway = await startGateway(t, { env: { ...PROXY, HANDSHAKE_TIMEOUT: '200ms' } })
  await assert.rejects(gateway.connect('gRPC').send())
  const half = await openTcp(gateway.addresses.grpc)
  half.write('PROXY TCP4 203.0.113.9')
  assert.equal(await textUntilClosed(half), '')
  await refusedForHeader(gateway, 2)
})

test('nobody else is believed: what looks like a PROXY header is no TLS', async (t) => {
  const env = { CLIENT_ADDRESS: 'proxy-protocol', TRUSTED_PROXIES: '192.0.2.1' }
  const gateway = await startGateway(t, { env })
  const prelude = Buffer.from('PROXY TCP4 203.0.113.9 127.0.0.1 55555 4317\r\n')
  await assert.rejects(gateway.connect('gRPC', { prelude }).send())
  assertAccepted(await gateway.connect('gRPC').send())
  assert.equal(gateway.collector.reached[0]?.headers['x-forwarded-for'], '127.0.0.1')
})

test('bans and connections are counted for the address behind the proxy', async (t) => {
  const gateway = await startGateway(t, { env: { ...PROXY, MAX_CONNECTIONS_PER_PEER: '1' } })
  const from = (address: string) => ({
    prelude: Buffer.from(`PROXY TCP4 ${address} 127.0.0.1 55555 4317\r\n`),
  })
  const guesser = gateway.connect('gRPC', from('203.0.113.9'))
  for (let at = 0; at < 5; at += 1) await guesser.send({ token: WRONG })
  assertRefusedWith(await guesser.send({ token: WRONG }), 403, 7)
  await gateway.until((page) => sumOf(page, 'tollgate_connections') === 0, 'it closed')
  await assert.rejects(gateway.connect('gRPC', from('203.0.113.9')).send())

  assertAccepted(await gateway.connect('gRPC', from('203.0.113.10')).send())
  await assert.rejects(gateway.connect('gRPC', from('203.0.113.10')).send())
  const page = await gateway.metrics()
  const refused = (reason: string) => sumOf(page, 'tollgate_connections_refused_total', { reason })
  assert.equal(refused('banned'), 1)
  assert.equal(refused('peer_full'), 1)
})

for (const way of WAYS) {
  test(`${way}: X-Forwarded-For is read from the right, past trusted proxies`, async (t) => {
    const gateway = await startGateway(t, { env: FORWARDED })
    const cases: Readonly<Record<string, string>> = {
      '203.0.113.9': '203.0.113.9',
      '198.51.100.1, 203.0.113.9': '203.0.113.9',
      '198.51.100.1, 203.0.113.9, 10.0.0.7, 127.0.0.2': '203.0.113.9',
      '203.0.113.9:41000': '203.0.113.9',
      '[2001:db8::7]:41000': '2001:db8::7',
      '::ffff:203.0.113.9': '203.0.113.9',
      '203.0.113.9, unknown': '127.0.0.1',
      '10.0.0.7': '127.0.0.1',
    }
    for (const [header, address] of Object.entries(cases)) {
      const headers = { 'x-forwarded-for': header }
      assertAccepted(await gateway.connect(way).send({ headers }))
      assert.equal(gateway.collector.reached.at(-1)?.headers['x-forwarded-for'], address, header)
    }
  })

  test(`${way}: X-Forwarded-For is nobody’s word but a trusted proxy’s`, async (t) => {
    const headers = { 'x-forwarded-for': '203.0.113.9' }
    const envs = [{}, { ...FORWARDED, TRUSTED_PROXIES: '192.0.2.1' }]
    for (const env of envs) {
      const gateway = await startGateway(t, { env })
      assertAccepted(await gateway.connect(way).send({ headers }))
      assert.equal(gateway.collector.reached[0]?.headers['x-forwarded-for'], '127.0.0.1')
      await gateway.stop()
    }
  })

  test(`${way}: on one connection of a proxy each address has its own budget and its own ban`, async (t) => {
    const env = { ...FORWARDED, HOLD: 'off', RATE: '1/min', BURST: '6' }
    const gateway = await startGateway(t, { env })
    const from = (address: string) => ({ headers: { 'x-forwarded-for': address } })
    const proxy = gateway.connect(way)
    for (let at = 0; at < 5; at += 1)
      assertRefusedWith(await proxy.send({ ...from('203.0.113.9'), token: WRONG }), 401, 16)
    assertRefusedWith(await gateway.connect(way).send(from('203.0.113.9')), 403, 7)
    assertAccepted(await proxy.send(from('203.0.113.10')))
    // One customer has a /64.
    for (let at = 1; at <= 6; at += 1) assertAccepted(await proxy.send(from(`2001:db8:0:1::${at}`)))
    assertRefusedWith(await proxy.send(from('2001:db8:0:1:ffff::1')), 429, 8)
    assertAccepted(await proxy.send(from('2001:db8:0:2::1')))
  })
}

test('the limit on connections of one address does not hold for trusted proxies', async (t) => {
  const env = { ...FORWARDED, MAX_CONNECTIONS_PER_PEER: '1' }
  const gateway = await startGateway(t, { env })
  const ways: readonly Way[] = ['gRPC', 'HTTP/1.1', 'gRPC', 'HTTP/2']
  for (const way of ways) assertAccepted(await gateway.connect(way).send())
})

async function refusedForHeader(gateway: TestGateway, count: number): Promise<void> {
  const name = 'tollgate_connections_refused_total'
  const reason = 'proxy_header'
  const page = await gateway.until((now) => sumOf(now, name, { reason }) === count, reason)
  assert.equal(sumOf(page, name), count)
}
