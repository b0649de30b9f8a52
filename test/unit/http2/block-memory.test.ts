import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { BlockMemory, TOO_LARGE } from '../../../src/http2/block-memory.ts'
import { HpackDecoder } from '../../../src/http2/hpack-decoder.ts'
import { requestFields } from '../../../src/http2/request-fields.ts'
import { anyChoice, instruct } from './hpack-arbitraries.ts'
import { encode, type Field, type Instruction, ReferenceTable } from './reference-hpack.ts'

const LIMITS = { maxTableBytes: 4096, maxListBytes: 16_384, maxFields: 64 }
const keep = (list: readonly string[]) => ({ list })

function memory(limits = LIMITS): BlockMemory<{ list: readonly string[] }> {
  return new BlockMemory(new HpackDecoder(limits), keep)
}

const read = <T extends object>(blocks: BlockMemory<T>, bytes: Buffer) =>
  blocks.read(bytes, 0, bytes.length)

/** How a client library encodes: which fields it puts into the table. */
type Habit = 'all' | 'none' | 'all but the token' | 'never the token'

function encodeAs(habit: Habit, table: ReferenceTable, fields: readonly Field[]): Buffer {
  const parts = fields.map(([name, value]) => {
    let nameIndex = 0
    for (let index = 1; index <= table.length; index += 1) {
      const [known, with_] = table.at(index) as Field
      if (known !== name) continue
      if (with_ === value) return encode(table, { kind: 'indexed', index }).bytes
      nameIndex ||= index
    }
    const isToken = name === 'authorization'
    let kind: Instruction['kind'] = habit === 'none' ? 'without' : 'incremental'
    if (isToken && habit === 'all but the token') kind = 'without'
    if (isToken && habit === 'never the token') kind = 'never'
    return encode(table, { kind, index: nameIndex, name, value, isHuffman: true }).bytes
  })
  return Buffer.concat(parts)
}

describe('BlockMemory', () => {
  it('never differs from a fresh decoding, whatever the client does', () => {
    const anyHabit = fc.constantFrom<Habit>('all', 'none', 'all but the token', 'never the token')
    const anyRequest = fc.record({
      token: fc.constantFrom('Bearer a', 'Bearer b', 'Bearer c'),
      trace: fc.option(fc.nat(5), { nil: undefined }),
      path: fc.constantFrom('/a', '/b'),
      size: fc.constantFrom(0, 0, 0, 900, 1500),
      habit: anyHabit,
    })
    fc.assert(
      fc.property(fc.array(anyRequest, { maxLength: 60 }), (requests) => {
        const table = new ReferenceTable()
        const blocks = new BlockMemory(new HpackDecoder(LIMITS), requestFields)
        for (const { token, trace, path, size, habit } of requests) {
          const fields: Field[] = [
            [':method', 'POST'],
            [':scheme', 'http'],
            [':path', path],
            ['authorization', token],
          ]
          if (trace !== undefined) fields.push(['traceparent', `00-${'ab'.repeat(16)}-${trace}`])
          if (size > 0) fields.push(['x-long', 'x'.repeat(size)])
          const found = read(blocks, encodeAs(habit, table, fields))
          assert.deepEqual(found, requestFields(fields.flat()))
        }
      }),
      { numRuns: 300 },
    )
  })

  it('never differs from a decoder beside it, for any blocks, each sent again and again', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.array(anyChoice, { maxLength: 5 }), fc.nat(2)), { maxLength: 25 }),
        (rounds) => {
          const decoder = new HpackDecoder(LIMITS)
          const blocks = memory()
          const table = new ReferenceTable()
          const send = (bytes: Buffer) => {
            const { fields, isTooLarge } = decoder.decode(bytes, 0, bytes.length)
            assert.deepEqual(read(blocks, bytes), isTooLarge ? TOO_LARGE : { list: fields })
          }
          for (const [choices, again] of rounds) {
            const parts: Buffer[] = []
            let mayResize = true
            let isStable = true
            for (const choice of choices) {
              const instruction = instruct(table, choice, 4096, mayResize)
              if (instruction === undefined) continue
              if (instruction.kind !== 'resize') mayResize = false
              if (instruction.kind === 'resize' || instruction.kind === 'incremental')
                isStable = false
              parts.push(encode(table, instruction).bytes)
            }
            const bytes = Buffer.concat(parts)
            send(bytes)
            // The same bytes mean the same again only where they left the table alone.
            if (isStable) for (let i = 0; i < again; i += 1) send(bytes)
          }
        },
      ),
      { numRuns: 300 },
    )
  })

  it('gives the same object for the same block, until the table changes', () => {
    const blocks = memory()
    const plain = Buffer.from([0x82, 0x84])
    const first = read(blocks, plain)
    assert.equal(read(blocks, plain), first)
    read(blocks, Buffer.from([0x40, 1, 97, 1, 98]))
    const second = read(blocks, plain)
    assert.notEqual(second, first)
    assert.deepEqual(second, first)
    // A block that means something else after each insertion.
    const newest = Buffer.from([0xbe])
    assert.deepEqual(read(blocks, newest), { list: ['a', 'b'] })
    read(blocks, Buffer.from([0x40, 1, 99, 1, 100]))
    assert.deepEqual(read(blocks, newest), { list: ['c', 'd'] })
  })

  it('tells a list that is too large each time', () => {
    const blocks = memory({ ...LIMITS, maxFields: 1 })
    const two = Buffer.from([0x82, 0x84])
    assert.equal(read(blocks, two), TOO_LARGE)
    assert.equal(read(blocks, two), TOO_LARGE)
  })

  it('does not keep what a parser refused', () => {
    let calls = 0
    const blocks = new BlockMemory(new HpackDecoder(LIMITS), () => {
      calls += 1
      return 'no'
    })
    assert.equal(read(blocks, Buffer.from([0x82])), 'no')
    assert.equal(read(blocks, Buffer.from([0x82])), 'no')
    assert.equal(calls, 2)
  })
})
