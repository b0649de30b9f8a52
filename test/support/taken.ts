import type { Reached } from './collector-script.ts'

const PREFIX_BYTES = 5

/**
 * The requests of which a collector has a whole message, which it may act on: over gRPC all bytes
 * that the prefix announces, whether the stream was ended or reset; over HTTP the end of the body.
 */
export function taken({ reached }: { readonly reached: readonly Reached[] }): readonly Reached[] {
  return reached.filter(({ protocol, bytes, isComplete }) => {
    if (protocol === 'http') return isComplete
    const received = bytes()
    return (
      received.length >= PREFIX_BYTES && received.length - PREFIX_BYTES >= received.readUInt32BE(1)
    )
  })
}
