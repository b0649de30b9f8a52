/** What a place that agents take their token from offers. */

/** A token on its way to its agent. */
export interface TokenInPlain {
  /** Its public name. */
  readonly id: string
  readonly holder: string
  /** What the agent sends after `Bearer `. Never in a message. */
  readonly token: string
}

export interface Delivery {
  /** The place, as the operator wrote it. */
  readonly place: string
  /**
   * Looks whether the token could be put there, and changes nothing. Resolves with one sentence that
   * says what `deliver` would do. @throws {SourceFault} or {FileFault}, in words.
   */
  check(): Promise<string>
  /**
   * Puts the token there in place of the one before. Doing so twice is as good as once. Resolves when
   * agents can have it, with one sentence that says what was done and what the operator has to do yet.
   * @throws {SourceFault} or {FileFault}, in words.
   */
  deliver(token: TokenInPlain): Promise<string>
  close(): Promise<void>
}
