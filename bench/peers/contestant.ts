/** What the run needs of a proxy. */
import type { Certificate } from '../certificate.ts'
import type { Running } from '../processes.ts'

/** Where a proxy listens and what is behind it. */
export interface Setting {
  /** A directory of its own, which exists. */
  readonly directory: string
  readonly certificate: Certificate
  /** The token that is let through. */
  readonly token: string
  readonly grpcPort: number
  readonly httpPort: number
  /** For what a proxy needs to listen on besides. */
  readonly sparePort: number
  /** The responder. */
  readonly collectorGrpcPort: number
  readonly collectorHttpPort: number
}

/** A proxy in one configuration. */
export interface Contestant {
  readonly name: string
  /** Whether messages leave as they came; false for one that decodes and encodes them again. */
  readonly isPassThrough: boolean
  /** Version of the program; throws where it is not installed. */
  version(): string
  start(setting: Setting): Promise<Running>
}
