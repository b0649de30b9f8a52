/** Frames that look like HTTP/2, mostly: what a fuzzer sends. */
import { FLAG, FRAME, PREFACE, SETTING } from '../../src/http2/protocol.ts'
import { type Field, integer } from '../unit/http2/reference-hpack.ts'
import { block, frame, settingsFrame, uint32 } from '../unit/http2/strict-peer.ts'
import type { Random } from './random.ts'

const NAMES = [
  ':method',
  ':path',
  ':scheme',
  ':authority',
  ':status',
  'content-length',
  'content-type',
  'te',
  'cookie',
  'connection',
  'host',
  'x-a',
  'X-A',
  '',
  'a b',
]
const VALUES = [
  '',
  'POST',
  '/a',
  'https',
  '200',
  '100',
  '0',
  '5',
  '-1',
  'trailers',
  'a\nb',
  ' a',
  '\x80',
]
const REQUEST: readonly Field[] = [
  [':method', 'POST'],
  [':scheme', 'https'],
  [':path', '/a'],
]
const ANSWER: readonly Field[] = [[':status', '200']]
const ERROR_CODES = [0, 1, 2, 5, 7, 8, 11, 13, 0xffffffff]
const EDGES = [
  0,
  1,
  2,
  16_383,
  16_384,
  65_535,
  65_536,
  2 ** 24 - 1,
  2 ** 31 - 1,
  2 ** 31,
  2 ** 32 - 1,
]

/** Ids that mean something in a short conversation, and some that do not. */
function streamId(random: Random): number {
  if (random.once(12)) return random.pick([0, 2, 4, 2 ** 31 - 1, random.below(2 ** 31)])
  return 1 + 2 * random.below(12)
}

/** HPACK that is right, nearly right, or noise. */
export function anyBlock(random: Random, start: readonly Field[]): Buffer {
  const parts: Buffer[] = []
  if (random.once(8)) parts.push(integer(random.pick([0, 1, 100, 4096, 4097, 70_000]), 5, 0x20))
  if (!random.once(6)) parts.push(block(start))
  for (let count = random.below(5); count > 0; count -= 1) {
    switch (random.below(6)) {
      case 0:
        parts.push(integer(random.below(80), 7, 0x80))
        break
      case 1:
        parts.push(block([[random.pick(NAMES), random.pick(VALUES)]]))
        break
      case 2: {
        const literal = block([
          [random.pick(NAMES), 'x'.repeat(random.below(random.once(20) ? 5000 : 50))],
        ])
        literal[0] = 0x40
        parts.push(literal)
        break
      }
      case 3:
        parts.push(
          Buffer.concat([integer(random.below(70), 6, 0x40), integer(1, 7, 0), Buffer.from('v')]),
        )
        break
      case 4: {
        const text = random.bytes(random.below(12))
        parts.push(
          Buffer.concat([integer(1 + random.below(61), 4, 0), integer(text.length, 7, 0x80), text]),
        )
        break
      }
      default:
        parts.push(random.once(4) ? random.bytes(random.below(20)) : block([['x-a', 'b']]))
    }
  }
  return Buffer.concat(parts)
}

function padded(random: Random, payload: Buffer): { payload: Buffer; flags: number } {
  if (!random.once(4)) return { payload, flags: 0 }
  const length = random.below(20)
  const claimed = random.once(6) ? random.below(256) : length
  return {
    payload: Buffer.concat([Buffer.from([claimed]), payload, Buffer.alloc(length)]),
    flags: FLAG.PADDED,
  }
}

