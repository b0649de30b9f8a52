/** `tollgate token list`: who holds tokens, in which state they are and when they were last used. */
import { Expected } from '../config/kind.ts'
import { duration } from '../config/quantities.ts'
import { readTextFile } from '../secrets/file-edit.ts'
import type { TokenRow } from '../stores/token-page.ts'
import { stateDirFrom } from './ask-gateway.ts'
import type { CommandIo } from './io.ts'
import { inWords, table } from './table.ts'
import { ASKING, fileFrom, OK, parse, STRING } from './token-arguments.ts'
import { documentFrom } from './token-document.ts'
import { type TokenEntry, UsageError } from './token-entry.ts'
import { viewFile, viewTokens } from './token-view.ts'

const STALE = duration({ min: '1s', max: '36500d' })

/** Runs the command; `args` is what follows `list`. Throws like the others (`exitCodeOf`). */
export async function list(args: readonly string[], io: CommandIo): Promise<number> {
  const { values } = parse(args, { ...ASKING, stale: STRING }, 0)
  const staleMs = values.stale === undefined ? undefined : staleMsFrom(values.stale)
  const stateDir = stateDirFrom(values['state-dir'], io.env)
  const fileOf = () => fileFrom(values.file, io)
  const { page, problem } =
    values.file === undefined
      ? await viewTokens(fileOf, stateDir)
      : await viewFile(values.file, stateDir)
  if (problem !== undefined) io.stderr.write(`tollgate token: ${problem}\n`)
  const nowMs = Date.now()
  const isShown = ({ lastUsedAt }: TokenRow) =>
    staleMs === undefined || lastUsedAt === null || nowMs - Date.parse(lastUsedAt) >= staleMs
  const tokens = page.tokens.filter(isShown)
  if (!values.json) {
    io.stdout.write(tableOf(tokens, nowMs))
    return OK
  }
  const entries = await entriesOf(fileOf)
  const shown = tokens.map((row) => ({ ...restOf(entries.get(row.id)), ...row }))
  io.stdout.write(`${JSON.stringify({ ...page, tokens: shown }, null, 2)}\n`)
  return OK
}

function staleMsFrom(text: string): number {
  const parsed = STALE.parse(text, { cwd: '.' })
  if (!(parsed instanceof Expected)) return parsed
  throw new UsageError(`--stale: "${text}" is not a time; expected ${parsed.what}`)
}

function tableOf(tokens: readonly TokenRow[], nowMs: number): string {
  return table([
    ['ID', 'HOLDER', 'STATE', 'EXPIRES', 'LAST USED', 'FROM', 'WITH', 'LAST REFUSED'],
    ...tokens.map((row) => [
      row.id,
      row.holder,
      stateWords(row),
      row.expiresAt?.replace('.000Z', 'Z') ?? 'never',
      row.lastUsedAt === null ? 'never' : ago(row.lastUsedAt, nowMs),
      row.lastUse?.address ?? '-',
      row.lastUse?.sdk ? `${row.lastUse.sdk.name} ${row.lastUse.sdk.version}` : '-',
      refusalWords(row, nowMs),
    ]),
  ])
}

function stateWords({ state, isAccepted }: TokenRow): string {
  const words = state.replaceAll('_', ' ')
  return state === 'expired' && isAccepted ? `${words}, in grace` : words
}

function refusalWords({ lastRefusedAt, lastRefusal }: TokenRow, nowMs: number): string {
  if (lastRefusedAt === null || lastRefusal === null) return 'never'
  return `${ago(lastRefusedAt, nowMs)}: ${lastRefusal.reason}`
}

/** How long ago a time was, in its two largest units. */
export function ago(time: string, nowMs: number): string {
  return `${inWords(Math.max(0, nowMs - Date.parse(time)))} ago`
}

/** What the file says of tokens beyond the page: scopes, addresses, limits, labels. */
async function entriesOf(fileOf: () => string): Promise<Map<string, TokenEntry>> {
  try {
    const file = fileOf()
    const { tokens } = documentFrom(await readTextFile(file), file)
    return new Map(tokens.map((entry) => [entry.id, entry]))
  } catch {
    // The tokens of the running gateway may come from elsewhere.
    return new Map()
  }
}

function restOf(entry: TokenEntry | undefined): Partial<TokenEntry> {
  if (entry === undefined) return {}
  const { sha256: _, ...rest } = entry
  return rest
}
