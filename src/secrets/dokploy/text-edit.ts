/**
 * Changes a text that Dokploy takes only as a whole and without a version: read, change, write, read
 * again and compare. Two writers at once are noticed where the second wrote after us; where it read
 * before us and writes later, only its own comparison can tell.
 */
import { currentValue } from '../dotenv.ts'
import { textWith, ValueProblem } from '../token-value.ts'
import { DokployProblem } from './problem.ts'

/** The environment of a service, or the content of a file. */
export interface DokployText {
  read(): Promise<string>
  write(text: string): Promise<void>
}

/** What became of it. */
export type TextEdit =
  /** The token was there already. */
  | 'there'
  | 'written'
  /** The token is there, and so is a change that somebody else made at the same moment. */
  | 'written_beside_another'

/** Others that write at the same moment are given way this often. */
const MAX_ATTEMPTS = 3

/** The text with the token in it. @throws {DokployProblem} where it cannot take one. */
export function changedText(token: string, variable: string | undefined, text: string): string {
  try {
    return textWith(token, variable, text)
  } catch (error) {
    if (!(error instanceof ValueProblem)) throw error
    throw new DokployProblem(error.message, error.advice)
  }
}

/** @throws {DokployProblem} where others write again and again. */
export async function putToken(
  text: DokployText,
  token: string,
  variable: string | undefined,
): Promise<TextEdit> {
  for (let attempt = 1; attempt <= MAX_ATTEMPTS; attempt += 1) {
    const before = await text.read()
    const wanted = changedText(token, variable, before)
    if (wanted === before) return attempt === 1 ? 'there' : 'written_beside_another'
    await text.write(wanted)
    const seen = await text.read()
    if (seen === wanted) return 'written'
    if (variable === undefined) continue
    // The other writer began with our text: both changes are there.
    if (currentValue(seen, variable) === currentValue(wanted, variable)) {
      return 'written_beside_another'
    }
  }
  throw new DokployProblem(
    `somebody else has written the same text ${MAX_ATTEMPTS} times at the same moment`,
    'see who else changes it, and deliver again',
    { isTemporary: true },
  )
}
