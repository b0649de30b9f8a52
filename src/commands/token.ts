/** `tollgate token create|import|list|revoke`: edits the token file that the gateway watches. */
import { join } from 'node:path'
import { type ParseArgsConfig, parseArgs } from 'node:util'
import { editFile, readTextFile } from '../secrets/file-edit.ts'
import { FileFault } from '../secrets/file-fault.ts'
import { idOf, MAX_TOKEN_LENGTH, tokenFlaw } from '../stores/token-list.ts'
import type { TokenRecord } from '../stores/token-record.ts'
import {
  createToken,
  digestOf,
  looksLikeTollgateToken,
  withoutTokens,
} from '../stores/token-secret.ts'
import { parseTokenSet, type TokenSet, TokenSetError } from '../stores/token-set.ts'
import { isAccepted, stateOf } from '../stores/token-state.ts'
import type { CommandIo } from './io.ts'
import { addEntry, DataError, documentFrom, noFile, textOf } from './token-document.ts'
import { entryFrom, type TokenEntry, UsageError } from './token-entry.ts'
import { TOKEN_HELP } from './token-help.ts'

/** Exit codes, as in sysexits(3). */
const OK = 0
const USAGE = 64
const DATA = 65
const NO_INPUT = 66
const CANNOT_CREATE = 73
const IO_ERROR = 74
const TRY_AGAIN = 75
const NO_PERMISSION = 77

/** Where the gateway keeps its own token file when none is configured. */
const DEFAULT_NAME = 'tokens.json'
const STRING = { type: 'string' } as const
const COMMON = { file: STRING, json: { type: 'boolean' } } as const
const ENTRY = {
  ...COMMON,
  holder: STRING,
  'expires-in': STRING,
  'expires-at': STRING,
  'not-before': STRING,
  scopes: STRING,
  'allow-from': STRING,
  rate: STRING,
  burst: STRING,
  bytes: STRING,
  'in-flight': STRING,
  label: { type: 'string', multiple: true },
} as const

/**
 * Runs `tollgate token …`; `argv` is what follows `token`. Resolves with the exit code: 0; 64 for
 * a wrong command line; 65 for a file or an input that is not right; 66 for a file that cannot be
 * read; 73, 74, 75, 77 for one that cannot be written. Never throws for any of these.
 */
export async function runTokenCommand(argv: readonly string[], io: CommandIo): Promise<number> {
  const [verb, ...rest] = argv
  if (verb === undefined || verb === 'help' || argv.includes('--help') || argv.includes('-h')) {
    const to = verb === undefined ? io.stderr : io.stdout
    to.write(TOKEN_HELP)
    return verb === undefined ? USAGE : OK
  }
  try {
    if (verb === 'create') return await create(rest, io)
    if (verb === 'import') return await importToken(rest, io)
    if (verb === 'list') return await list(rest, io)
    if (verb === 'revoke') return await revoke(rest, io)
    throw new UsageError(`unknown command "${verb}"; expected create, import, list or revoke`)
  } catch (error) {
    const code = exitCodeOf(error)
    if (code === undefined || !(error instanceof Error)) throw error
    io.stderr.write(`tollgate token: ${withoutTokens(error.message)}\n`)
    if (code === USAGE) io.stderr.write('Try: tollgate token --help\n')
    return code
  }
}

async function create(args: readonly string[], io: CommandIo): Promise<number> {
  const { values } = parse(args, ENTRY, 0)
  const nowMs = Date.now()
  const { id, token } = createToken()
  const entry = entryFrom(values, { id, sha256: digestOf(token) }, nowMs)
  const file = fileFrom(values.file, io)
  await addEntry(file, entry)
  if (values.json) {
    const { sha256: _, ...shown } = entry
    io.stdout.write(`${JSON.stringify({ ...shown, token, file })}\n`)
    return OK
  }
  io.stderr.write(
    `${added(entry, file)}This is the only time the token is shown. Give it to the agent as\n` +
      `  OTEL_EXPORTER_OTLP_HEADERS=Authorization=Bearer%20<token>\n`,
  )
  io.stdout.write(`${token}\n`)
  return OK
}

async function importToken(args: readonly string[], io: CommandIo): Promise<number> {
  const { values } = parse(args, ENTRY, 0)
  // Mistakes on the command line are told before anybody types a token.
  entryFrom(values, { id: 'id', sha256: digestOf('') }, Date.now())
  const token = await readToken(io)
  const flaw = tokenFlaw(token)
  if (flaw !== undefined) throw new DataError(`standard input: ${flaw}`)
  const id = idOf(token, values.holder ?? '')
  const entry = entryFrom(values, { id, sha256: digestOf(token) }, Date.now())
  const file = fileFrom(values.file, io)
  await addEntry(file, entry)
  if (values.json) {
    const { sha256: _, ...shown } = entry
    io.stdout.write(`${JSON.stringify({ ...shown, file })}\n`)
  } else io.stderr.write(added(entry, file))
  return OK
}

