/** Types of `otlp-token.mjs`. */
import type { ChannelCredentials } from '@grpc/grpc-js'

export declare class TokenFile {
  constructor(path: string)
  get token(): string
  headers: () => Promise<Record<string, string>>
  credentials(grpc: typeof import('@grpc/grpc-js'), ca?: string): ChannelCredentials
  again<T>(exporter: T): T
}
