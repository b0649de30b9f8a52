/** From the options of `tollgate token create` to the entry in the token file. */
import { DATE } from '../stores/token-fields.ts'
import { parseTokenSet, TokenSetError } from '../stores/token-set.ts'

/** A mistake on the command line. */
export class UsageError extends Error {}

/** One token as it is written in the file. */
export interface TokenEntry {
  id: string
  holder: string
  sha256: string
  createdAt?: string
  notBefore?: string
  expiresAt?: string
  retiringAt?: string
  revokedAt?: string
  replacedBy?: string
  scopes?: string[]
  allowFrom?: string[]
  limits?: Record<string, string | number>
  labels?: Record<string, string>
}

/** The options, as the command line gives them. */
export interface EntryOptions {
  readonly holder?: string | undefined
  readonly 'expires-in'?: string | undefined
  readonly 'expires-at'?: string | undefined
  readonly 'not-before'?: string | undefined
  readonly scopes?: string | undefined
  readonly 'allow-from'?: string | undefined
  readonly rate?: string | undefined
  readonly burst?: string | undefined
  readonly bytes?: string | undefined
  readonly 'in-flight'?: string | undefined
  readonly label?: readonly string[] | undefined
}

const UNIT_MS = { s: 1e3, m: 60e3, h: 3600e3, d: 86400e3, w: 7 * 86400e3 } as const
const MAX_EXPIRES_MS = 100 * 366 * UNIT_MS.d

const OPTION_OF_FIELD: readonly (readonly [RegExp, string])[] = [
  [/^\.holder/, '--holder'],
  [/^\.expiresAt/, '--expires-at'],
  [/^\.notBefore/, '--not-before'],
  [/^\.scopes/, '--scopes'],
  [/^\.allowFrom(\[\d+\])?/, '--allow-from'],
  [/^\.limits\.rate/, '--rate'],
  [/^\.limits\.burst/, '--burst'],
  [/^\.limits\.bytes/, '--bytes'],
  [/^\.limits\.inFlight/, '--in-flight'],
  [/^\.labels/, '--label'],
]

/**
 * The entry for a new token. Checked by the same rules as the file.
 *
 * @throws {UsageError} with every mistake, each under the option's name.
 */
export function entryFrom(
  options: EntryOptions,
  { id, sha256 }: { readonly id: string; readonly sha256: string },
  nowMs: number,
): TokenEntry {
  const { holder, rate, burst, bytes, label } = options
  if (holder === undefined) throw new UsageError('--holder is missing; expected who gets the token')
  const entry: TokenEntry = { id, holder, sha256, createdAt: new Date(nowMs).toISOString() }
  if (options['not-before'] !== undefined) entry.notBefore = options['not-before']
  const expiresAt = expiryFrom(options, nowMs)
  if (expiresAt !== undefined) entry.expiresAt = expiresAt
  if (options.scopes !== undefined) entry.scopes = listFrom(options.scopes)
  if (options['allow-from'] !== undefined) entry.allowFrom = listFrom(options['allow-from'])
  const limits = {
    ...(rate !== undefined && { rate }),
    ...(burst !== undefined && { burst: numberFrom(burst) }),
    ...(bytes !== undefined && { bytes }),
    ...(options['in-flight'] !== undefined && { inFlight: numberFrom(options['in-flight']) }),
  }
  if (Object.keys(limits).length > 0) entry.limits = limits
  if (label !== undefined) entry.labels = Object.fromEntries(label.map(labelFrom))
  try {
    parseTokenSet(JSON.stringify({ tokens: [entry] }), 'options')
  } catch (error) {
    if (!(error instanceof TokenSetError)) throw error
    throw new UsageError(error.problems.map(underOption).join('\n'))
  }
  return entry
}

function expiryFrom(options: EntryOptions, nowMs: number): string | undefined {
  const { 'expires-in': expiresIn, 'expires-at': expiresAt } = options
  if (expiresIn === undefined) {
    if ((DATE.read(expiresAt) ?? Number.POSITIVE_INFINITY) <= nowMs)
      throw new UsageError(`--expires-at: "${expiresAt}" is in the past`)
    return expiresAt
  }
  if (expiresAt !== undefined)
    throw new UsageError('--expires-in and --expires-at exclude each other')
  const match = /^(\d{1,6})([smhdw])$/.exec(expiresIn)
  const lengthMs = Number(match?.[1]) * UNIT_MS[(match?.[2] ?? 's') as keyof typeof UNIT_MS]
  if (!(lengthMs > 0 && lengthMs <= MAX_EXPIRES_MS))
    throw new UsageError(
      `--expires-in: "${expiresIn}" is not a time; expected e.g. 12h, 90d or 52w, at most 100 years`,
    )
  const fromMs = Math.max(nowMs, DATE.read(options['not-before']) ?? nowMs)
  return new Date(fromMs + lengthMs).toISOString()
}

function labelFrom(text: string): [string, string] {
  const equals = text.indexOf('=')
  if (equals < 1) throw new UsageError('--label: expected name=value, e.g. --label team=web')
  return [text.slice(0, equals), text.slice(equals + 1)]
}

function listFrom(text: string): string[] {
  return text
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '')
}

/** A text that is no number stays one, for the message that says so. */
function numberFrom(text: string): number | string {
  return /^\d{1,12}$/.test(text) ? Number(text) : text
}

function underOption(problem: string): string {
  const field = problem.replace(/^tokens\[0\]/, '')
  for (const [pattern, option] of OPTION_OF_FIELD)
    if (pattern.test(field)) return field.replace(pattern, option)
  return problem
}
