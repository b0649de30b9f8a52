/** The header section of a call to the collector, in blocks: what hardly ever changes is encoded once. */
import { encodeField, fieldBlock, type OutgoingFields } from '../http2/field-encoder.ts'
import { GRPC_PATHS, type Signal } from '../otlp/signal.ts'
import type { Parcel } from '../pipeline/parcel.ts'
import { type Address, authorityOf, pathUnder } from './address.ts'

const OWN_AGENT = encodeField('user-agent', 'tollgate')
const ACCEPTS_GZIP = encodeField('grpc-accept-encoding', 'gzip')
/** Timeouts encoded lately: ours is always the same, those of clients are milliseconds apart. */
const MAX_TIMEOUTS = 1000

/** gRPC over HTTP/2, "Requests". `remainingMs` is Infinity where there is no deadline. */
export function requestBlocks(
  { signal, headers, encoding }: Parcel,
  address: Address,
  acceptsGzip: boolean,
  remainingMs: number,
): Buffer[] {
  const blocks = [fieldBlock(fixedFields(address, signal)), fieldBlock(headers)]
  if (headers['user-agent'] === undefined) blocks.push(OWN_AGENT)
  if (encoding !== undefined) blocks.push(encodeField('grpc-encoding', encoding))
  if (acceptsGzip) blocks.push(ACCEPTS_GZIP)
  if (remainingMs !== Number.POSITIVE_INFINITY) blocks.push(timeoutBlock(grpcTimeout(remainingMs)))
  return blocks
}

/** At most eight digits and a unit (PROTOCOL-HTTP2, "Timeout"). Never nothing, which would be an error. */
export function grpcTimeout(ms: number): string {
  const whole = Math.max(1, Math.floor(ms))
  return whole < 1e8 ? `${whole}m` : `${Math.min(Math.floor(whole / 1000), 99_999_999)}S`
}

const timeouts = new Map<string, Buffer>()

function timeoutBlock(timeout: string): Buffer {
  let block = timeouts.get(timeout)
  if (block === undefined) {
    block = encodeField('grpc-timeout', timeout)
    if (timeouts.size >= MAX_TIMEOUTS) timeouts.clear()
    timeouts.set(timeout, block)
  }
  return block
}

const fixed = new WeakMap<Address, Partial<Record<Signal, OutgoingFields>>>()

/** The same object for each request of a signal to an address. */
function fixedFields(address: Address, signal: Signal): OutgoingFields {
  let bySignal = fixed.get(address)
  if (bySignal === undefined) {
    bySignal = {}
    fixed.set(address, bySignal)
  }
  bySignal[signal] ??= {
    ':method': 'POST',
    ':scheme': address.protocol.slice(0, -1),
    ':authority': authorityOf(address),
    ':path': pathUnder(address, GRPC_PATHS[signal]),
    te: 'trailers',
    'content-type': 'application/grpc',
  }
  return bySignal[signal]
}
