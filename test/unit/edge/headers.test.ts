import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { encodeGrpcMessage, isGrpc } from '../../../src/edge/grpc.ts'
import {
  contentLength,
  createHeaderFilter,
  first,
  mediaType,
  parseEncoding,
} from '../../../src/edge/headers.ts'

const PEER = { key: '2001:db8::/64', address: '2001:db8::9' }

test('only what is listed travels on, and the address is ours to tell', () => {
  const filter = createHeaderFilter(['x-tenant'])
  const kept = filter(
    {
      ':path': '/v1/traces',
      authorization: 'Bearer secret',
      connection: 'x-tenant',
      cookie: 'a=b',
      host: 'gateway',
      te: 'trailers',
      'user-agent': 'agent',
      traceparent: '00-1',
      'x-forwarded-for': '198.51.100.1',
      'x-tenant': ['blue', 'green'],
      'x-other': 'no',
    },
    PEER,
  )
  assert.deepEqual(kept, {
    'user-agent': 'agent',
    traceparent: '00-1',
    'x-forwarded-for': '2001:db8::9',
    'x-tenant': ['blue', 'green'],
  })
})

test('whatever a client sends, its credential does not travel on', () => {
  const filter = createHeaderFilter([])
  fc.assert(
    fc.property(fc.dictionary(fc.string(), fc.string()), (headers) => {
      const kept = filter({ ...headers, authorization: 'Bearer secret' }, PEER)
      assert.ok(!Object.values(kept).some((value) => value === 'Bearer secret'))
      assert.equal(kept['x-forwarded-for'], PEER.address)
    }),
  )
})

test('the first of several values counts', () => {
  assert.equal(first({ a: 'b' }, 'a'), 'b')
  assert.equal(first({ a: ['b', 'c'] }, 'a'), 'b')
  assert.equal(first({ a: [] }, 'a'), undefined)
  assert.equal(first({}, 'a'), undefined)
})

test('a media type is read without its parameters', () => {
  assert.equal(mediaType('application/json'), 'application/json')
  assert.equal(mediaType('Application/JSON ; charset=utf-8'), 'application/json')
  assert.equal(mediaType(undefined), '')
  assert.equal(mediaType(''), '')
})

test('codings', () => {
  for (const none of [undefined, '', 'identity', ' Identity '])
    assert.equal(parseEncoding(none), undefined)
  for (const encoding of ['gzip', 'zstd', 'deflate', 'snappy'])
    assert.equal(parseEncoding(encoding), encoding)
  assert.equal(parseEncoding(' GZIP'), 'gzip')
  for (const other of ['br', 'gzip, gzip', 'x-gzip', 'lz4', '__proto__'])
    assert.equal(parseEncoding(other), 'unsupported')
})

test('a content length is a number of bytes', () => {
  assert.equal(contentLength({ 'content-length': '0' }), 0)
  assert.equal(contentLength({ 'content-length': '67108864' }), 67_108_864)
  for (const none of ['', '-1', '1.5', '1e3', '0x10', ' 1', '9'.repeat(16)])
    assert.equal(contentLength({ 'content-length': none }), undefined, none)
  assert.equal(contentLength({}), undefined)
})

test('what means to be gRPC', () => {
  for (const yes of ['application/grpc', 'application/grpc+proto', 'application/grpc+json'])
    assert.equal(isGrpc(yes), true, yes)
  for (const no of [undefined, '', 'application/json', 'application/x-protobuf', 'grpc'])
    assert.equal(isGrpc(no), false, String(no))
})

test('a status message is printable ASCII, and decodes to what it was', () => {
  assert.equal(encodeGrpcMessage('too large: 5 > 4'), 'too large: 5 > 4')
  assert.equal(encodeGrpcMessage('100% ü\n'), '100%25 %C3%BC%0A')
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), (message) => {
      const encoded = encodeGrpcMessage(message)
      assert.match(encoded, /^[\x20-\x7e]*$/)
      assert.equal(decodeURIComponent(encoded), message)
    }),
  )
})
