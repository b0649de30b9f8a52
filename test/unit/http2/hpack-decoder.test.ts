import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { HpackDecoder } from '../../../src/http2/hpack-decoder.ts'
import { anyBlocks, type Choice, instruct } from './hpack-arbitraries.ts'
import { encode, type Field, integer, ReferenceTable } from './reference-hpack.ts'

const WIDE = { maxTableBytes: 4096, maxListBytes: 1e9, maxFields: 1e6 }
const BROKEN = { name: 'ConnectionError', code: 9 }

function decode(decoder: HpackDecoder, ...parts: readonly (Uint8Array | readonly number[])[]) {
  const bytes = Buffer.concat(parts.map((part) => Buffer.from(part)))
  return decoder.decode(bytes, 0, bytes.length)
}

const literal = (name: string, value: string): Buffer =>
  encode(new ReferenceTable(), { kind: 'incremental', index: 0, name, value, isHuffman: false })
    .bytes

/** Every entry of the dynamic table as the decoder shows it, newest first. */
function tableOf(decoder: HpackDecoder): Field[] {
  const entries: Field[] = []
  for (let index = 62; ; index += 1) {
    try {
      const { fields } = decode(decoder, integer(index, 7, 0x80))
      entries.push([fields[0] as string, fields[1] as string])
    } catch {
      return entries
    }
  }
}

