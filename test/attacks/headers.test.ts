/** Header sections made to be large, long in coming, or costly to read. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { BlockMemory } from '../../src/http2/block-memory.ts'
import { HpackDecoder } from '../../src/http2/hpack-decoder.ts'
import { requestFields } from '../../src/http2/request-fields.ts'
import { eventually } from '../support/eventually.ts'
import { sumOf } from '../support/exposition.ts'
import { heapBytes } from '../support/garbage.ts'
import { TOKEN } from '../support/gateway.ts'
import { FLAG, FRAME, frame, grpcFields, headerBlock, type RawHttp2 } from '../support/raw-http2.ts'
import { CODE, GOOD, request, times } from './frames.ts'
import { underAttack } from './scene.ts'

const WHOLE = FLAG.END_HEADERS | FLAG.END_STREAM

test('CONTINUATION without end, full or empty', async (t) => {
  await underAttack(t, async ({ open, refused }) => {
    for (const [at, payload] of [headerBlock({ 'x-more': 'x' }), Buffer.alloc(0)].entries()) {
      const attacker = await open()
      await attacker.ping()
      await attacker.write(frame(FRAME.HEADERS, 0, 1, GOOD))
      const batch = times(100, frame(FRAME.CONTINUATION, 0, 1, payload))
      for (let count = 0; count < 100 && !attacker.isOver; count += 1) await attacker.write(batch)
      assert.equal(await attacker.ended(), CODE.ENHANCE_YOUR_CALM)
      assert.equal(await refused('header_flood'), at + 1)
    }
  })
})

test('a block of a few large frames', async (t) => {
  await underAttack(t, async ({ open, refused }) => {
    const attacker = await open()
    await attacker.ping()
    const most = Buffer.alloc(16_384)
    await attacker.write(
      frame(FRAME.HEADERS, 0, 1, most),
      times(2, frame(FRAME.CONTINUATION, 0, 1, most)),
    )
    assert.equal(await attacker.ended(), CODE.ENHANCE_YOUR_CALM)
    assert.equal(await refused('header_flood'), 1)
  })
})

test('a frame longer than we take', async (t) => {
  await underAttack(t, async ({ open, refused }) => {
    const attacker = await open()
    await attacker.write(frame(FRAME.HEADERS, WHOLE, 1, Buffer.alloc(16_385)))
    assert.notEqual(await attacker.ended(), CODE.NO_ERROR)
    assert.equal(await refused('protocol_error'), 1)
  })
})

/** One entry of 4 kB in the dynamic table, referred to 3000 times: 12 MB in 7 kB. RFC 7541 section 7.3. */
const BOMB = Buffer.concat([
  GOOD,
  Buffer.from([0x40, 1]),
  Buffer.from('x'),
  Buffer.from([0x7f, 0xa1, 0x1e]),
  Buffer.alloc(4000, 'y'),
  Buffer.alloc(3000, 0x80 | 62),
])

/** Blocks that are read to the end, since the table has to stay in step, and answered with 431. */
const TOO_LARGE: Readonly<Record<string, Buffer>> = {
  'an HPACK bomb': BOMB,
  'one huge value': headerBlock(grpcFields(TOKEN, { 'x-long': 'x'.repeat(16_050) })),
  'a hundred fields': headerBlock(
    grpcFields(TOKEN, Object.fromEntries(Array.from({ length: 100 }, (_, at) => [`x-${at}`, '']))),
  ),
}

for (const [what, block] of Object.entries(TOO_LARGE)) {
  test(`${what}: refused with 431, and again and again ends the connection`, async (t) => {
    await underAttack(t, async ({ open, refused, gateway }) => {
      const attacker = await open()
      await attacker.write(frame(FRAME.HEADERS, WHOLE, 1, block))
      const [answer] = await eventually(
        () => (attacker.of(1).length > 0 ? attacker.of(1) : undefined),
        'an answer',
      )
      assert.ok(answer?.payload.includes('431'))
      // The connection itself is all right.
      await attacker.write(request(3))
      await eventually(() => attacker.of(3).length > 0, 'an answer to a proper request')

      await flood(attacker, block)
      assert.equal(await attacker.ended(), CODE.ENHANCE_YOUR_CALM)
      assert.equal(await refused('flood'), 1)
      const page = await gateway.metrics()
      assert.ok(sumOf(page, 'tollgate_arrivals_total') <= 4, 'none of them came to be a request')
    })
  })
}

test('sizes of the table, up and down and up again, fill no request', async (t) => {
  await underAttack(t, async ({ open, refused }) => {
    const attacker = await open()
    // 0, then 4096, as often as a block holds it, and no field.
    await flood(attacker, times(4000, Buffer.from([0x20, 0x3f, 0xe1, 0x1f])))
    assert.equal(await attacker.ended(), CODE.ENHANCE_YOUR_CALM)
    assert.equal(await refused('flood'), 1)
  })
})

test('a table larger than we announced', async (t) => {
  await underAttack(t, async ({ open, refused }) => {
    const attacker = await open()
    await attacker.write(frame(FRAME.HEADERS, WHOLE, 1, Buffer.from([0x3f, 0xe2, 0x1f])))
    assert.equal(await attacker.ended(), CODE.COMPRESSION_ERROR)
    assert.equal(await refused('protocol_error'), 1)
  })
})

async function flood(attacker: RawHttp2, block: Buffer): Promise<void> {
  for (let id = 5; id < 1000 && !attacker.isOver; id += 2)
    await attacker.write(frame(FRAME.HEADERS, WHOLE, id, block))
}

test('what a connection remembers of header blocks is bounded', () => {
  const decoder = new HpackDecoder({ maxTableBytes: 4096, maxListBytes: 16 * 1024, maxFields: 64 })
  const memory = new BlockMemory(decoder, requestFields)
  const before = heapBytes()
  const memories = [memory]
  for (let at = 0; at < 100; at += 1) {
    const own = new HpackDecoder({ maxTableBytes: 4096, maxListBytes: 16 * 1024, maxFields: 64 })
    const each = new BlockMemory(own, requestFields)
    memories.push(each)
    for (let block = 0; block < 60; block += 1) {
      // Just short enough to be kept, different each time, and as many fields as may be.
      const fields = Object.fromEntries(
        Array.from({ length: 50 }, (_, field) => [`${block}-${field}`, `${at}`]),
      )
      const bytes = headerBlock({ ':method': 'GET', ':scheme': 'https', ':path': '/', ...fields })
      each.read(bytes, 0, bytes.length)
    }
  }
  const each = (heapBytes() - before) / 100
  assert.ok(each < 100_000, `${each} bytes for a connection`)
  assert.equal(memories.length, 101)
})

test('what a connection keeps of its header table is bounded', () => {
  const before = heapBytes()
  const decoders: HpackDecoder[] = []
  for (let at = 0; at < 100; at += 1) {
    const decoder = new HpackDecoder({ maxTableBytes: 4096, maxListBytes: 16_384, maxFields: 64 })
    decoders.push(decoder)
    for (let entry = 0; entry < 60; entry += 1) {
      // Each takes the place of the one before.
      const value = Buffer.alloc(4000, String.fromCharCode(0x30 + entry))
      const bytes = Buffer.concat([
        Buffer.from([0x40, 1]),
        Buffer.from('x'),
        Buffer.from([0x7f, 0xa1, 0x1e]),
        value,
      ])
      decoder.decode(bytes, 0, bytes.length)
    }
  }
  const each = (heapBytes() - before) / 100
  assert.ok(each < 20_000, `${each} bytes for a connection`)
  assert.equal(decoders.length, 100)
})