/** One frame, or a few that belong together. */
export function anyFrames(random: Random, isFromServer: boolean): Buffer {
  const id = streamId(random)
  switch (random.below(14)) {
    case 0:
    case 1:
    case 2:
    case 3: {
      const bytes = anyBlock(random, isFromServer ? ANSWER : REQUEST)
      const ends = random.once(2) ? FLAG.END_STREAM : 0
      if (random.once(5)) {
        const cut = random.below(bytes.length + 1)
        const last = random.once(8) ? 0 : FLAG.END_HEADERS
        const next = random.once(10) ? streamId(random) : id
        return Buffer.concat([
          frame(FRAME.HEADERS, ends, id, bytes.subarray(0, cut)),
          frame(FRAME.CONTINUATION, last, next, bytes.subarray(cut)),
        ])
      }
      const priority = random.once(6)
      const whole = priority
        ? Buffer.concat([uint32(streamId(random)), Buffer.from([16]), bytes])
        : bytes
      const { payload, flags } = padded(random, whole)
      const all = ends | flags | FLAG.END_HEADERS | (priority ? FLAG.PRIORITY : 0)
      return frame(FRAME.HEADERS, all, id, payload)
    }
    case 4:
    case 5:
    case 6: {
      const size = random.once(4) ? random.below(16_384) : random.below(100)
      const { payload, flags } = padded(random, Buffer.alloc(size, 7))
      return frame(FRAME.DATA, flags | (random.once(3) ? FLAG.END_STREAM : 0), id, payload)
    }
    case 7:
      return frame(FRAME.RST_STREAM, 0, id, uint32(random.pick(ERROR_CODES)))
    case 8:
      return frame(FRAME.WINDOW_UPDATE, 0, random.once(3) ? 0 : id, uint32(anyNumber(random)))
    case 9: {
      if (random.once(3)) return frame(FRAME.SETTINGS, FLAG.ACK, 0)
      const ids = Object.values(SETTING)
      const count = random.below(4)
      return settingsFrame(
        Array.from({ length: count }, () => [
          random.once(6) ? 99 : random.pick(ids),
          anyNumber(random),
        ]),
      )
    }
    case 10:
      return frame(FRAME.PING, random.once(3) ? FLAG.ACK : 0, 0, random.bytes(8))
    case 11:
      return random.once(6)
        ? frame(FRAME.GOAWAY, 0, 0, uint32(streamId(random), random.pick(ERROR_CODES)))
        : frame(FRAME.PRIORITY, 0, id, Buffer.concat([uint32(streamId(random)), Buffer.from([1])]))
    case 12:
      return random.once(4)
        ? frame(random.below(256), random.below(256), id, random.bytes(random.below(30)))
        : frame(FRAME.WINDOW_UPDATE, 0, random.once(2) ? 0 : id, uint32(1 + random.below(60_000)))
    default:
      return random.once(8) ? frame(FRAME.PUSH_PROMISE, 4, id, uint32(2)) : Buffer.alloc(0)
  }
}

function anyNumber(random: Random): number {
  return random.once(3) ? random.pick(EDGES) : random.below(70_000)
}

/** A conversation: mostly well begun, then anything, now and then damaged by a few bytes. */
export function anyConversation(random: Random, isFromServer: boolean): Buffer {
  const parts: Buffer[] = []
  if (!isFromServer && !random.once(40)) parts.push(PREFACE)
  if (!random.once(40))
    parts.push(
      settingsFrame(random.once(2) ? [] : [[SETTING.INITIAL_WINDOW_SIZE, random.below(70_000)]]),
    )
  if (random.once(2)) parts.push(frame(FRAME.SETTINGS, FLAG.ACK, 0))
  for (let count = random.below(40); count > 0; count -= 1)
    parts.push(anyFrames(random, isFromServer))
  const bytes = Buffer.concat(parts)
  return random.once(3) ? damaged(random, bytes) : bytes
}

/** The same bytes with a few changed, gone, doubled or put in. */
export function damaged(random: Random, bytes: Buffer): Buffer {
  let result = bytes
  for (let count = 1 + random.below(3); count > 0; count -= 1) {
    const at = random.below(result.length + 1)
    const before = result.subarray(0, at)
    const length = random.below(10)
    switch (random.below(4)) {
      case 0:
        result = Buffer.concat([before, random.bytes(1), result.subarray(at + 1)])
        break
      case 1:
        result = Buffer.concat([before, result.subarray(at + length)])
        break
      case 2:
        result = Buffer.concat([before, result.subarray(at, at + length * 5), result.subarray(at)])
        break
      default:
        result = Buffer.concat([before, random.bytes(length), result.subarray(at)])
    }
  }
  return result
}
