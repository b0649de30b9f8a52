/**
 * Where a text stops being JSON (RFC 8259). V8's own message has no position for the commonest
 * mistakes, and quotes the text around them, where a token may stand.
 */

const SPACE = /[ \t\n\r]*/y
// biome-ignore lint/suspicious/noControlCharactersInRegex: JSON strings hold no control characters
const STRING = /"[^"\\\u0000-\u001f]*(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\u0000-\u001f]*)*"/y
const SCALAR = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null/y

/** What may come next. */
type Expected =
  | 'value'
  /** After `[`. */
  | 'value or ]'
  /** After a comma in an object. */
  | 'key'
  /** After `{`. */
  | 'key or }'
  /** After a value. */
  | 'comma or close'

/**
 * Line and column (from 1) of the first thing that cannot stand where it stands; undefined for JSON
 * that is right as far as it goes but ends too early.
 */
export function flawPosition(text: string): { line: number; column: number } | undefined {
  const at = flawOffset(text)
  if (at >= text.trimEnd().length) return undefined
  const before = text.slice(0, at).split('\n')
  return { line: before.length, column: (before.at(-1) ?? '').length + 1 }
}

function flawOffset(text: string): number {
  const open: ('[' | '{')[] = []
  let expected: Expected = 'value'
  let at = 0
  const eat = (pattern: RegExp): boolean => {
    pattern.lastIndex = at
    if (!pattern.test(text)) return false
    at = pattern.lastIndex
    return true
  }
  for (;;) {
    eat(SPACE)
    const char = text.charAt(at)
    const isClosing =
      (char === ']' &&
        open.at(-1) === '[' &&
        (expected === 'value or ]' || expected === 'comma or close')) ||
      (char === '}' &&
        open.at(-1) === '{' &&
        (expected === 'key or }' || expected === 'comma or close'))
    if (isClosing) {
      at += 1
      open.pop()
      expected = 'comma or close'
    } else if (expected === 'comma or close') {
      if (char !== ',' || open.length === 0) return at
      at += 1
      expected = open.at(-1) === '{' ? 'key' : 'value'
    } else if (expected === 'key' || expected === 'key or }') {
      if (!eat(STRING)) return at
      eat(SPACE)
      if (text.charAt(at) !== ':') return at
      at += 1
      expected = 'value'
    } else if (char === '[' || char === '{') {
      at += 1
      open.push(char)
      expected = char === '[' ? 'value or ]' : 'key or }'
    } else {
      if (!eat(STRING) && !eat(SCALAR)) return at
      expected = 'comma or close'
    }
  }
}