describe('HpackDecoder', () => {
  it('agrees with the reference about any blocks, the table and its changes', () => {
    fc.assert(
      fc.property(anyBlocks, fc.integer({ min: 0, max: 5000 }), (blocks, maxTableBytes) => {
        const decoder = new HpackDecoder({ ...WIDE, maxTableBytes })
        const table = new ReferenceTable()
        table.maxBytes = maxTableBytes
        for (const choices of blocks) {
          const before = JSON.stringify([table.maxBytes, table.entries])
          const { generation } = decoder
          const { bytes, fields } = encodeBlock(table, choices, maxTableBytes)
          assert.deepEqual(decode(decoder, bytes), { fields: fields.flat(), isTooLarge: false })
          assert.deepEqual(tableOf(decoder), table.entries)
          if (JSON.stringify([table.maxBytes, table.entries]) !== before) {
            assert.notEqual(decoder.generation, generation, 'a change went uncounted')
          }
          if (!changesTable(choices)) assert.equal(decoder.generation, generation)
        }
      }),
      { numRuns: 300 },
    )
  })

  it('reads integers of every length the same', () => {
    const table = new ReferenceTable()
    for (const length of [0, 1, 126, 127, 128, 129, 254, 255, 256, 16_383, 16_384, 16_511]) {
      const value = 'v'.repeat(length)
      for (const more of [0, 1, 2]) {
        if (length < 127 && more > 0) continue
        const bytes = Buffer.concat([
          Buffer.from([0x00, 1, 0x61]),
          integer(length, 7, 0, more),
          Buffer.from(value),
        ])
        assert.deepEqual(decode(new HpackDecoder(WIDE), bytes).fields, ['a', value])
      }
    }
    assert.equal(table.entries.length, 0)
  })

  it('refuses integers that overflow or do not end', () => {
    const full = [0x7f, 0xff, 0xff, 0xff, 0xff]
    const broken: readonly (readonly number[])[] = [
      // A length of 2^35: five octets behind the prefix.
      [0x00, 1, 0x61, ...full, 0x7f],
      [0x00, 1, 0x61, ...full, 0xff, 0x00],
      [0x00, 1, 0x61, 0x7f, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00],
      // Indexes of the same kind.
      [0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
      [0xff, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00],
      [0x3f, 0xff, 0xff, 0xff, 0xff, 0x0f],
      // Cut short.
      [0xff],
      [0xff, 0x80],
      [0x00, 1, 0x61, 0x7f],
      [0x7f, 0xff],
    ]
    for (const bytes of broken) {
      assert.throws(
        () => decode(new HpackDecoder(WIDE), bytes),
        BROKEN,
        Buffer.from(bytes).toString('hex'),
      )
    }
  })

  it('refuses what points nowhere or is cut short', () => {
    const broken: readonly (readonly number[])[] = [
      [0x80],
      [0xbe],
      [0x7e, 1, 0x61],
      [0x0f, 0x2f, 1, 0x61],
      [0x40],
      [0x40, 1],
      [0x40, 1, 0x61],
      [0x40, 1, 0x61, 2, 0x61],
      [0x40, 0x81],
      // Huffman: EOS, and eight bits of padding.
      [0x00, 1, 0x61, 0x84, 0xff, 0xff, 0xff, 0xff],
      [0x00, 1, 0x61, 0x82, 0x1f, 0xff],
    ]
    for (const bytes of broken) {
      assert.throws(
        () => decode(new HpackDecoder(WIDE), bytes),
        BROKEN,
        Buffer.from(bytes).toString('hex'),
      )
    }
  })

  it('reads nothing behind the end it was given', () => {
    const bytes = Buffer.concat([literal('a', 'b'), Buffer.from([0x82])])
    const decoder = new HpackDecoder(WIDE)
    assert.deepEqual(decoder.decode(bytes, 0, bytes.length - 1).fields, ['a', 'b'])
    for (let end = 1; end < bytes.length - 1; end += 1) {
      assert.throws(() => decoder.decode(bytes, 0, end), BROKEN, `cut at ${end}`)
    }
  })

  it('takes size updates at the beginning of a block, several too, and nowhere else', () => {
    const decoder = new HpackDecoder(WIDE)
    decode(decoder, literal('a', 'b'), literal('c', 'd'))
    assert.equal(tableOf(decoder).length, 2)
    // Down to one entry, and up again: the evicted one stays away.
    assert.deepEqual(decode(decoder, integer(34, 5, 0x20), integer(4096, 5, 0x20), [0x82]).fields, [
      ':method',
      'GET',
    ])
    assert.deepEqual(tableOf(decoder), [['c', 'd']])
    decode(decoder, integer(0, 5, 0x20))
    assert.deepEqual(tableOf(decoder), [])
    decode(decoder, literal('e', 'f'))
    assert.deepEqual(tableOf(decoder), [], 'a table of no bytes keeps nothing')
    assert.throws(() => decode(decoder, [0x82], integer(0, 5, 0x20)), BROKEN)
    assert.throws(() => decode(decoder, integer(4097, 5, 0x20)), BROKEN)
    decode(decoder, integer(4096, 5, 0x20), literal('e', 'f'))
    assert.deepEqual(tableOf(decoder), [['e', 'f']])
  })

  it('evicts to the byte', () => {
    const decoder = new HpackDecoder({ ...WIDE, maxTableBytes: 68 })
    decode(decoder, literal('a', 'b'), literal('c', 'd'))
    assert.equal(tableOf(decoder).length, 2, '34 + 34 bytes fit in 68')
    decode(decoder, literal('e', 'fg'))
    assert.deepEqual(tableOf(decoder), [['e', 'fg']], '35 + 34 bytes do not')
    decode(decoder, literal('x', 'y'.repeat(36)))
    assert.deepEqual(tableOf(decoder), [], 'an entry larger than the table empties it')
  })

  it('keeps a name whose entry its own insertion evicts', () => {
    // RFC 7541 section 4.4.
    const decoder = new HpackDecoder({ ...WIDE, maxTableBytes: 40 })
    decode(decoder, literal('name', 'a'))
    assert.deepEqual(decode(decoder, [0x7e, 1, 0x62]).fields, ['name', 'b'])
    assert.deepEqual(tableOf(decoder), [['name', 'b']])
  })

  it('cuts off a list that is too large and stays in step', () => {
    const field = literal('name', 'value') // 41 bytes as RFC 9113 section 6.5.2 counts.
    for (const [limits, kept] of [
      [{ maxListBytes: 3 * 41, maxFields: 100 }, 3],
      [{ maxListBytes: 3 * 41 - 1, maxFields: 100 }, 2],
      [{ maxListBytes: 1e6, maxFields: 3 }, 3],
      [{ maxListBytes: 1e6, maxFields: 2 }, 2],
    ] as const) {
      const decoder = new HpackDecoder({ maxTableBytes: 4096, ...limits })
      const { fields, isTooLarge } = decode(decoder, field, field, field)
      assert.equal(fields.length / 2, kept)
      assert.equal(isTooLarge, kept < 3)
      const after = new HpackDecoder(WIDE)
      decode(after, field, field, field)
      assert.deepEqual(tableOf(decoder), tableOf(after))
    }
  })

  it('bounds what a small block of references can decode to', () => {
    const decoder = new HpackDecoder({ maxTableBytes: 4096, maxListBytes: 16_384, maxFields: 64 })
    decode(decoder, literal('a', 'x'.repeat(4000)))
    const bomb = decode(decoder, new Uint8Array(30_000).fill(0xbe))
    assert.equal(bomb.isTooLarge, true)
    assert.equal(bomb.fields.length / 2, 4)
  })
})

function encodeBlock(
  table: ReferenceTable,
  choices: readonly Choice[],
  maxTableBytes: number,
): { bytes: Buffer; fields: Field[] } {
  const fields: Field[] = []
  const parts: Buffer[] = []
  let mayResize = true
  for (const choice of choices) {
    const instruction = instruct(table, choice, maxTableBytes, mayResize)
    if (instruction === undefined) continue
    if (instruction.kind !== 'resize') mayResize = false
    const { bytes, field } = encode(table, instruction)
    parts.push(bytes)
    if (field !== undefined) fields.push(field)
  }
  return { bytes: Buffer.concat(parts), fields }
}

const changesTable = (choices: readonly Choice[]): boolean =>
  choices.some(({ kind }) => kind === 'resize' || kind === 'incremental')
