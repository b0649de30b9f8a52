import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { deflateSync, gzipSync, zstdCompressSync } from 'node:zlib'
import { createInflatedSize } from '../../../src/edge/inflated-size.ts'
import { BodyRefused } from '../../../src/pipeline/fault.ts'
import type { Reason } from '../../../src/pipeline/outcome.ts'

const MAX_BYTES = 1024 * 1024
const COMPRESS = { gzip: gzipSync, deflate: deflateSync, zstd: zstdCompressSync }

for (const [name, compress] of Object.entries(COMPRESS)) {
  const encoding = name as keyof typeof COMPRESS

  test(`${name}: as large as may be passes, a byte more does not`, async () => {
    await sizeOf(encoding, compress(Buffer.alloc(MAX_BYTES)))
    await assertRefused(sizeOf(encoding, compress(Buffer.alloc(MAX_BYTES + 1))), 'too_large')
  })

  test(`${name}: a bomb is refused long before it has gone off`, async () => {
    const bomb = compress(Buffer.alloc(200 * 1024 * 1024))
    await assertRefused(sizeOf(encoding, bomb), 'too_large')
  })

  test(`${name}: what is none, is cut short or is empty is malformed`, async () => {
    await assertRefused(sizeOf(encoding, Buffer.from('this is not compressed')), 'malformed')
    const whole = compress(randomBytes(10_000))
    await assertRefused(sizeOf(encoding, whole.subarray(0, -1)), 'malformed')
    await assertRefused(sizeOf(encoding, Buffer.alloc(0)), 'malformed')
  })

  test(`${name}: pieces of any size`, async () => {
    const whole = compress(randomBytes(20_000))
    for (const pieceBytes of [1, 7, 1000, 100_000]) await sizeOf(encoding, whole, pieceBytes)
  })

  test(`${name}: nothing is waited for after it was let go`, async () => {
    const counting = createInflatedSize(encoding, undefined, MAX_BYTES)
    counting?.add(compress(Buffer.alloc(1000)))
    counting?.destroy()
    counting?.add(Buffer.from('more'))
    counting?.destroy()
  })
}

test('several gzip members count together', async () => {
  const half = gzipSync(Buffer.alloc(MAX_BYTES / 2))
  await sizeOf('gzip', Buffer.concat([half, half]))
  await assertRefused(sizeOf('gzip', Buffer.concat([half, half, gzipSync('x')])), 'too_large')
})

test('several zstd frames count together', async () => {
  const half = zstdCompressSync(Buffer.alloc(MAX_BYTES / 2))
  await sizeOf('zstd', Buffer.concat([half, half]))
  await assertRefused(
    sizeOf('zstd', Buffer.concat([half, half, zstdCompressSync('x')])),
    'too_large',
  )
})

test('what DEFLATE cannot expand beyond the limit is not looked into', () => {
  const limit = 64 * 1024 * 1024
  const most = Math.floor(limit / 1032)
  for (const encoding of ['gzip', 'deflate'] as const) {
    assert.equal(createInflatedSize(encoding, most, limit), undefined)
    assert.equal(createInflatedSize(encoding, 0, limit), undefined)
    for (const lengthBytes of [most + 1, undefined]) {
      const counting = createInflatedSize(encoding, lengthBytes, limit)
      assert.ok(counting !== undefined)
      counting.destroy()
    }
  }
})

test('the ratio that this rests on is not exceeded by zlib', () => {
  const sizeBytes = 50 * 1024 * 1024
  for (const level of [1, 6, 9]) {
    const ratio = sizeBytes / deflateSync(Buffer.alloc(sizeBytes), { level }).length
    assert.ok(ratio <= 1032, `${ratio}`)
  }
})

test('zstd is always looked into: its ratio has no bound', () => {
  const tiny = zstdCompressSync(Buffer.alloc(100 * 1024 * 1024))
  assert.ok(tiny.length < (MAX_BYTES / 1032) * 20)
  const counting = createInflatedSize('zstd', 10, MAX_BYTES)
  assert.ok(counting !== undefined)
  counting.destroy()
})

test('nothing compressed, nothing to count', () => {
  assert.equal(createInflatedSize(undefined, undefined, MAX_BYTES), undefined)
})

test('snappy tells its size in front', async () => {
  // 1048576 = 0x100000 as a varint, and one more.
  await sizeOf('snappy', Buffer.from('808040ff', 'hex'))
  await sizeOf('snappy', Buffer.from('808040ff', 'hex'), 1)
  await assertRefused(sizeOf('snappy', Buffer.from('818040ff', 'hex')), 'too_large')
  await assertRefused(sizeOf('snappy', Buffer.from('ffffffff0f', 'hex')), 'too_large')
  for (const malformed of ['', '80', 'ffffffffff', 'ffffffffffff01'])
    await assertRefused(sizeOf('snappy', Buffer.from(malformed, 'hex')), 'malformed')
})

async function sizeOf(
  encoding: 'gzip' | 'deflate' | 'zstd' | 'snappy',
  bytes: Buffer,
  pieceBytes = 64 * 1024,
): Promise<void> {
  const counting = createInflatedSize(encoding, undefined, MAX_BYTES)
  assert.ok(counting !== undefined)
  for (let at = 0; at < bytes.length; at += pieceBytes)
    counting.add(bytes.subarray(at, at + pieceBytes))
  await counting.finish()
}

async function assertRefused(counted: Promise<void>, reason: Reason): Promise<void> {
  await assert.rejects(counted, (thrown) => {
    assert.ok(thrown instanceof BodyRefused)
    assert.equal(thrown.refusal.reason, reason)
    return true
  })
}
