/** From a decoded block to the header fields of a request, checked: RFC 9113 section 8.2 and 8.3. */

/** Header fields, pseudo fields included, by lower-case name. */
export type Fields = Readonly<Record<string, string | readonly string[]>>

/** What a request's block comes to. Kept by connections that see the same block again. */
export interface RequestFields {
  readonly fields: Fields
  /** Content-Length; -1 where there is none. */
  readonly contentLength: number
}

const NAME = /^[!#$%&'*+.^_`|~0-9a-z-]+$/
/** Section 8.2.1: no NUL, CR or LF, and no space at either end. */
const BAD_VALUE = /[\0\r\n]|^[ \t]|[ \t]$/
/** Section 8.2.2. */
const CONNECTION_SPECIFIC = new Set([
  'connection',
  'proxy-connection',
  'keep-alive',
  'transfer-encoding',
  'upgrade',
])
const PSEUDO = new Set([':method', ':scheme', ':path', ':authority'])

/** The request's fields, or in a word why the block is malformed. `list` is name, value, name, value … */
export function requestFields(list: readonly string[]): RequestFields | string {
  const fields: Record<string, string | string[]> = Object.create(null)
  let contentLength = -1
  let isPseudoOver = false
  for (let at = 0; at < list.length; at += 2) {
    const name = list[at] as string
    const value = list[at + 1] as string
    if (name.charCodeAt(0) === 0x3a) {
      if (isPseudoOver) return 'a pseudo field behind a field'
      if (!PSEUDO.has(name)) return 'an unknown pseudo field'
      if (fields[name] !== undefined) return 'a pseudo field twice'
    } else {
      isPseudoOver = true
      if (!NAME.test(name)) return 'a field name that is none'
      if (CONNECTION_SPECIFIC.has(name)) return 'a connection-specific field'
      if (name === 'te' && value !== 'trailers') return 'a te field other than trailers'
    }
    if (BAD_VALUE.test(value)) return 'a field value that is none'
    if (name === 'content-length') {
      if (!/^\d{1,15}$/.test(value)) return 'a content-length that is none'
      if (contentLength >= 0 && contentLength !== Number(value)) return 'two content-lengths'
      contentLength = Number(value)
    }
    const before = fields[name]
    if (before === undefined) fields[name] = value
    else if (name === 'cookie') fields[name] = `${before}; ${value}`
    else fields[name] = typeof before === 'string' ? [before, value] : [...before, value]
  }
  const { ':method': method, ':path': path, ':scheme': scheme } = fields
  // Section 8.3.1; CONNECT has neither path nor scheme, and is not served.
  if (method === undefined || scheme === undefined || path === undefined || path === '') {
    return 'a request without method, scheme or path'
  }
  return { fields, contentLength }
}

/** What the block of an answer, or of its trailers, comes to. */
export interface AnswerFields {
  readonly fields: Fields
  /** Undefined in trailers. */
  readonly status: number | undefined
  /** Content-Length; -1 where there is none. */
  readonly contentLength: number
}

/** The fields of an answer or its trailers; in a word why the block is malformed. */
export function answerFields(list: readonly string[]): AnswerFields | string {
  const fields: Record<string, string | string[]> = Object.create(null)
  let status: number | undefined
  let contentLength = -1
  for (let at = 0; at < list.length; at += 2) {
    const name = list[at] as string
    const value = list[at + 1] as string
    if (name === ':status') {
      // Section 8.3.2; 101 does not exist in HTTP/2 (section 8.6).
      if (at > 0) return 'a status that is not the first field, or comes twice'
      if (!/^[1-9]\d\d$/.test(value) || value === '101') return 'a status that is none'
      status = Number(value)
    } else {
      if (!NAME.test(name)) return 'a field name that is none'
      if (CONNECTION_SPECIFIC.has(name)) return 'a connection-specific field'
    }
    if (BAD_VALUE.test(value)) return 'a field value that is none'
    if (name === 'content-length') {
      if (!/^\d{1,15}$/.test(value)) return 'a content-length that is none'
      if (contentLength >= 0 && contentLength !== Number(value)) return 'two content-lengths'
      contentLength = Number(value)
    }
    const before = fields[name]
    if (before === undefined) fields[name] = value
    else fields[name] = typeof before === 'string' ? [before, value] : [...before, value]
  }
  return { fields, status, contentLength }
}

/** Whether the fields of a trailer section are right: no pseudo fields there (section 8.1). */
export function isTrailerList(list: readonly string[]): boolean {
  for (let at = 0; at < list.length; at += 2) {
    const name = list[at] as string
    if (!NAME.test(name) || BAD_VALUE.test(list[at + 1] as string)) return false
  }
  return true
}