async function list(args: readonly string[], io: CommandIo): Promise<number> {
  const { values } = parse(args, COMMON, 0)
  const file = fileFrom(values.file, io)
  const text = await readTextFile(file)
  if (text === undefined) throw noFile(file)
  const { records } = parseTokenSet(text, file)
  const nowMs = Date.now()
  if (values.json) {
    const entries = documentFrom(text, file).tokens
    const shown = entries.map(({ sha256: _, ...entry }, index) => {
      const record = records[index]
      return { ...entry, state: record && stateOf(record, nowMs) }
    })
    io.stdout.write(`${JSON.stringify({ tokens: shown }, null, 2)}\n`)
    return OK
  }
  const rows = records.map((record) => [
    record.id,
    record.holder,
    stateOf(record, nowMs).replaceAll('_', ' '),
    record.expiresAtMs === undefined ? 'never' : new Date(record.expiresAtMs).toISOString(),
    record.scopes === undefined ? 'all' : [...record.scopes].join(','),
  ])
  io.stdout.write(table([['ID', 'HOLDER', 'STATE', 'EXPIRES', 'SIGNALS'], ...rows]))
  return OK
}

async function revoke(args: readonly string[], io: CommandIo): Promise<number> {
  const { values, positionals } = parse(args, COMMON, 1)
  const [id] = positionals
  if (id === undefined) throw new UsageError('expected the ID of a token; see tollgate token list')
  if (looksLikeTollgateToken(id))
    throw new UsageError(
      'expected the ID of a token and not the token itself; see tollgate token list',
    )
  const file = fileFrom(values.file, io)
  const nowMs = Date.now()
  let before: string | undefined
  let after: TokenSet | undefined
  await editFile(file, (text) => {
    if (text === undefined) throw noFile(file)
    parseTokenSet(text, file)
    const { tokens } = documentFrom(text, file)
    const entry = tokens.find((candidate) => candidate.id === id)
    if (entry === undefined) throw new DataError(`${file} has no token with the ID "${id}"`)
    before = entry.revokedAt
    const isRevoked = before !== undefined && Date.parse(before) <= nowMs
    if (!isRevoked) entry.revokedAt = new Date(nowMs).toISOString()
    const changed = isRevoked ? text : textOf(tokens)
    after = parseTokenSet(changed, file)
    return changed
  })
  const record = after?.records.find((candidate) => candidate.id === id)
  const revokedAt = new Date(record?.revokedAtMs ?? nowMs).toISOString()
  if (values.json) io.stdout.write(`${JSON.stringify({ id, revokedAt, file })}\n`)
  else io.stderr.write(`Token ${id} (${record?.holder}) is revoked since ${revokedAt}.\n`)
  if (after !== undefined && !after.records.some((other) => isUsable(other, nowMs)))
    io.stderr.write('No valid token is left in the file: every request will be refused.\n')
  return OK
}

function isUsable(record: TokenRecord, nowMs: number): boolean {
  const state = stateOf(record, nowMs)
  return isAccepted(state) || state === 'not_yet_valid'
}

async function readToken({ stdin, stderr }: CommandIo): Promise<string> {
  if ('isTTY' in stdin && stdin.isTTY)
    stderr.write('Paste the token, then press Enter and Ctrl-D.\n')
  const decoder = new TextDecoder()
  let text = ''
  for await (const chunk of stdin) {
    text += typeof chunk === 'string' ? chunk : decoder.decode(chunk, { stream: true })
    if (text.length > MAX_TOKEN_LENGTH * 4)
      throw new DataError('standard input: is too long to be one token')
  }
  return text.trim()
}

function parse<Options extends NonNullable<ParseArgsConfig['options']>>(
  args: readonly string[],
  options: Options,
  positionalCount: number,
) {
  try {
    const parsed = parseArgs({ args: [...args], options, strict: true, allowPositionals: true })
    if (parsed.positionals.length > positionalCount)
      throw new UsageError(
        `${parsed.positionals.length - positionalCount} argument(s) too many; options begin with --`,
      )
    return parsed
  } catch (error) {
    if (error instanceof UsageError || !(error instanceof Error)) throw error
    throw new UsageError(error.message.split('. ')[0] ?? '')
  }
}

function fileFrom(option: string | undefined, { env }: CommandIo): string {
  const fallback = join(env.TOLLGATE_STATE_DIR || '.tollgate', DEFAULT_NAME)
  return option || env.TOLLGATE_TOKENS_FILE || fallback
}

function added(entry: TokenEntry, file: string): string {
  const until = entry.expiresAt === undefined ? 'without an end' : `until ${entry.expiresAt}`
  const from = entry.notBefore === undefined ? 'from now' : `from ${entry.notBefore}`
  const scopes = entry.scopes === undefined ? 'all signals' : entry.scopes.join(', ')
  return `Token ${entry.id} for ${entry.holder}: valid ${from}, ${until}, for ${scopes}. Its digest is in ${file}.\n`
}

function table(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(...rows.map((row) => row[column]?.length ?? 0)),
  )
  const line = (row: readonly string[]) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd()
  return rows.map((row) => `${line(row)}\n`).join('')
}

function exitCodeOf(error: unknown): number | undefined {
  if (error instanceof UsageError) return USAGE
  if (error instanceof DataError || error instanceof TokenSetError) return DATA
  if (!(error instanceof FileFault)) return undefined
  if (error.message.startsWith('cannot read') || error.code === 'NO_FILE') return NO_INPUT
  if (error.code === 'ELOCKED') return TRY_AGAIN
  if (error.code === 'EPERM' || error.code === 'EACCES') return NO_PERMISSION
  if (error.code === 'ENOSPC' || error.code === 'EIO' || error.code === 'EDQUOT') return IO_ERROR
  return CANNOT_CREATE
}
