/** What the run needs of a proxy. */
import type { Certificate } from '../certificate.ts'
import type { Running } from '../processes.ts'

/** Where a proxy listens and what is behind it. */
export interface Setting {
  /** A directory of its own, which exists. */
  readonly directory: string
  readonly certificate: Certificate
  /** The tokens that are let through. */
  readonly tokens: readonly [string, ...string[]]
  readonly grpcPort: number
  readonly httpPort: number
  /** For what a proxy needs to listen on besides. */
  readonly sparePort: number
  /** The responder. */
  readonly collectorGrpcPort: number
  readonly collectorHttpPort: number
}

export type Protocol = 'grpc' | 'http'

/** A proxy in one configuration. */
export interface Contestant {
  readonly name: string
  /** Whether messages leave as they came; false for one that decodes and encodes them again. */
  readonly isPassThrough: boolean
  /** What it takes; both if not said. */
  readonly protocols?: readonly Protocol[]
  /** The share of the requests of a round that it gets, where all would take too long. Default 1. */
  readonly share?: number
  /** Version of the program; throws where it is not installed. */
  version(): string
  start(setting: Setting): Promise<Running>
}
