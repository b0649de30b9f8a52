/** Asks a collector how it feels, as any gRPC client would (grpc.health.v1). */
import { Client, type ClientOptions, credentials, type ServiceError, status } from '@grpc/grpc-js'
import { type Address, authorityOf } from './address.ts'

/** The answer to a health check. */
export interface Health {
  readonly address: string
  /** False only where the collector says so itself, or could not be asked. */
  readonly isServing: boolean
  readonly words: string
}

/** HealthCheckResponse.status, field 1. */
const STATUS_TAG = 0x08
const SERVING = 1

/**
 * One `Check` of the whole server. A collector without the health service (UNIMPLEMENTED) counts as
 * serving, since it answered. Never throws.
 */
export function checkHealth(options: {
  readonly address: Address
  readonly ca: string | undefined
  readonly timeoutMs: number
}): Promise<Health> {
  const { address, ca, timeoutMs } = options
  const target = authorityOf(address)
  const channel =
    address.protocol === 'http:'
      ? credentials.createInsecure()
      : credentials.createSsl(ca === undefined ? null : Buffer.from(ca))
  const clientOptions: ClientOptions = { 'grpc.enable_retries': 0, 'grpc.enable_http_proxy': 0 }
  const client = new Client(target, channel, clientOptions)
  return new Promise((resolve) => {
    const finish = (isServing: boolean, words: string) => {
      client.close()
      resolve({ address: target, isServing, words })
    }
    client.makeUnaryRequest<Buffer, Buffer>(
      '/grpc.health.v1.Health/Check',
      (bytes) => bytes,
      (bytes) => bytes,
      Buffer.alloc(0),
      { deadline: Date.now() + timeoutMs },
      (error: ServiceError | null, answer?: Buffer) => {
        if (error?.code === status.UNIMPLEMENTED) finish(true, 'reachable, has no health service')
        else if (error !== null) finish(false, `no health: ${status[error.code] ?? error.code}`)
        else if (answer?.[0] === STATUS_TAG && answer[1] === SERVING) finish(true, 'serving')
        else finish(false, 'says it is not serving')
      },
    )
  })
}
