/** What an Authorization header holds. RFC 6750 §2.1, RFC 9110 §11.4. */
import { MAX_TOKEN_LENGTH } from './token-list.ts'

/**
 * `Bearer`, one space or more, a token68. Another scheme is no token at all; what cannot be one of
 * ours is unknown.
 */
export function bearerFrom(
  authorization: string,
): { readonly text: string } | 'token_missing' | 'token_unknown' {
  const scheme = authorization.slice(0, 7).toLowerCase()
  if (scheme !== 'bearer ') return 'token_missing'
  // Header variables often end in a newline or a space that a careless client sends along.
  const text = authorization.slice(7).trim()
  if (text === '') return 'token_missing'
  return text.length <= MAX_TOKEN_LENGTH && /^[A-Za-z0-9._~+/-]+=*$/.test(text)
    ? { text }
    : 'token_unknown'
}
