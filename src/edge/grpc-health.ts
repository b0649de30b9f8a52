/**
 * grpc.health.v1 on the public ports, for probes that have no token. It says whether the gateway is
 * ready, for the gateway as a whole and for each OTLP service. grpc/grpc doc/health-checking.md.
 */
import { GRPC_PATHS, SIGNALS } from '../otlp/signal.ts'
import type { Call } from './call.ts'
import { GRPC } from './wire.ts'

const CHECK = '/grpc.health.v1.Health/Check'
const WATCH = '/grpc.health.v1.Health/Watch'
/** A service name is short; more than this is no health check. */
const MAX_REQUEST_BYTES = 256
/** And so is the time that a probe needs to say it. */
const TIMEOUT_MS = 5000
const SERVICES = new Set(['', ...SIGNALS.map((signal) => GRPC_PATHS[signal].split('/')[1] ?? '')])

/** Whether a call is for the health service. */
export function isHealthCheck({ target }: Call): boolean {
  return target === CHECK || target === WATCH
}

/** Answers a health check. `Watch` is not offered: UNIMPLEMENTED tells clients to poll. */
export function answerHealth(call: Call, isReady: () => boolean): void {
  const end = (status: number, message?: Uint8Array) => {
    const trailers = { 'grpc-status': String(status) }
    if (message === undefined) call.answer(200, { 'content-type': 'application/grpc', ...trailers })
    else call.answer(200, { 'content-type': 'application/grpc' }, message, trailers)
  }
  if (call.target === WATCH) {
    end(GRPC.UNIMPLEMENTED)
    return
  }
  const chunks: Uint8Array[] = []
  let bytes = 0
  const timer = setTimeout(() => end(GRPC.DEADLINE_EXCEEDED), TIMEOUT_MS)
  call.body.start({
    chunk: (piece) => {
      bytes += piece.length
      if (bytes <= MAX_REQUEST_BYTES) chunks.push(piece)
      else {
        clearTimeout(timer)
        end(GRPC.RESOURCE_EXHAUSTED)
      }
    },
    end: () => {
      clearTimeout(timer)
      const service = serviceOf(Buffer.concat(chunks))
      if (service === undefined) end(GRPC.INVALID_ARGUMENT)
      else if (!SERVICES.has(service)) end(GRPC.NOT_FOUND)
      // HealthCheckResponse { status = SERVING (1) or NOT_SERVING (2) } behind its five bytes.
      else end(GRPC.OK, Buffer.from([0, 0, 0, 0, 2, 0x08, isReady() ? 1 : 2]))
    },
    failed: () => clearTimeout(timer),
  })
}

/** HealthCheckRequest { string service = 1 } behind its five bytes; undefined where it is none. */
function serviceOf(request: Buffer): string | undefined {
  const message = request.subarray(5)
  if (request.length < 5 || request.readUInt32BE(1) !== message.length) return undefined
  if (message.length === 0) return ''
  const isName = message[0] === 0x0a && message[1] === message.length - 2
  return isName ? message.toString('utf8', 2) : undefined
}
