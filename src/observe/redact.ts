/**
 * A safety net under the log: no line should carry a secret, and if one does all the same, it does
 * not get out. Also keeps other people's strings from forging lines or steering a terminal.
 */

const CREDENTIALS = /\b(Bearer|Basic)\s+[A-Za-z0-9._~+/=-]{8,}/gi
const TOKEN = /tg_[A-Za-z0-9_-]{12,}/g
const CONTROL = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu
const CONTROL_BUT_NEWLINE = /[^\P{Cc}\n]/gu

/** Longest piece of a stranger's string that is logged, in characters. */
const MAX_FOREIGN_CHARS = 200
const MAX_STACK_CHARS = 8_000
const MAX_CAUSES = 5

/** The text without credentials: anything like `Bearer …` or `tg_…`. */
export function redact(text: string): string {
  return text.replace(CREDENTIALS, '$1 [redacted]').replace(TOKEN, 'tg_[redacted]')
}

/** The text on one line, without characters that are not seen. */
export function printable(text: string): string {
  return text.replace(CONTROL, ' ')
}

/** A string that came from outside: at most 200 characters, on one line. */
export function foreign(text: string): string {
  return printable(text.slice(0, MAX_FOREIGN_CHARS))
}

/** An error as the log shows it. */
export interface ErrorFields {
  readonly type: string
  readonly code?: string
  readonly message: string
  /** The stack, and those of the causes below it. */
  readonly stack: string
}

/** The messages of an error and its causes, on one line. */
export function causeWords(thrown: unknown): string {
  const words: string[] = []
  for (const cause of causes(thrown)) {
    const message = cause instanceof Error ? cause.message || cause.name : String(cause)
    if (!words.includes(message)) words.push(message)
  }
  return printable(words.join(': '))
}

/** What is logged of a thrown value: never the properties that libraries hang on errors. */
export function errorFields(thrown: unknown): ErrorFields {
  if (!(thrown instanceof Error)) {
    const message = foreign(String(thrown))
    return { type: typeof thrown, message, stack: message }
  }
  const stacks = causes(thrown).map((cause) =>
    cause instanceof Error ? (cause.stack ?? cause.message) : String(cause),
  )
  const code = 'code' in thrown && typeof thrown.code === 'string' ? thrown.code : undefined
  return {
    type: thrown.name,
    ...(code === undefined ? {} : { code }),
    message: printable(thrown.message),
    stack: stacks.join('\ncaused by: ').slice(0, MAX_STACK_CHARS).replace(CONTROL_BUT_NEWLINE, ' '),
  }
}

function causes(thrown: unknown): unknown[] {
  const chain: unknown[] = []
  let cause = thrown
  while (cause !== undefined && cause !== null && chain.length < MAX_CAUSES) {
    chain.push(cause)
    cause = cause instanceof Error ? cause.cause : undefined
  }
  return chain
}
