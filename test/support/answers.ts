/** What clients are told, checked the same on every way into the gateway. */
import assert from 'node:assert/strict'
import type { Answer } from './client.ts'

/** The collector took it. */
export function assertAccepted(answer: Answer): void {
  assert.equal(answer.httpStatus, 200, String(answer.body))
  if (answer.way === 'gRPC') assert.equal(answer.grpcStatus, 0, answer.grpcMessage)
}

/** The client keeps its data and is told to come back: 503 (or `http`) with Retry-After, UNAVAILABLE with RetryInfo. */
export function assertComeBack(answer: Answer, http = 503): void {
  if (answer.way === 'gRPC') {
    assert.equal(answer.httpStatus, 200)
    assert.equal(answer.grpcStatus, 14, answer.grpcMessage)
    assert.ok(answer.endsOnHeaders, 'Trailers-Only')
    assert.ok(answer.headers['google.rpc.retryinfo-bin'], 'a hint when to come back')
  } else {
    assert.equal(answer.httpStatus, http, String(answer.body))
    assert.match(String(answer.headers['retry-after']), /^[1-5]$/)
  }
}

/** Refused for what the client did: an HTTP status, or a gRPC code. */
export function assertRefusedWith(answer: Answer, http: number, grpc: number): void {
  if (answer.way === 'gRPC') assert.equal(answer.grpcStatus, grpc, answer.grpcMessage)
  else assert.equal(answer.httpStatus, http, String(answer.body))
}
