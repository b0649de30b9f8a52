import type { Token, TokenProblem } from './ports.ts'

/**
 * A credential that may be good and whose proof takes time to check: neither a token nor a problem
 * yet. Everything about it that costs little has been looked at. `admit` decides whether its sender
 * may have it checked, `Hold` lets the call wait, and then it is admitted or refused like any other.
 */
export class Unverified {
  /** The token it claims to be. Nothing may be granted for it: anybody can claim anything. */
  readonly claimed: Token
  readonly #check: () => Promise<Token | TokenProblem> | undefined

  constructor(claimed: Token, check: () => Promise<Token | TokenProblem> | undefined) {
    this.claimed = claimed
    this.#check = check
  }

  /**
   * Has it checked; calls with the same credential share one check. Undefined where too many are
   * being checked at the moment.
   */
  check(): Promise<Token | TokenProblem> | undefined {
    return this.#check()
  }
}
