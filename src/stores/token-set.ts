/**
 * Token sets as they are written: JSON with digests (`parseTokenSet`), and the plain list of
 * `TOLLGATE_TOKENS` (`parseTokenList`). All problems are found at once, and none shows a secret.
 */
import { isRecord, shown } from './token-fields.ts'
import { flawPosition } from './token-json.ts'
import { recordFrom, rejectUnknown, type TokenRecord } from './token-record.ts'

/** Most tokens in a set. */
export const MAX_TOKENS = 100_000
/** Largest text of a set, in bytes. */
export const MAX_SET_BYTES = 64 * 2 ** 20
/** A broken set of a hundred thousand tokens must not make a log line of as many. */
const MAX_LISTED = 100

/** A set that passed every check: at least one token, ids and digests unique. */
export interface TokenSet {
  /** Where it came from, for messages. */
  readonly source: string
  readonly records: readonly TokenRecord[]
}

/** A set that cannot be used, with everything that is wrong with it. */
export class TokenSetError extends Error {
  override readonly name = 'TokenSetError'
  readonly source: string
  /** One sentence each, beginning with the place; at most 100, the last then counting the rest. */
  readonly problems: readonly string[]

  constructor(source: string, problems: readonly string[]) {
    const listed = problems.slice(0, MAX_LISTED)
    if (problems.length > MAX_LISTED) listed.push(`and ${problems.length - MAX_LISTED} more`)
    super(
      listed.length === 1
        ? `${source}: ${listed[0]}`
        : `${source}: ${problems.length} problems\n  ${listed.join('\n  ')}`,
    )
    this.source = source
    this.problems = listed
  }
}

/**
 * Reads `{"tokens": [{"id", "holder", "sha256", …}]}`. `source` names the text in messages.
 *
 * @throws {TokenSetError} for anything that is not a usable set: not JSON, unknown fields, values out
 * of bounds, ids or digests that come twice, more than `MAX_TOKENS`. A set without a token is an
 * error too: it never means that everybody may come in.
 */
export function parseTokenSet(text: string, source: string): TokenSet {
  const fail = (problem: string) => new TokenSetError(source, [problem])
  // UTF-8 takes at least a byte a code unit, so this never refuses what fits.
  if (text.length > MAX_SET_BYTES) throw fail(`is larger than ${MAX_SET_BYTES / 2 ** 20} MiB`)
  if (text.trim() === '') throw fail('is empty; expected {"tokens": [...]} with at least one token')
  const document = parseJson(text, fail)
  if (!isRecord(document)) throw fail(`is ${shown(document)}; expected {"tokens": [...]}`)
  const problems: string[] = []
  rejectUnknown(document, new Set(['tokens']), '', problems)
  const { tokens } = document
  if (!Array.isArray(tokens)) {
    const found = tokens === undefined ? 'is missing' : `${shown(tokens)} is not a list`
    throw new TokenSetError(source, [`tokens: ${found}; expected a list of tokens`, ...problems])
  }
  if (tokens.length === 0) problems.push('tokens: is empty; expected at least one token')
  if (tokens.length > MAX_TOKENS)
    throw fail(`tokens: ${tokens.length} of them; expected at most ${MAX_TOKENS}`)
  const records = tokens.map((raw, index) => recordFrom(raw, `tokens[${index}]`, problems))
  findTwins(records, 'id', problems)
  findTwins(records, 'sha256', problems)
  if (problems.length > 0) throw new TokenSetError(source, problems)
  return { source, records }
}

/**
 * Puts several sets together, e.g. `TOLLGATE_TOKENS` and the file. A token that is in more than one
 * is taken from the last of them.
 *
 * @throws {TokenSetError} where one id stands for two different tokens.
 */
export function joinTokenSets(sets: readonly TokenSet[]): TokenSet {
  const source = sets.map((set) => set.source).join(' and ')
  const byDigest = new Map<string, TokenRecord>()
  for (const set of sets) for (const record of set.records) byDigest.set(record.sha256, record)
  const records = [...byDigest.values()]
  const problems: string[] = []
  findTwins(records, 'id', problems)
  if (problems.length > 0) throw new TokenSetError(source, problems)
  return { source, records }
}

function parseJson(text: string, fail: (problem: string) => TokenSetError): unknown {
  try {
    return JSON.parse(text.startsWith('\ufeff') ? text.slice(1) : text)
  } catch {
    const position = flawPosition(text.replace(/^\ufeff/, ''))
    if (position === undefined) throw fail('is not JSON: it ends too early')
    throw fail(`is not JSON: line ${position.line}, column ${position.column}`)
  }
}

function findTwins(
  records: readonly TokenRecord[],
  name: 'id' | 'sha256',
  problems: string[],
): void {
  const seen = new Map<string, number>()
  for (const [index, { [name]: value }] of records.entries()) {
    const twin = seen.get(value)
    if (value === '') continue
    if (twin === undefined) seen.set(value, index)
    else {
      const isCertificate = name === 'sha256' && records[index]?.clientCertificate !== undefined
      const field = isCertificate ? 'clientCertificate' : name
      problems.push(`tokens[${index}].${field}: is the same as in tokens[${twin}]`)
    }
  }
}
