/** A stream as far as the connection has to know it. */
export interface FlowStream {
  readonly id: number
  sendWindow: number
  /** Tries to send what waits for window or socket. */
  pump(): void
}
