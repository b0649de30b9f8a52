import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { createTrustedProxies, peerFromForwardedFor } from '../../../src/edge/client-address.ts'
import { createPeerOf } from '../../../src/edge/link.ts'

const PROXY = { key: '10.0.0.1', address: '10.0.0.1' }
const isTrusted = createTrustedProxies(['10.0.0.0/8', '192.0.2.7', '2001:db8:aaaa::/48'])

function addressIn(header: string | string[] | undefined): string {
  const headers = header === undefined ? {} : { 'x-forwarded-for': header }
  return peerFromForwardedFor(headers, PROXY, isTrusted).address
}

test('trusted are the addresses and networks that were listed', () => {
  for (const address of ['10.0.0.0', '10.255.255.255', '192.0.2.7', '2001:db8:aaaa:1::1'])
    assert.equal(isTrusted(address), true, address)
  for (const address of ['11.0.0.0', '192.0.2.8', '2001:db8:aaab::1', '::1'])
    assert.equal(isTrusted(address), false, address)
  assert.equal(createTrustedProxies([])('127.0.0.1'), false)
})

const CASES: readonly (readonly [string | string[] | undefined, string])[] = [
  [undefined, '10.0.0.1'],
  ['', '10.0.0.1'],
  ['203.0.113.9', '203.0.113.9'],
  ['  203.0.113.9  ', '203.0.113.9'],
  ['198.51.100.1, 203.0.113.9', '203.0.113.9'],
  ['198.51.100.1,203.0.113.9,10.0.0.2,192.0.2.7', '203.0.113.9'],
  [['198.51.100.1', '203.0.113.9, 10.0.0.2'], '203.0.113.9'],
  ['203.0.113.9:1234', '203.0.113.9'],
  ['[2001:db8::9]:1234', '2001:db8::9'],
  ['[2001:db8::9]', '2001:db8::9'],
  ['2001:db8::9', '2001:db8::9'],
  ['::ffff:203.0.113.9', '203.0.113.9'],
  ['::ffff:10.0.0.2', '10.0.0.1'],
  ['203.0.113.9, 2001:db8:aaaa::1', '203.0.113.9'],
  ['10.0.0.2, 10.0.0.3', '10.0.0.1'],
  ['203.0.113.9, _hidden', '10.0.0.1'],
  ['203.0.113.9, ', '10.0.0.1'],
  ['unknown', '10.0.0.1'],
]

for (const [header, address] of CASES) {
  test(`X-Forwarded-For ${JSON.stringify(header)} is ${address}`, () => {
    assert.equal(addressIn(header), address)
  })
}

test('whatever a client writes to the left of its address changes nothing', () => {
  fc.assert(
    fc.property(fc.string(), (forged) => {
      assert.equal(addressIn(`${forged}, 203.0.113.9, 10.0.0.2`), '203.0.113.9')
    }),
  )
})

test('the header is read where it was asked for and from trusted proxies only', () => {
  const headers = { 'x-forwarded-for': '203.0.113.9' }
  const stranger = { key: '198.51.100.1', address: '198.51.100.1' }
  const peerOf = createPeerOf('x-forwarded-for', isTrusted)
  assert.equal(peerOf(headers, { port: 'grpc', peer: PROXY }).address, '203.0.113.9')
  assert.equal(peerOf(headers, { port: 'grpc', peer: stranger }).address, '198.51.100.1')
  for (const source of ['socket', 'proxy-protocol'] as const) {
    const other = createPeerOf(source, isTrusted)
    assert.equal(other(headers, { port: 'http', peer: PROXY }).address, '10.0.0.1')
  }
})
