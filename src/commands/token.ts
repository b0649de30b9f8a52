/** `tollgate token create|import|list|revoke|remove`: edits the token file that the gateway watches. */
import { idOf, MAX_TOKEN_LENGTH, tokenFlaw } from '../stores/token-list.ts'
import { createToken, digestOf, withoutTokens } from '../stores/token-secret.ts'
import type { CommandIo } from './io.ts'
import { COMMON, exitCodeOf, fileFrom, OK, parse, STRING, USAGE } from './token-arguments.ts'
import { addEntry, DataError } from './token-document.ts'
import { entryFrom, type TokenEntry, UsageError } from './token-entry.ts'
import { TOKEN_HELP } from './token-help.ts'
import { list } from './token-listing.ts'
import { remove, revoke } from './token-withdrawal.ts'

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
 * read; 69 where a gateway was to be asked and did not answer; 73, 74, 75, 77 for one that cannot be
 * written. Never throws for any of these.
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
    if (verb === 'remove') return await remove(rest, io)
    throw new UsageError(
      `unknown command "${verb}"; expected create, import, list, revoke or remove`,
    )
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

function added(entry: TokenEntry, file: string): string {
  const until = entry.expiresAt === undefined ? 'without an end' : `until ${entry.expiresAt}`
  const from = entry.notBefore === undefined ? 'from now' : `from ${entry.notBefore}`
  const scopes = entry.scopes === undefined ? 'all signals' : entry.scopes.join(', ')
  return `Token ${entry.id} for ${entry.holder}: valid ${from}, ${until}, for ${scopes}. Its digest is in ${file}.\n`
}
