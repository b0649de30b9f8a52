/** How a certificate authority is shown that a name is ours. */

/** The challenges that are spoken. DNS-01 is not: it needs the keys of a DNS provider. */
export type ChallengeType = 'http-01' | 'tls-alpn-01'

/** What shows one challenge of one name to whoever asks. */
export interface Challenge {
  readonly name: string
  /** Letters, digits, `-` and `_`. */
  readonly token: string
  readonly keyAuthorization: string
}

/** Answers challenges of one kind, while an order is under way and no longer. */
export interface Challenger {
  readonly type: ChallengeType
  /** Begins to answer. @throws {AcmeFault} `local` where a port cannot be opened. */
  show(challenges: readonly Challenge[]): Promise<void>
  /** Answers nothing any more. */
  withdraw(): Promise<void>
  /** What has to be so outside for this to work, for the words of a failure. */
  expectation(name: string): string
}
