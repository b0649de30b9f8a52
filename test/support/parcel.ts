/** Parcels and permits for tests of the collector's side. */
import { admit, Permit } from '../../src/pipeline/admit.ts'
import type { MessageBody, Parcel } from '../../src/pipeline/parcel.ts'
import type { Token } from '../../src/pipeline/ports.ts'

/** A permit as `admit` makes them, from stores that allow everything. */
export function permit(): Permit {
  const token: Token = {
    id: 'test',
    holder: 'test',
    scopes: undefined,
    limits: { requests: undefined, bytes: undefined, inFlight: undefined },
  }
  const decision = admit(
    {
      protocol: 'grpc',
      signal: 'traces',
      peer: { key: '192.0.2.1', address: '192.0.2.1' },
      authorization: 'Bearer test',
      userAgent: undefined,
      deadlineMs: Number.POSITIVE_INFINITY,
      flaw: undefined,
    },
    {
      bans: {
        isBanned: () => false,
        remainingMs: () => 0,
        strike() {},
        vouch() {},
        isVouched: () => false,
      },
      tokens: { verify: () => token, detailOf: () => undefined, used() {} },
      budgets: { waitMs: () => 0, take() {}, release() {}, chargeBytes() {} },
      destination: { isAvailable: () => true },
    },
    0,
    0,
  )
  if (!(decision instanceof Permit)) throw new TypeError('BUG: the test permit was not granted')
  return decision
}

/** A body all of which is at hand, in the given pieces. */
export function wholeBody(...chunks: Uint8Array[]): MessageBody {
  return {
    lengthBytes: chunks.reduce((sum, chunk) => sum + chunk.length, 0),
    whole: chunks,
    async *stream() {
      yield* chunks
    },
  }
}

/** A body that is still arriving. */
export function streamedBody(
  lengthBytes: number | undefined,
  chunks: () => AsyncIterable<Uint8Array>,
): MessageBody {
  return { lengthBytes, whole: undefined, stream: chunks }
}

/** A parcel of traces in protobuf with a small whole body, unless told otherwise. */
export function parcel(changes: Partial<Parcel> = {}): Parcel {
  return {
    signal: 'traces',
    format: 'protobuf',
    encoding: undefined,
    body: wholeBody(Buffer.from('message')),
    headers: {},
    acceptEncoding: undefined,
    deadlineMs: Number.POSITIVE_INFINITY,
    onGone() {},
    ...changes,
  }
}
