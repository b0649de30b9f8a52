/**
 * Changes one variable of a dotenv text and keeps every other byte: comments, order, quotes, line
 * ends. Read as the dotenv package of Node reads it, which Docker, systemd and shells agree with for
 * plain values: `export` in front, quoted values over several lines, the last of two wins.
 */

/** One variable of a text; positions are those of its value without quotes. */
export interface DotenvEntry {
  readonly name: string
  readonly value: string
  readonly start: number
  readonly end: number
  /** The quote around the value; empty where there is none. */
  readonly quote: '' | '"' | "'" | '`'
}

/** What became of a text. */
export interface DotenvChange {
  readonly text: string
  /** How many lines set the variable before. The last one counts, and was changed. */
  readonly count: number
}

const NAME = /^[A-Za-z_][A-Za-z0-9_]*$/
/** Up to the sign in front of a value; a colon needs a blank or a line end behind it, which is part of it. */
const HEAD = /\s*(?:export\s+)?([\w.-]+)(?:\s*=|:(?:\r\n|\s))/y
const BLANKS = /[^\S\r\n]*/y
const SPACE = /\s*/y
/** What may stand behind a quoted value. */
const TAIL = /[^\S\r\n]*(?:#[^\r\n]*)?(?:\r\n|[\r\n]|$)/y
const LINE = /[^\r\n]*(?:\r\n|[\r\n]|$)/y

/** Whether a variable may have this name: letters, digits and `_`, no digit first. */
export function isVariableName(name: string): boolean {
  return NAME.test(name)
}

/** Every variable of a text, in order. Lines that set none are passed over. */
export function readDotenv(text: string): DotenvEntry[] {
  const entries: DotenvEntry[] = []
  let at = 0
  while (at < text.length) {
    const entry = entryAt(text, at)
    if (entry !== undefined) entries.push(entry)
    at = Math.max(
      at + 1,
      ended(LINE, text, entry === undefined ? at : entry.end + entry.quote.length),
    )
  }
  return entries
}

/** The value that counts: that of the last line that sets the variable. */
export function currentValue(text: string, name: string): string | undefined {
  return readDotenv(text).findLast((entry) => entry.name === name)?.value
}

/**
 * Sets a variable: in its last line, between the quotes that are there, or in a new line at the end.
 * `change` is given the value from before (undefined: none) and makes a new one, which holds nothing
 * that dotenv takes for more than a letter: see `isPlainValue`.
 */
export function setVariable(
  text: string,
  name: string,
  change: (value: string | undefined) => string,
): DotenvChange {
  const lines = readDotenv(text).filter((entry) => entry.name === name)
  const last = lines.at(-1)
  if (last !== undefined) {
    const value = change(last.value)
    return {
      text: text.slice(0, last.start) + value + text.slice(last.end),
      count: lines.length,
    }
  }
  const eol = text.includes('\r\n') ? '\r\n' : '\n'
  const gap = text === '' || /[\r\n]$/.test(text) ? '' : eol
  return { text: `${text}${gap}${name}=${change(undefined)}${eol}`, count: 0 }
}

/** Whether a value means itself without quotes: no blank, `#`, quote, `$`, backslash or control character. */
export function isPlainValue(value: string): boolean {
  return /^[A-Za-z0-9._~+/=%,:@-]*$/.test(value)
}

function entryAt(text: string, at: number): DotenvEntry | undefined {
  HEAD.lastIndex = at
  const name = HEAD.exec(text)?.[1]
  if (name === undefined) return undefined
  const sign = HEAD.lastIndex
  const open = ended(SPACE, text, sign)
  const quote = text[open]
  if (quote === '"' || quote === "'" || quote === '`') {
    const end = closingQuote(text, open + 1, quote)
    if (end !== undefined) {
      return { name, value: text.slice(open + 1, end), start: open + 1, end, quote }
    }
  }
  // A comment needs a blank before it here. Where one is missing, readers differ over what is value
  // and what is comment, and a new value must not end up with the rest of the old one behind it.
  const start = ended(BLANKS, text, sign)
  const rest = /^[^\r\n]*/.exec(text.slice(start))?.[0] ?? ''
  if (rest.startsWith('#') && /\s/.test(text[start - 1] ?? '')) {
    return { name, value: '', start: sign, end: sign, quote: '' }
  }
  const comment = rest.search(/\s#/)
  const value = (comment === -1 ? rest : rest.slice(0, comment)).trimEnd()
  return { name, value, start, end: start + value.length, quote: '' }
}

/**
 * Where a quoted value ends; undefined where it does not. A quote behind a backslash is part of it,
 * unless it would not end otherwise.
 */
function closingQuote(text: string, from: number, quote: string): number | undefined {
  const candidates: number[] = []
  for (let end = text.indexOf(quote, from); end !== -1; end = text.indexOf(quote, end + 1)) {
    candidates.push(end)
    if (text[end - 1] !== '\\' || end === from) break
  }
  return candidates.findLast((end) => {
    TAIL.lastIndex = end + 1
    return TAIL.test(text)
  })
}

function ended(pattern: RegExp, text: string, at: number): number {
  pattern.lastIndex = at
  pattern.test(text)
  return pattern.lastIndex
}
