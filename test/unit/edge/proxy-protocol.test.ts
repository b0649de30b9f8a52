import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { parseProxyHeader } from '../../../src/edge/proxy-protocol.ts'

const SIGNATURE = '0d0a0d0a000d0a515549540a'
const V4 = `${SIGNATURE}2111000ccb0071097f000001d90310dd`
const V6 =
  `${SIGNATURE}21210024` +
  '20010db8000100020000000000000009' +
  '00000000000000000000000000000001' +
  'd90310dd'

/** The whole header, and the address it names. */
const GOOD: Readonly<Record<string, readonly [Buffer, string | undefined]>> = {
  'version 1, TCP4': [Buffer.from('PROXY TCP4 203.0.113.9 127.0.0.1 5 6\r\n'), '203.0.113.9'],
  'version 1, TCP6': [Buffer.from('PROXY TCP6 2001:db8::9 ::1 5 6\r\n'), '2001:db8::9'],
  'version 1, UNKNOWN': [Buffer.from('PROXY UNKNOWN\r\n'), undefined],
  'version 1, UNKNOWN with addresses': [
    Buffer.from('PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n'),
    undefined,
  ],
  'version 2, TCP over IPv4': [Buffer.from(V4, 'hex'), '203.0.113.9'],
  'version 2, UDP over IPv4': [Buffer.from(V4.replace('2111', '2112'), 'hex'), '203.0.113.9'],
  'version 2, TCP over IPv6': [Buffer.from(V6, 'hex'), '2001:0db8:0001:0002:0000:0000:0000:0009'],
  'version 2, with TLVs': [
    Buffer.from(`${V4.replace('2111000c', '21110013')}04000461622e63`, 'hex'),
    '203.0.113.9',
  ],
  'version 2, LOCAL': [Buffer.from(`${SIGNATURE}20000000`, 'hex'), undefined],
  'version 2, LOCAL with something in it': [
    Buffer.from(`${SIGNATURE}2011000401020304`, 'hex'),
    undefined,
  ],
  'version 2, unspecified': [Buffer.from(`${SIGNATURE}21000000`, 'hex'), undefined],
  'version 2, a unix socket': [
    Buffer.from(`${SIGNATURE}213100d8${'00'.repeat(216)}`, 'hex'),
    undefined,
  ],
}

for (const [name, [bytes, address]] of Object.entries(GOOD)) {
  test(`${name}: whole, with what follows, and cut at every byte`, () => {
    const expected = { kind: 'header', address, lengthBytes: bytes.length }
    assert.deepEqual(parseProxyHeader(bytes), expected)
    const followed = Buffer.concat([bytes, Buffer.from([0x16, 3, 1, 0, 0xff])])
    assert.deepEqual(parseProxyHeader(followed), expected)
    for (let end = 0; end < bytes.length; end += 1)
      assert.deepEqual(
        parseProxyHeader(bytes.subarray(0, end)),
        { kind: 'incomplete' },
        `at ${end}`,
      )
  })
}

const BAD: Readonly<Record<string, Buffer>> = {
  'a TLS hello': Buffer.from([0x16, 3, 1, 2, 0]),
  'an HTTP request': Buffer.from('POST /v1/traces HTTP/1.1\r\n'),
  'half a signature and something else': Buffer.from('PROXX'),
  'version 1, an unknown family': Buffer.from('PROXY UDP4 1.2.3.4 1.2.3.4 5 6\r\n'),
  'version 1, too few fields': Buffer.from('PROXY TCP4 1.2.3.4 1.2.3.4 5\r\n'),
  'version 1, too many fields': Buffer.from('PROXY TCP4 1.2.3.4 1.2.3.4 5 6 7\r\n'),
  'version 1, a line without end': Buffer.from(`PROXY TCP4 ${'1'.repeat(200)}`),
  'version 2, another version': Buffer.from(V4.replace('2111', '3111'), 'hex'),
  'version 2, an unknown command': Buffer.from(V4.replace('2111', '2211'), 'hex'),
  'version 2, an unknown family': Buffer.from(V4.replace('2111', '2141'), 'hex'),
  'version 2, addresses too short': Buffer.from(`${SIGNATURE}21110004cb007109`, 'hex'),
  'version 2, IPv6 with the addresses of IPv4': Buffer.from(V4.replace('2111', '2121'), 'hex'),
  'version 2, longer than it may be': Buffer.from(`${SIGNATURE}2111ffff`, 'hex'),
}

for (const [name, bytes] of Object.entries(BAD)) {
  test(`invalid: ${name}`, () => {
    assert.equal(parseProxyHeader(bytes).kind, 'invalid')
  })
}

test('a longest line is taken, a longer one is not', () => {
  const longest =
    'PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n'
  assert.equal(parseProxyHeader(Buffer.from(longest)).kind, 'header')
  assert.equal(longest.length, 107)
  const longer = longest.replace('65535 65535', '65535 6553500000')
  assert.equal(parseProxyHeader(Buffer.from(longer)).kind, 'invalid')
})

test('anything at all is read without throwing, and never beyond its end', () => {
  const starts = fc.constantFrom('', SIGNATURE, `${SIGNATURE}2111`, '50524f585920')
  fc.assert(
    fc.property(starts, fc.uint8Array({ maxLength: 300 }), (start, rest) => {
      const bytes = Buffer.concat([Buffer.from(start, 'hex'), rest])
      const header = parseProxyHeader(bytes)
      if (header.kind === 'header') assert.ok(header.lengthBytes <= bytes.length)
    }),
  )
})
