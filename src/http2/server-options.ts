import type { ConnectionLimits } from './connection-limits.ts'
import type { ServerConnection } from './server-connection.ts'
import type { ServerStream } from './server-stream.ts'

/** What a server's end of a connection is told, and whom it tells. */
export interface ServerOptions extends ConnectionLimits {
  readonly maxStreams: number
  /** From the start to the client's SETTINGS and its ACK of ours; for each frame and header block too. */
  readonly headerTimeoutMs: number
  readonly idleTimeoutMs: number
  /** How long an answer may wait for a client that takes next to nothing of it. */
  readonly sendTimeoutMs: number
  onRequest(stream: ServerStream): void
  onShut(connection: ServerConnection): void
  onMisuse(reason: string): void
  /** So many bytes of bodies began to wait in the connection, for us or for the client. */
  readonly onHold?: ((bytes: number) => void) | undefined
  /** So many of them wait no longer. */
  readonly onLetGo?: ((bytes: number) => void) | undefined
}
