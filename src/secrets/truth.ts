/** What a place that token sets come from offers. Texts are sets as JSON; what they mean is not known here. */

/** A set as it was read. */
export interface Version {
  /** Undefined where there is nothing yet. */
  readonly text: string | undefined
  /** What tells this reading from the next one: a version number, a digest. */
  readonly version: string
  /**
   * Set for what its successor has replaced, as Unix milliseconds: no token in it is accepted from
   * then on, whatever it says of itself.
   */
  readonly acceptedUntilMs?: number
}

/** A place that can be read again and again. */
export interface Source {
  /** The place, as the operator wrote it. */
  readonly place: string
  /**
   * Reads all of it, what counts first ahead of the rest. `signal` ends a read that takes too long.
   * @throws {SourceFault} or {FileFault}, in words.
   */
  read(signal?: AbortSignal): Promise<readonly Version[]>
  /** Gives back what it holds: leases, sockets. */
  close(): Promise<void>
}

/** The source of truth: a source that is written, too, and only where nobody wrote in between. */
export interface Truth {
  readonly place: string
  /** @throws {SourceFault} or {FileFault}, in words. */
  readCurrent(): Promise<Version>
  /**
   * Replaces what was read at `version`. Resolves with false, and changes nothing, where somebody has
   * written in between. @throws {SourceFault} or {FileFault}, in words.
   */
  write(text: string, version: string): Promise<boolean>
  close(): Promise<void>
}
