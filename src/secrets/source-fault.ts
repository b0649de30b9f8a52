/** What went wrong with a place that holds tokens: one sentence that says what to do about it. */
export class SourceFault extends Error {
  override readonly name = 'SourceFault'
  /** The place, as the operator wrote it. */
  readonly place: string
  /** Whether it may pass by itself: the place is away, sealed, too busy. */
  readonly isTemporary: boolean

  /**
   * `problem`: what happened, with the status it answered; `advice`: what to do. Neither holds a
   * secret, nor what the place answered beyond its error message.
   */
  constructor(
    place: string,
    problem: string,
    advice: string,
    options: { readonly isTemporary: boolean; readonly cause?: unknown },
  ) {
    super(`${place}: ${problem}; ${advice}`, { cause: options.cause })
    this.place = place
    this.isTemporary = options.isTemporary
  }
}
