/** How a token is written as the value of a variable: alone, or among the headers of an OTLP exporter. */
import { currentValue, isPlainValue, readDotenv, setVariable } from './dotenv.ts'

/** Why a value cannot take the token, in words; never with the value. */
export class ValueProblem extends Error {
  override readonly name = 'ValueProblem'
  readonly advice: string

  constructor(problem: string, advice: string) {
    super(problem)
    this.advice = advice
  }
}

/** A reference that Dokploy resolves itself, such as `${{project.TOKEN}}`. */
const REFERENCE = /\$\{\{/

/** Whether a variable holds headers, as `OTEL_EXPORTER_OTLP_HEADERS` does, and not the token alone. */
export function holdsHeaders(variable: string): boolean {
  return variable.endsWith('_HEADERS')
}

/**
 * The new value of a variable, given the one before. A variable whose name ends in `_HEADERS` is a
 * list of headers as exporters read it (`name=value`, percent-encoded, commas between): its
 * `Authorization` is replaced or added, and the others stay.
 *
 * @throws {ValueProblem} where the token would not come out as it went in.
 */
export function valueWith(token: string, variable: string, before: string | undefined): string {
  if (!isPlainValue(token)) {
    throw new ValueProblem(
      'the token holds characters that an environment file does not keep',
      'rotate to a token made by Tollgate, or one of letters, digits and . _ ~ + / = - alone',
    )
  }
  if (!holdsHeaders(variable)) return before === undefined ? token : notReference(before, token)
  const header = `Authorization=Bearer%20${encodeURIComponent(token)}`
  if (before === undefined || before.trim() === '') return header
  const pairs = before.split(',')
  const own = pairs.findLastIndex((pair) => /^\s*authorization\s*=/i.test(pair))
  if (own === -1) return `${before.replace(/,\s*$/, '')},${header}`
  return pairs.map((pair, index) => (index === own ? notReference(pair, header) : pair)).join(',')
}

/**
 * The new text of a file or an environment, given the one before: with the token in one variable of
 * many, or, without a variable, the token alone.
 *
 * @throws {ValueProblem} also where the token alone would replace a text that holds more than a token.
 */
export function textWith(
  token: string,
  variable: string | undefined,
  text: string | undefined,
): string {
  if (variable !== undefined) {
    let wanted = ''
    const changed = setVariable(text ?? '', variable, (value) => {
      wanted = valueWith(token, variable, value)
      return wanted
    }).text
    if (currentValue(changed, variable) === wanted) return changed
    throw new ValueProblem(
      `the lines around ${variable} are not what an environment file holds`,
      'write every variable as NAME=value on a line of its own',
    )
  }
  const before = (text ?? '').trim()
  if (/\s/.test(before) || /^\w+=./.test(before)) {
    throw new ValueProblem(
      'the file holds more than a token, and all of it would be replaced',
      'name the variable to change behind a # (…#NAME), or another file',
    )
  }
  return `${token}\n`
}

/** Says so where several lines set a variable; empty otherwise. */
export function repeated(text: string | undefined, variable: string): string {
  const count = readDotenv(text ?? '').filter(({ name }) => name === variable).length
  return count < 2 ? '' : `; ${count} lines set it, and the last one counts: remove the others`
}

/** A value that points elsewhere is not to be replaced: whoever reads it there would be cut off. */
function notReference(before: string, value: string): string {
  if (!REFERENCE.test(before)) return value
  throw new ValueProblem(
    'its value is a reference in double braces to something that is kept elsewhere',
    'write a value in its place first, or deliver to where the reference points',
  )
}
