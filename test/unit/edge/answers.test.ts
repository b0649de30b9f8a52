import assert from 'node:assert/strict'
import { test } from 'node:test'
import { grpcFromHttp, httpFromGrpc } from '../../../src/edge/answers.ts'
import { decodeRpcStatus, encodeRpcStatus } from '../../../src/edge/rpc-status.ts'
import type { GrpcAnswer, HttpAnswer } from '../../../src/pipeline/parcel.ts'

const BODY = Buffer.from('answer')

function grpc(changes: Partial<GrpcAnswer>): GrpcAnswer {
  return {
    protocol: 'grpc',
    status: 0,
    message: '',
    detailsBin: undefined,
    body: undefined,
    encoding: undefined,
    headers: {},
    trailers: {},
    ...changes,
  }
}

function http(changes: Partial<HttpAnswer>): HttpAnswer {
  return {
    protocol: 'http',
    status: 200,
    contentType: 'application/x-protobuf',
    encoding: undefined,
    retryAfter: undefined,
    body: Buffer.alloc(0),
    ...changes,
  }
}

/** gRPC status → HTTP status. */
const HTTP_OF_GRPC: Readonly<Record<number, number>> = {
  1: 503,
  2: 500,
  3: 400,
  4: 503,
  5: 500,
  6: 500,
  7: 403,
  8: 429,
  9: 500,
  10: 503,
  11: 503,
  12: 404,
  13: 500,
  14: 503,
  15: 503,
  16: 401,
  17: 500,
}

for (const [code, status] of Object.entries(HTTP_OF_GRPC)) {
  test(`gRPC ${code} is HTTP ${status}`, () => {
    const answer = httpFromGrpc(grpc({ status: Number(code), message: 'why' }))
    assert.equal(answer.status, status)
    assert.equal(answer.contentType, 'application/x-protobuf')
    assert.equal(answer.retryAfter, undefined)
    assert.deepEqual(decodeRpcStatus(answer.body), {
      code: Number(code),
      message: 'why',
      retryAfterSeconds: undefined,
    })
  })
}

test('a success keeps its message and its compression', () => {
  const answer = httpFromGrpc(grpc({ body: BODY, encoding: 'gzip' }))
  assert.deepEqual(answer, http({ body: BODY, encoding: 'gzip' }))
  assert.equal(httpFromGrpc(grpc({})).body.length, 0)
  const back = grpcFromHttp(http({ status: 204, body: BODY, encoding: 'gzip' }))
  assert.deepEqual(back, grpc({ body: BODY, encoding: 'gzip' }))
})

test('status details pass whole, and their hint becomes Retry-After, never zero', () => {
  for (const [retryAfterSeconds, header] of [
    [7, '7'],
    [0, '1'],
  ] as const) {
    const details = encodeRpcStatus({ code: 8, message: 'slow', retryAfterSeconds })
    for (const detailsBin of [
      details.toString('base64'),
      details.toString('base64').replace(/=+$/, ''),
    ]) {
      const answer = httpFromGrpc(grpc({ status: 8, message: 'slow', detailsBin }))
      assert.equal(answer.retryAfter, header)
      assert.deepEqual(answer.body, details)
    }
  }
})

/** HTTP status → gRPC status. */
const GRPC_OF_HTTP: Readonly<Record<number, number>> = {
  400: 3,
  401: 16,
  403: 7,
  404: 12,
  405: 13,
  408: 13,
  413: 8,
  418: 13,
  429: 8,
  500: 13,
  501: 13,
  502: 14,
  503: 14,
  504: 14,
}

for (const [status, code] of Object.entries(GRPC_OF_HTTP)) {
  test(`HTTP ${status} is gRPC ${code}`, () => {
    const answer = grpcFromHttp(
      http({ status: Number(status), contentType: 'text/html', body: BODY }),
    )
    assert.equal(answer.status, code)
    assert.equal(answer.message, `The collector answered with HTTP status ${status}.`)
    assert.equal(answer.body, undefined)
    const details = decodeRpcStatus(Buffer.from(answer.detailsBin ?? '', 'base64'))
    assert.equal(details?.code, code)
    assert.equal(details?.message, answer.message)
  })
}

test('what the collector itself says of its error goes before its HTTP status', () => {
  const body = encodeRpcStatus({ code: 9, message: 'closed', retryAfterSeconds: 3 })
  const answer = grpcFromHttp(http({ status: 503, body, retryAfter: '30' }))
  assert.equal(answer.status, 9)
  assert.equal(answer.message, 'closed')
  const details = decodeRpcStatus(Buffer.from(answer.detailsBin ?? '', 'base64'))
  assert.equal(details?.retryAfterSeconds, 3)
})

test('a code that is none is not passed on, and never turns an error into a success', () => {
  for (const code of [0, 17, 2 ** 31]) {
    const body = encodeRpcStatus({ code, message: 'odd' })
    assert.equal(grpcFromHttp(http({ status: 503, body })).status, 14)
  }
  assert.equal(grpcFromHttp(http({ status: 503, body: Buffer.from([0xff]) })).status, 14)
})

test('Retry-After in seconds becomes RetryInfo, a date does not', () => {
  const hint = (retryAfter: string) => {
    const { detailsBin = '' } = grpcFromHttp(http({ status: 503, retryAfter }))
    return decodeRpcStatus(Buffer.from(detailsBin, 'base64'))?.retryAfterSeconds
  }
  assert.equal(hint('30'), 30)
  assert.equal(hint('Wed, 21 Oct 2099 07:28:00 GMT'), undefined)
  assert.equal(hint('-1'), undefined)
})
