/** What a value was expected to be. Returned by a parser instead of a value, never thrown. */
export class Expected {
  /** Completes the sentence "expected …". Never quotes the value. */
  readonly what: string
  /** Set where the value itself may hold a credential and must not be shown. */
  readonly hidesValue: boolean

  constructor(what: string, { hidesValue = false }: { hidesValue?: boolean } = {}) {
    this.what = what
    this.hidesValue = hidesValue
  }
}

/** What a parser may know besides the text. */
export interface Surroundings {
  /** Relative paths start here. */
  readonly cwd: string
}

/** A kind of value: how it is written, and how its text is read. */
export interface Kind<T> {
  /** The form, as the documentation shows it: `duration`, `on | off`. */
  readonly form: string
  parse(text: string, surroundings: Surroundings): T | Expected
}

/** The same kind with the word `off`, which reads as `value`. */
export function orOff<T, O = undefined>(kind: Kind<T>, value?: O): Kind<T | O> {
  return {
    form: `${kind.form} | off`,
    parse(text, surroundings) {
      if (text === 'off') return value as O
      const parsed = kind.parse(text, surroundings)
      return parsed instanceof Expected
        ? new Expected(`${parsed.what}, or off`, { hidesValue: parsed.hidesValue })
        : parsed
    },
  }
}

/** Values separated by commas; spaces around them do not count, and neither do empty ones. */
export function listOf<T>(kind: Kind<T>): Kind<readonly T[]> {
  return {
    form: `${kind.form}, …`,
    parse(text, surroundings) {
      const values: T[] = []
      for (const item of text.split(',')) {
        const trimmed = item.trim()
        if (trimmed === '') continue
        const parsed = kind.parse(trimmed, surroundings)
        if (parsed instanceof Expected) {
          const { what, hidesValue } = parsed
          const isAlone = hidesValue || trimmed === text.trim()
          return new Expected(isAlone ? what : `${what}, found ${JSON.stringify(trimmed)}`, {
            hidesValue,
          })
        }
        values.push(parsed)
      }
      return Object.freeze(values)
    },
  }
}
