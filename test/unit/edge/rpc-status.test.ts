import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  decodeRpcStatus,
  encodeRetryInfo,
  encodeRpcStatus,
  rpcStatusToJson,
} from '../../../src/edge/rpc-status.ts'

const hex = (text: string) => Buffer.from(text).toString('hex')

/** Written down by hand from google/rpc/status.proto and error_details.proto. */
const WITHOUT_DETAILS = `0810${'1202'}${hex('no')}`
const RETRY_INFO = '0a020805'
const RETRY_TYPE = 'type.googleapis.com/google.rpc.RetryInfo'
const WITH_RETRY_INFO = `0808${'1204'}${hex('slow')}${'1a30'}${'0a28'}${hex(RETRY_TYPE)}${'1204'}${RETRY_INFO}`
const BAD_REQUEST_TYPE = 'type.googleapis.com/google.rpc.BadRequest'
const WITH_BAD_REQUEST = `0803${'1203'}${hex('bad')}${'1a3a'}${'0a29'}${hex(BAD_REQUEST_TYPE)}${'120d'}${'0a0b'}${'0a04'}${hex('body')}${'1203'}${hex('why')}`

test('the bytes are those of the definition', () => {
  assert.equal(encodeRpcStatus({ code: 16, message: 'no' }).toString('hex'), WITHOUT_DETAILS)
  const slow = { code: 8, message: 'slow', retryAfterSeconds: 5 }
  assert.equal(encodeRpcStatus(slow).toString('hex'), WITH_RETRY_INFO)
  assert.equal(encodeRetryInfo(5).toString('hex'), RETRY_INFO)
  const bad = { code: 3, message: 'bad', violation: { field: 'body', description: 'why' } }
  assert.equal(encodeRpcStatus(bad).toString('hex'), WITH_BAD_REQUEST)
})

test('JSON is that of proto3', () => {
  assert.deepEqual(JSON.parse(String(rpcStatusToJson({ code: 16, message: 'no' }))), {
    code: 16,
    message: 'no',
  })
  const slow = { code: 8, message: 'slow', retryAfterSeconds: 5 }
  assert.deepEqual(JSON.parse(String(rpcStatusToJson(slow))), {
    code: 8,
    message: 'slow',
    details: [{ '@type': RETRY_TYPE, retryDelay: '5s' }],
  })
  const bad = { code: 3, message: 'bad', violation: { field: 'body', description: 'why' } }
  assert.deepEqual(JSON.parse(String(rpcStatusToJson(bad))), {
    code: 3,
    message: 'bad',
    details: [
      { '@type': BAD_REQUEST_TYPE, fieldViolations: [{ field: 'body', description: 'why' }] },
    ],
  })
})

test('what was written is read back', () => {
  const status = fc.record({
    code: fc.integer({ min: 0, max: 16 }),
    message: fc.string({ unit: 'grapheme', maxLength: 300 }),
    retryAfterSeconds: fc.option(fc.integer({ min: 0, max: 2 ** 40 }), { nil: undefined }),
  })
  fc.assert(
    fc.property(status, (written) => {
      assert.deepEqual(decodeRpcStatus(encodeRpcStatus(written)), { ...written })
    }),
  )
})

test('a delay of less than a second is rounded up, and unknown parts are passed over', () => {
  const read = (text: string) => decodeRpcStatus(Buffer.from(text, 'hex'))
  const detail = (any: string) => `1a${(any.length / 2).toString(16).padStart(2, '0')}${any}`
  const retryInfo = (duration: string) => {
    const info = `0a${(duration.length / 2).toString(16).padStart(2, '0')}${duration}`
    return detail(
      `0a28${hex(RETRY_TYPE)}12${(info.length / 2).toString(16).padStart(2, '0')}${info}`,
    )
  }
  // Duration { nanos = 1 }, then { seconds = 2, nanos = 500000000 }.
  assert.equal(read(`0808${retryInfo('1001')}`)?.retryAfterSeconds, 1)
  assert.equal(read(`0808${retryInfo('08021080cab5ee01')}`)?.retryAfterSeconds, 3)
  const unknown = detail(`0a03${hex('a/b')}1202ffff`)
  assert.equal(read(`0808${unknown}${retryInfo('0804')}`)?.retryAfterSeconds, 4)
  // Fields 9 (varint), 10 (64 bit) and 11 (32 bit) are nobody's.
  assert.deepEqual(read(`4801510102030405060708${'5d01020304'}0805`), {
    code: 5,
    message: '',
    retryAfterSeconds: undefined,
  })
})

test('what is cut short or no status at all is undefined, and never throws', () => {
  const whole = Buffer.from(WITH_RETRY_INFO, 'hex')
  for (let end = 1; end < whole.length; end += 1) {
    // Cut between two fields it is a shorter status.
    if (end === 2 || end === 8) continue
    assert.equal(decodeRpcStatus(whole.subarray(0, end)), undefined, `at ${end}`)
  }
  fc.assert(fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => void decodeRpcStatus(bytes)))
})
