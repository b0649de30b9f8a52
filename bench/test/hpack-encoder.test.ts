import assert from 'node:assert/strict'
import { test } from 'node:test'
import { HpackDecoder } from '../../src/http2/hpack-decoder.ts'
import { type FieldList, HpackEncoder } from '../load/hpack-encoder.ts'

test('what changes from call to call moves the table, and is read as it was sent', () => {
  const encoder = new HpackEncoder()
  const decoder = new HpackDecoder({ maxTableBytes: 4096, maxListBytes: 65_536, maxFields: 100 })
  const lengths = new Set<number>()
  const blocks = new Set<string>()
  for (let call = 0; call < 500; call += 1) {
    const id = (call * 2_654_435_761).toString(16).padStart(16, '0')
    const fields: FieldList = [
      [':method', 'POST'],
      [':scheme', 'https'],
      [':path', '/opentelemetry.proto.collector.trace.v1.TraceService/Export'],
      ['content-type', 'application/grpc'],
      ['te', 'trailers'],
      ['x-empty', ''],
      ['x-odd', '{"a":[1,2]} ~é'],
      ['grpc-timeout', `${9_999_999 - call}u`],
      ['authorization', 'Bearer tg_bench_7hQ2vXzK9mB4tLwR8nYc3PjD6sFa1GeU'],
      ['traceparent', `00-${id}${id}-${id}-01`],
    ]
    const block = encoder.encode(fields)
    lengths.add(block.length)
    blocks.add(block.toString('latin1'))
    assert.deepEqual(decoder.decode(block, 0, block.length).fields, fields.flat())
  }
  assert.ok(lengths.size > 3, 'fields that have left the table are added again')
  assert.equal(blocks.size, 500, 'no block comes twice')
})
