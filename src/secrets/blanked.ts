/** Makes what another program or server said fit for a message: one line, short, and without tokens. */

/** What a token of ours looks like, whoever else's it may be. */
const ANY_TOKEN = /tg_[A-Za-z0-9_-]{8,}/g
const BLANK = '[token]'
/** Less is too likely to be something else. */
const MIN_BASE64_LETTERS = 8

/**
 * Replaces every one of these secrets, plain, percent-encoded or in base64, and whatever looks like
 * a token; then control characters and line ends become blanks.
 */
export function blanked(text: string, ...secrets: readonly string[]): string {
  let clean = text
  for (const secret of secrets) {
    for (const form of [secret, encodeURIComponent(secret)]) {
      if (form !== '') clean = clean.replaceAll(form, BLANK)
    }
    // The last letters of base64 depend on what follows, often a line end.
    const base64 = Buffer.from(secret)
      .toString('base64')
      .slice(0, Math.floor(secret.length / 3) * 4)
    if (base64.length < MIN_BASE64_LETTERS) continue
    const rest = /[A-Za-z0-9+/=_-]*/y
    for (let at = clean.indexOf(base64); at !== -1; at = clean.indexOf(base64, at + BLANK.length)) {
      rest.lastIndex = at
      rest.test(clean)
      clean = clean.slice(0, at) + BLANK + clean.slice(rest.lastIndex)
    }
  }
  return clean
    .replace(ANY_TOKEN, BLANK)
    .replace(/[\p{Cc}\p{Cf}\s]+/gu, ' ')
    .trim()
}

/** The end of a text, where programs say why they failed; at most so many letters of it. */
export function endOfText(text: string, letters: number): string {
  return text.length <= letters ? text : `…${text.slice(-letters)}`
}
