/**
 * What a secret store holds for the gateway: a token set as JSON, one token in plain, or one token in
 * a field of its own. All become the text of a set, which holds digests only.
 */
import { HOLDER, isRecord } from './token-fields.ts'
import { idOf, tokenFlaw } from './token-list.ts'
import { digestOf } from './token-secret.ts'
import { TokenSetError } from './token-set.ts'

/** The text of a set, ready for `parseTokenSet`, and whether it was one already. */
export interface SetText {
  readonly text: string
  readonly isSet: boolean
}

const MAX_HOLDER_LENGTH = 128

/**
 * Reads `{"tokens": […]}` (also where the list is JSON inside a text, as `vault kv put` makes it of a
 * file), `{"token": "…"}`, or a token alone. A token alone is held by `holder`, and expires at
 * `acceptedUntilMs` where that is given.
 *
 * @throws {TokenSetError} for anything else; a token is never in it.
 */
export function setTextFrom(
  secret: string,
  source: string,
  holder: string,
  acceptedUntilMs?: number,
): SetText {
  const text = secret.replace(/^\ufeff/, '').trim()
  if (text === '') throw new TokenSetError(source, ['is empty; expected a token set or a token'])
  if (!/^[[{"]/.test(text)) return alone(text, source, holder, acceptedUntilMs)
  const document = parsed(text)
  if (!isRecord(document)) return { text, isSet: true }
  const { token, tokens } = document
  if (typeof token === 'string' && tokens === undefined)
    return alone(token.trim(), source, holder, acceptedUntilMs)
  if (typeof tokens === 'string') return { text: nested(tokens), isSet: true }
  if (tokens === undefined) {
    const problem = 'has neither "tokens" nor "token"; expected {"tokens": [...]} or {"token": "…"}'
    throw new TokenSetError(source, [problem])
  }
  return { text, isSet: true }
}

/** A list, or a whole set, inside a text. */
function nested(text: string): string {
  const document = parsed(text)
  return Array.isArray(document) ? JSON.stringify({ tokens: document }) : text
}

function alone(
  token: string,
  source: string,
  holder: string,
  acceptedUntilMs: number | undefined,
): SetText {
  const flaw = tokenFlaw(token)
  if (flaw !== undefined) throw new TokenSetError(source, [flaw])
  const name = HOLDER.read(holder.trim().slice(0, MAX_HOLDER_LENGTH).trim()) ?? 'secret'
  const entry = {
    id: idOf(token, name),
    holder: name,
    sha256: digestOf(token),
    ...(acceptedUntilMs !== undefined && { expiresAt: new Date(acceptedUntilMs).toISOString() }),
  }
  return { text: JSON.stringify({ tokens: [entry] }), isSet: false }
}

/** Undefined for what is no JSON: `parseTokenSet` says where it stops being so. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
