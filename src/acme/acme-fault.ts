/** What goes wrong with a certificate authority, in words for the operator. */

/** Whose fault it was, which decides how long to wait before the next attempt. */
export type AcmeFaultKind =
  /** The directory cannot be reached, or answers with an error of its own. */
  | 'away'
  /** It could not see the challenge: our name, our port, a firewall. */
  | 'validation'
  /** It asks for patience. */
  | 'rate_limited'
  /** It refuses what was asked, and will again until somebody changes something. */
  | 'refused'
  /** Something on this machine: a port that is taken, a directory that cannot be written. */
  | 'local'

/** A problem document (RFC 7807 as RFC 8555 §6.7 uses it). */
export interface Problem {
  /** Such as `urn:ietf:params:acme:error:dns`; empty where there was none. */
  readonly type: string
  readonly detail: string
}

/** An attempt that failed. The message names what was asked and what was answered; it holds no secret. */
export class AcmeFault extends Error {
  override readonly name = 'AcmeFault'
  readonly kind: AcmeFaultKind
  /** The error type of the problem document without its prefix: `badNonce`, `dns`; empty for none. */
  readonly type: string
  /** Not to be tried again earlier than this, Unix milliseconds; undefined where nothing was said. */
  readonly retryAtMs: number | undefined

  constructor(
    kind: AcmeFaultKind,
    message: string,
    options: { type?: string; retryAtMs?: number | undefined; cause?: unknown } = {},
  ) {
    super(message, { cause: options.cause })
    this.kind = kind
    this.type = options.type ?? ''
    this.retryAtMs = options.retryAtMs
  }
}

const PREFIX = 'urn:ietf:params:acme:error:'
const MAX_DETAIL = 500

/** `dns` for `urn:ietf:params:acme:error:dns`. */
export function shortType(type: string): string {
  return type.startsWith(PREFIX) ? type.slice(PREFIX.length) : type
}

/** Reads a problem document; anything else gives an empty one. */
export function problemFrom(body: unknown): Problem {
  if (typeof body !== 'object' || body === null) return { type: '', detail: '' }
  const { type, detail } = body as Record<string, unknown>
  const own = oneLine(detail)
  const { subproblems } = body as { subproblems?: unknown }
  const further = Array.isArray(subproblems) ? subproblems.slice(0, 5).map(subproblemWords) : []
  return {
    type: typeof type === 'string' ? type.slice(0, 200) : '',
    detail: [own, ...further]
      .filter((words) => words !== '')
      .join('; ')
      .slice(0, MAX_DETAIL),
  }
}

/** A problem as people read it: `dns (no such name)`. */
export function problemWords({ type, detail }: Problem): string {
  const short = shortType(type)
  if (short === '') return detail === '' ? 'without saying why' : `(${detail})`
  return detail === '' ? short : `${short} (${detail})`
}

function subproblemWords(subproblem: unknown): string {
  if (typeof subproblem !== 'object' || subproblem === null) return ''
  const { type, detail, identifier } = subproblem as Record<string, unknown>
  const { value } = (identifier ?? {}) as { value?: unknown }
  const name = typeof value === 'string' ? `${value.slice(0, 253)}: ` : ''
  return `${name}${shortType(String(type ?? '')).slice(0, 100)} ${oneLine(detail)}`.trim()
}

/** What a stranger's server says goes into one line of a log. */
function oneLine(text: unknown): string {
  return typeof text === 'string' ? text.replaceAll(/\s+/g, ' ').trim().slice(0, MAX_DETAIL) : ''
}
