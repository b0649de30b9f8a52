/** One thing that is wrong with the configuration. */
export interface Mistake {
  /** As the operator wrote it: `TOLLGATE_MAX_BODY` or `--max-body`. Empty for a mistake of several options together. */
  readonly option: string
  /** The whole sentence, option and value included; a secret's value is left out. */
  readonly message: string
}

/** The operator's mistakes, all of them at once. Its message has one line a mistake. Exit code 64. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
  readonly mistakes: readonly Mistake[]

  constructor(mistakes: readonly Mistake[]) {
    super(mistakes.map(({ message }) => message).join('\n'))
    this.mistakes = mistakes
  }
}
