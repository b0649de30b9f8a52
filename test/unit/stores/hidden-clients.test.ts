/** When the addresses of clients are said to be hidden, and when they are not. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { peerFromAddress } from '../../../src/edge/peer.ts'
import { HiddenClients, type HiddenClientsOptions } from '../../../src/stores/hidden-clients.ts'
import { arrival, storeOf } from './token-fixtures.ts'

const ROUTER = '172.18.0.1'
const INGRESS = '10.0.0.2'
const PYTHON = 'OTel-OTLP-Exporter-Python/1.45.0'
const GO = 'OTel OTLP Exporter Go/1.36.0'
const MINUTES = 60_000

function world(changes: Partial<HiddenClientsOptions> = {}) {
  const holders = ['shop', 'till', 'cellar', 'roof']
  const tokens = storeOf(...holders.map((holder) => ({ id: holder, holder })))
  const clients = new HiddenClients({
    source: 'socket',
    isTrusted: (address) => address === '10.0.0.9',
    gateways: new Set([ROUTER]),
    startedMs: 0,
    ...changes,
  })
  return {
    clients,
    /** A token is used from an address. */
    use(holder: string, address: string, userAgent = PYTHON, requests = 1) {
      for (const { record, account } of tokens.statuses(1)) {
        if (record.holder !== holder) continue
        account.used(arrival({ peer: { key: address, address }, userAgent }), 1)
        account.requests = requests
      }
    },
    connect(address: string) {
      const peer = peerFromAddress(address)
      assert.ok(peer !== undefined)
      return clients.connected(peer)
    },
    look(nowMs = 11 * MINUTES) {
      return clients.look(tokens.statuses(1), nowMs)
    },
  }
}

test('two clients at the router of our own network: the network hides them', () => {
  const { use, look } = world()
  use('shop', ROUTER)
  assert.equal(look(0), undefined, 'one may be a program of this machine')
  use('till', ROUTER)
  assert.deepEqual(look(0), { by: 'gateway', address: ROUTER, clients: 2 })
})

test('IPv6 clients are hidden while those of IPv4 are seen', () => {
  const { use, connect, look } = world()
  connect('203.0.113.7')
  use('cellar', '203.0.113.7')
  use('shop', ROUTER)
  use('till', ROUTER)
  assert.equal(look()?.by, 'gateway')
})

test('one token that two kinds of programs use is two clients, and an update is none', () => {
  const { use, look } = world()
  use('shop', ROUTER)
  look()
  use('shop', ROUTER, 'OTel-OTLP-Exporter-Python/1.46.0')
  assert.equal(look(), undefined)
  use('shop', ROUTER, GO)
  assert.equal(look()?.clients, 2)
})

test('three clients at one private address, for ten minutes, and nobody else', () => {
  const { use, look } = world()
  for (const holder of ['shop', 'till', 'cellar']) use(holder, INGRESS)
  assert.equal(look(9 * MINUTES), undefined, 'too early to say')
  assert.deepEqual(look(10 * MINUTES), { by: 'one_address', address: INGRESS, clients: 3 })
})

test('one machine in the local network with an agent or two is no alarm', () => {
  const { use, connect, look } = world()
  connect('192.168.1.20')
  use('shop', '192.168.1.20')
  use('till', '192.168.1.20', GO)
  assert.equal(look(), undefined)
})

test('several machines in the local network are no alarm', () => {
  const { use, look } = world()
  for (const [at, holder] of ['shop', 'till', 'cellar', 'roof'].entries())
    use(holder, `192.168.1.${20 + at}`)
  assert.equal(look(), undefined)
})

test('whoever was seen at a public address, with a token or without, shows that addresses are', () => {
  for (const seen of ['203.0.113.7', '2001:db8::7']) {
    const { use, connect, look } = world()
    for (const holder of ['shop', 'till', 'cellar']) use(holder, INGRESS)
    connect(seen)
    assert.equal(look(), undefined, seen)
  }
})

test('programs on this machine are no alarm', () => {
  const { use, connect, look } = world()
  connect('127.0.0.1')
  for (const holder of ['shop', 'till', 'cellar', 'roof']) use(holder, '127.0.0.1')
  assert.equal(look(), undefined)
})

test('a token that was used before the start says nothing of now', () => {
  const { use, look } = world()
  for (const holder of ['shop', 'till']) use(holder, ROUTER, PYTHON, 0)
  assert.equal(look(), undefined)
})

test('the first connection of all deserves a hint where it comes from the router, and no later one', () => {
  const first = world()
  first.connect('127.0.0.1')
  assert.ok(first.connect(ROUTER))
  assert.ok(!first.connect(ROUTER))
  const second = world()
  second.connect('203.0.113.7')
  assert.ok(!second.connect(ROUTER))
  assert.ok(!world({ source: 'x-forwarded-for' }).connect(ROUTER))
})

test('a proxy whose header never comes: every token is used from its own address', () => {
  for (const source of ['proxy-protocol', 'x-forwarded-for'] as const) {
    const { use, look } = world({ source })
    assert.equal(look(), undefined)
    use('shop', '10.0.0.9')
    assert.deepEqual(look(), { by: 'no_header', address: '10.0.0.9', clients: 1 })
    use('till', '203.0.113.7')
    assert.equal(look(), undefined, 'it comes for some')
  }
})

test('a proxy whose connections are closed for want of a PROXY header', () => {
  const { clients, use, look } = world({ source: 'proxy-protocol' })
  clients.headerMissed()
  clients.headerMissed()
  assert.equal(look(), undefined)
  clients.headerMissed()
  assert.deepEqual(look(), { by: 'no_header', address: undefined, clients: 0 })
  use('shop', '203.0.113.7')
  assert.equal(look(), undefined)
})

test('a proxy that is not believed: X-Forwarded-For, and all from one private address', () => {
  const { use, connect, look } = world({ source: 'x-forwarded-for' })
  connect('10.0.0.8')
  use('shop', '10.0.0.8')
  assert.deepEqual(look(), { by: 'untrusted_proxy', address: '10.0.0.8', clients: 1 })
})

test('an agent of the local network behind a proxy that works is no alarm', () => {
  const { use, connect, look } = world({ source: 'x-forwarded-for' })
  connect('10.0.0.9')
  use('shop', '192.168.1.20')
  assert.equal(look(), undefined)
})

test('what is remembered does not grow with the number of addresses and clients', () => {
  const { use, look } = world()
  for (let at = 1; at <= 200; at += 1) {
    use('shop', `10.1.0.${at}`, `program${'x'.repeat(at % 50)}/1.0`)
    look()
  }
  for (let at = 1; at <= 200; at += 1) {
    use('till', ROUTER, `program${'y'.repeat(at % 50)}/1.0`)
    look()
  }
  assert.deepEqual(look(), { by: 'gateway', address: ROUTER, clients: 8 })
})
