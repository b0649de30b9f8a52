/** The smallest way to give tokens: `TOLLGATE_TOKENS=holder=token,holder=token`. */
import { HOLDER } from './token-fields.ts'
import type { TokenRecord } from './token-record.ts'
import { digestOf, idFromToken, looksLikeTollgateToken } from './token-secret.ts'
import { type TokenSet, TokenSetError } from './token-set.ts'

/** Shortest and longest token that is taken. */
export const MIN_TOKEN_LENGTH = 16
export const MAX_TOKEN_LENGTH = 512

/**
 * Reads `holder=token,holder=token`. A holder may come several times: rotation is overlap. Ids are
 * the same at each start: the one inside a token made by Tollgate, else made of holder and digest.
 *
 * @throws {TokenSetError} naming the entries by number; the tokens are never in it.
 */
export function parseTokenList(text: string, source = 'TOLLGATE_TOKENS'): TokenSet {
  const entries = text
    .split(',')
    .map((entry) => entry.trim())
    .filter((entry) => entry !== '')
  const problems: string[] = []
  if (entries.length === 0)
    problems.push('is empty; expected at least one token, as holder=token,holder=token')
  const records: TokenRecord[] = []
  const places = new Map<string, number>()
  for (const [index, entry] of entries.entries()) {
    const place = `entry ${index + 1}`
    const equals = entry.indexOf('=')
    const holder = entry.slice(0, Math.max(equals, 0)).trim()
    const token = entry.slice(equals + 1).trim()
    const flaw = tokenFlaw(token)
    if (equals < 1) problems.push(`${place}: has no holder; expected holder=token`)
    else if (HOLDER.read(holder) === undefined)
      problems.push(`${place}: is not given to a holder; expected ${HOLDER.expected}`)
    else if (flaw !== undefined) problems.push(`${place}: ${flaw}`)
    else {
      const sha256 = digestOf(token)
      const twin = places.get(sha256)
      if (twin !== undefined) problems.push(`${place}: is the same token as entry ${twin}`)
      else records.push({ id: idOf(token, holder), holder, sha256 })
      places.set(sha256, twin ?? index + 1)
    }
  }
  if (problems.length > 0) throw new TokenSetError(source, problems)
  return { source, records }
}

/** What is wrong with a token as text, in words that do not show it; undefined where nothing is. */
export function tokenFlaw(token: string): string | undefined {
  if (/^bearer[ \t]/i.test(token)) return 'begins with the word Bearer; expected the token alone'
  if (token.length < MIN_TOKEN_LENGTH)
    return `the token has ${token.length} characters; expected at least ${MIN_TOKEN_LENGTH}`
  if (token.length > MAX_TOKEN_LENGTH)
    return `the token has ${token.length} characters; expected at most ${MAX_TOKEN_LENGTH}`
  if (!/^[A-Za-z0-9._~+/-]+=*$/.test(token))
    return 'the token has a character that cannot travel in a header; expected only A-Z a-z 0-9 . _ ~ + / - and = at the end'
  if (looksLikeTollgateToken(token) && idFromToken(token) === undefined)
    return 'the token was mistyped: its last characters do not fit the others'
  return undefined
}

/** A public name for a token that came from elsewhere: holder and eight digits of the digest. */
export function idOf(token: string, holder: string): string {
  const name = holder
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+|-+$/g, '')
    .slice(0, 40)
  return idFromToken(token) ?? `${name || 'token'}-${digestOf(token).slice(0, 8)}`
}
