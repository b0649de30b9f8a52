/** What went wrong with Dokploy, in words, before it is known for which place. */
import { blanked, endOfText } from '../blanked.ts'
import { readDotenv } from '../dotenv.ts'
import { SourceFault } from '../source-fault.ts'

export class DokployProblem extends Error {
  override readonly name = 'DokployProblem'
  readonly advice: string
  readonly isTemporary: boolean
  /** The HTTP status that told of it, where one did; 403 for a permission that is missing, though Dokploy says 401 of some. */
  readonly status: number | undefined

  constructor(
    problem: string,
    advice: string,
    options: { isTemporary?: boolean; status?: number; cause?: unknown } = {},
  ) {
    super(problem, { cause: options.cause })
    this.advice = advice
    this.isTemporary = options.isTemporary ?? false
    this.status = options.status
  }
}

/** Runs it, and says of a problem at which place it is; `since`: what has been done by then. */
export async function atPlace<T>(place: string, run: () => Promise<T>): Promise<T> {
  try {
    return await run()
  } catch (error) {
    if (!(error instanceof DokployProblem)) throw error
    const { message, advice, isTemporary } = error
    throw new SourceFault(place, message, advice, { isTemporary, cause: error.cause })
  }
}

/** Runs what comes after the token was written: a problem then leaves it written and not in force. */
export async function afterWriting<T>(run: () => Promise<T>): Promise<T> {
  try {
    return await run()
  } catch (error) {
    if (!(error instanceof DokployProblem)) throw error
    const { message, advice, isTemporary, cause } = error
    throw new DokployProblem(
      `the token is written, but not seen in force: ${message}`,
      `${advice}; delivering again goes on from there`,
      { isTemporary, cause },
    )
  }
}

const MAX_SAID_LETTERS = 300
const MIN_SECRET_LETTERS = 4

/**
 * What Dokploy said of a mistake, without what must not be shown: the key, tokens, the values of the
 * environment, and the parameters of a failed database query, which hold the whole environment.
 */
export function said(message: string, key: string, environments: readonly string[]): string {
  const values = environments
    .flatMap((text) => [text, ...readDotenv(text).map(({ value }) => value)])
    // What is quoted may be a part of it: one line of a certificate, a line that sets no variable.
    .flatMap((text) => [text, ...text.split(/\r?\n/)])
    .filter((value) => value.length >= MIN_SECRET_LETTERS)
    .toSorted((a, b) => b.length - a.length)
  const [shown = ''] = message.split(/failed query|\bparams:/i, 1)
  return endOfText(blanked(shown, key, ...values), MAX_SAID_LETTERS)
}
