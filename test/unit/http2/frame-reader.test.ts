import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { FrameReader, type FrameSink } from '../../../src/http2/frame-reader.ts'
import { FLAG, FRAME } from '../../../src/http2/protocol.ts'
import { frame } from './strict-peer.ts'

const MAX_BYTES = 16_384

/** What a reader told, with the pieces of a DATA frame joined. */
class Heard implements FrameSink {
  readonly events: string[] = []
  /** Pieces of DATA, as they came. */
  readonly pieces: Buffer[] = []
  #data: Buffer[] = []

  onFrame(type: number, flags: number, id: number, bytes: Buffer, start: number, end: number) {
    this.events.push(`${type} ${flags} ${id} ${bytes.subarray(start, end).toString('hex')}`)
  }
  onDataStart(flags: number, id: number, lengthBytes: number) {
    this.events.push(`data ${flags} ${id} ${lengthBytes}`)
    this.#data = []
  }
  onData(bytes: Buffer) {
    assert.ok(bytes.length > 0, 'a piece of nothing')
    this.pieces.push(bytes)
    this.#data.push(bytes)
  }
  onDataEnd() {
    this.events.push(`end ${Buffer.concat(this.#data).toString('hex')}`)
  }
}

function hear(chunks: readonly Buffer[]): Heard {
  const heard = new Heard()
  const reader = new FrameReader(heard, MAX_BYTES)
  try {
    for (const chunk of chunks) reader.read(chunk)
  } catch (error) {
    heard.events.push(`${(error as Error).name} ${(error as { code?: number }).code}`)
  }
  return heard
}

const anyFrame = fc
  .record({
    type: fc.oneof(fc.constant(FRAME.DATA), fc.nat(10)),
    flags: fc.oneof(fc.constantFrom(0, FLAG.PADDED, FLAG.END_STREAM), fc.nat(255)),
    id: fc.nat(2 ** 31 - 1),
    payload: fc.uint8Array({ maxLength: 40 }),
    padding: fc.nat(12),
  })
  .map(({ type, flags, id, payload, padding }) => {
    const isPadded = type === FRAME.DATA && (flags & FLAG.PADDED) !== 0
    const bytes = isPadded ? [padding, ...payload, ...new Uint8Array(padding)] : payload
    return { bytes: frame(type, flags, id, bytes), type, flags, id, payload, whole: bytes.length }
  })

describe('FrameReader', () => {
  it('tells the same whatever pieces the bytes come in', () => {
    fc.assert(
      fc.property(
        fc.array(anyFrame, { maxLength: 12 }),
        fc.array(fc.nat(60), { maxLength: 40 }),
        (frames, cuts) => {
          const bytes = Buffer.concat(frames.map((each) => each.bytes))
          const chunks: Buffer[] = []
          let at = 0
          for (const cut of cuts) {
            chunks.push(bytes.subarray(at, at + cut))
            at += cut
          }
          chunks.push(bytes.subarray(at))
          const expected = frames.flatMap(({ type, flags, id, payload, whole }) => {
            const hex = Buffer.from(payload).toString('hex')
            return type === FRAME.DATA
              ? [`data ${flags} ${id} ${whole}`, `end ${hex}`]
              : [`${type} ${flags} ${id} ${hex}`]
          })
          assert.deepEqual(hear(chunks).events, expected)
        },
      ),
      { numRuns: 500 },
    )
  })

  it('reads byte by byte', () => {
    const bytes = Buffer.concat([
      frame(FRAME.SETTINGS, 0, 0, [0, 1, 0, 0, 16, 0]),
      frame(FRAME.DATA, FLAG.PADDED, 1, [3, 97, 98, 0, 0, 0]),
      frame(FRAME.DATA, FLAG.END_STREAM, 1),
      frame(FRAME.DATA, FLAG.PADDED, 1, [0]),
      frame(FRAME.PING, 0, 0, [1, 2, 3, 4, 5, 6, 7, 8]),
    ])
    const chunks = [...bytes].map((byte) => Buffer.from([byte]))
    assert.deepEqual(hear(chunks).events, hear([bytes]).events)
    assert.deepEqual(hear([bytes]).events, [
      '4 0 0 000100001000',
      'data 8 1 6',
      'end 6162',
      'data 1 1 0',
      'end ',
      'data 8 1 1',
      'end ',
      '6 0 0 0102030405060708',
    ])
  })

  it('passes DATA on in the memory it came in', () => {
    const payload = Buffer.alloc(16_384, 7)
    const bytes = frame(FRAME.DATA, 0, 1, payload)
    const chunks = [bytes.subarray(0, 100), bytes.subarray(100, 9000), bytes.subarray(9000)]
    const { pieces } = hear(chunks)
    assert.deepEqual(
      pieces.map((piece) => piece.length),
      [91, 8900, 16_393 - 9000],
    )
    for (const [at, piece] of pieces.entries()) assert.equal(piece.buffer, chunks[at]?.buffer)
    assert.equal(pieces[1], chunks[1], 'a whole chunk is passed on as it is')
  })

  it('takes frames up to the largest size and refuses longer ones at once', () => {
    const longest = frame(FRAME.PING, 0, 0, Buffer.alloc(MAX_BYTES))
    assert.equal(hear([longest]).events.length, 1)
    for (const type of [FRAME.DATA, FRAME.HEADERS, 99]) {
      const head = frame(type, 0, 1, Buffer.alloc(MAX_BYTES + 1)).subarray(0, 9)
      assert.deepEqual(hear([head]).events, ['ConnectionError 6'])
    }
  })

  it('refuses padding that is longer than its frame: RFC 9113 section 6.1', () => {
    assert.deepEqual(hear([frame(FRAME.DATA, FLAG.PADDED, 1, [2, 97])]).events.slice(1), [
      'ConnectionError 1',
    ])
    assert.deepEqual(hear([frame(FRAME.DATA, FLAG.PADDED, 1, [1, 0])]).events, [
      'data 8 1 2',
      'end ',
    ])
    assert.deepEqual(hear([frame(FRAME.DATA, FLAG.PADDED, 1)]).events, ['ConnectionError 6'])
  })

  it('ignores the reserved bit', () => {
    const bytes = frame(FRAME.PING, 0, 0x80000001)
    assert.deepEqual(hear([bytes]).events, ['6 0 1 '])
  })
})
