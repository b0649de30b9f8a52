import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { encodeField, fieldBlock, statusBlock } from '../../../src/http2/field-encoder.ts'
import { HpackDecoder } from '../../../src/http2/hpack-decoder.ts'
import { decode, ReferenceTable } from './reference-hpack.ts'

describe('field blocks', () => {
  it('decode to the fields they were made of', () => {
    const anyName = fc.oneof(
      fc.constantFrom('content-type', ':path', 'grpc-status', 'te', 'www-authenticate'),
      fc.stringMatching(/^[a-z0-9!#$%&'*+.^_`|~-]{1,200}$/),
    )
    const anyValue = fc
      .uint8Array({ maxLength: 300 })
      .map((bytes) =>
        Buffer.from(bytes)
          .toString('latin1')
          .replace(/[\0\r\n]/g, '')
          .trim(),
      )
      .map((value) => value.replace(/^[ \t]+|[ \t]+$/g, ''))
    fc.assert(
      fc.property(
        fc.array(fc.tuple(anyName, fc.oneof(anyValue, fc.array(anyValue)))),
        (entries) => {
          const fields = Object.fromEntries(entries)
          const expected = Object.entries(fields).flatMap(([name, value]) =>
            [value].flat().map((each) => [name, each]),
          )
          const bytes = fieldBlock(fields)
          const table = new ReferenceTable()
          assert.deepEqual(decode(table, bytes), expected)
          assert.deepEqual(table.entries, [])
          const limits = { maxTableBytes: 4096, maxListBytes: 1e9, maxFields: 1e6 }
          const decoded = new HpackDecoder(limits).decode(bytes, 0, bytes.length)
          assert.deepEqual(decoded.fields, expected.flat())
        },
      ),
    )
  })

  it('are made of lengths of every size', () => {
    for (const length of [0, 1, 126, 127, 128, 254, 255, 256, 16_510, 16_511, 70_000]) {
      const value = 'v'.repeat(length)
      assert.deepEqual(decode(new ReferenceTable(), encodeField('x-a', value)), [['x-a', value]])
    }
    const name = 'n'.repeat(5000)
    assert.deepEqual(decode(new ReferenceTable(), encodeField(name, '')), [[name, '']])
  })

  it('tell every status', () => {
    for (let status = 200; status < 600; status += 1) {
      const table = new ReferenceTable()
      assert.deepEqual(decode(table, statusBlock(status)), [[':status', String(status)]])
    }
  })

  it('hold no space at either end of a value: RFC 9113 section 8.2.1', () => {
    for (const value of [' a b', 'a b ', '\t a b\t', 'a b']) {
      assert.deepEqual(decode(new ReferenceTable(), encodeField('x', value)), [['x', 'a b']])
    }
    assert.deepEqual(decode(new ReferenceTable(), encodeField('x', ' \t ')), [['x', '']])
  })

  it('refuse what is no field', () => {
    for (const name of ['', 'A', 'a b', 'a:b', '::a', 'ä', 'a\n', ':']) {
      assert.throws(() => encodeField(name, 'x'), TypeError, JSON.stringify(name))
    }
    for (const value of ['a\0b', 'a\nb', 'a\rb', 'a\r\n', 'Ā', '€']) {
      assert.throws(() => encodeField('x', value), TypeError, JSON.stringify(value))
    }
  })
})
