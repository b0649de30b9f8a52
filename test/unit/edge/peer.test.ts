import assert from 'node:assert/strict'
import { BlockList, SocketAddress } from 'node:net'
import { test } from 'node:test'
import fc from 'fast-check'
import { peerFromAddress } from '../../../src/edge/peer.ts'

const PEERS: Readonly<Record<string, { key: string; address: string }>> = {
  '203.0.113.9': { key: '203.0.113.9', address: '203.0.113.9' },
  '::ffff:203.0.113.9': { key: '203.0.113.9', address: '203.0.113.9' },
  '::FFFF:cb00:7109': { key: '203.0.113.9', address: '203.0.113.9' },
  '0:0:0:0:0:ffff:203.0.113.9': { key: '203.0.113.9', address: '203.0.113.9' },
  '2001:db8:1:2:3:4:5:6': { key: '2001:db8:1:2::/64', address: '2001:db8:1:2:3:4:5:6' },
  '2001:DB8::1': { key: '2001:db8::/64', address: '2001:db8::1' },
  '2001:0db8:0000:0001:0000:0000:0000:0001': {
    key: '2001:db8:0:1::/64',
    address: '2001:db8:0:1::1',
  },
  '::1': { key: '::/64', address: '::1' },
  '::': { key: '::/64', address: '::' },
  'fe80::1%eth0': { key: 'fe80::/64', address: 'fe80::1' },
  '1::': { key: '1::/64', address: '1::' },
  '::1.2.3.4': { key: '::/64', address: '::1.2.3.4' },
}

for (const [text, peer] of Object.entries(PEERS)) {
  test(`${text} is ${peer.key}`, () => {
    assert.deepEqual(peerFromAddress(text), peer)
  })
}

for (const text of [
  '',
  'localhost',
  '1.2.3',
  '1.2.3.256',
  '01.2.3.4',
  '::g',
  '[::1]',
  '1.2.3.4:5',
  '1.2.3.4/32',
  ':::',
])
  test(`${JSON.stringify(text)} is nobody`, () => {
    assert.equal(peerFromAddress(text), undefined)
  })

test('the key of an IPv6 address is the network of 64 bits that it is in', () => {
  fc.assert(
    fc.property(fc.ipV6(), fc.ipV6(), (one, other) => {
      const peer = peerFromAddress(one)
      assert.ok(peer !== undefined)
      if (!peer.key.includes('/')) return
      const network = new BlockList()
      network.addSubnet(peer.key.split('/')[0] ?? '', 64, 'ipv6')
      assert.ok(network.check(one, 'ipv6'))
      const isInside = network.check(other, 'ipv6')
      const otherKey = peerFromAddress(other)?.key
      assert.equal(otherKey === peer.key, isInside && otherKey?.includes('/'))
    }),
  )
})

test('however it is written, an address is the same peer', () => {
  fc.assert(
    fc.property(fc.ipV6(), (text) => {
      const normal = new SocketAddress({ address: text, family: 'ipv6' }).address
      assert.deepEqual(peerFromAddress(text), peerFromAddress(normal))
      assert.deepEqual(peerFromAddress(text.toUpperCase()), peerFromAddress(normal))
    }),
  )
})

test('an IPv4 address is the same peer, mapped or not', () => {
  fc.assert(
    fc.property(fc.ipV4(), (text) => {
      assert.deepEqual(peerFromAddress(`::ffff:${text}`), peerFromAddress(text))
      assert.deepEqual(peerFromAddress(text), { key: text, address: text })
    }),
  )
})
