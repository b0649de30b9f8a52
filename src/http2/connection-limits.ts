/** What a connection takes of its peer. */
export interface ConnectionLimits {
  readonly maxListBytes: number
  readonly maxFields: number
  /** What the peer may have on its way to us, on the whole connection. */
  readonly windowBytes: number
  /** The same for a stream (SETTINGS_INITIAL_WINDOW_SIZE). */
  readonly streamWindowBytes: number
}
