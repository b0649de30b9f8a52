/** `tollgate token revoke` and `remove`: tokens that are to open the gate no more. */
import { editFile } from '../secrets/file-edit.ts'
import type { TokenRow } from '../stores/token-page.ts'
import type { TokenRecord } from '../stores/token-record.ts'
import { parseTokenSet, type TokenSet } from '../stores/token-set.ts'
import { isAccepted, stateOf } from '../stores/token-state.ts'
import { askGateway, NoAnswerError, stateDirFrom } from './ask-gateway.ts'
import type { CommandIo } from './io.ts'
import { ASKING, BOOLEAN, fileFrom, idFrom, OK, parse, UNAVAILABLE } from './token-arguments.ts'
import { DataError, documentFrom, noFile, textOf } from './token-document.ts'
import type { TokenEntry } from './token-entry.ts'
import { ago } from './token-listing.ts'
import { askTokens, viewTokens } from './token-view.ts'

/** A token used within this time is not removed unless `--force` says so. */
const RECENT_MS = 7 * 86_400_000

/**
 * Withdraws a token, from now on. With `--now` the running gateway reads its tokens at once and is
 * asked whether it refuses the token; exit code 69 where it does not, or where none runs.
 */
export async function revoke(args: readonly string[], io: CommandIo): Promise<number> {
  const { values, positionals } = parse(args, { ...ASKING, now: BOOLEAN }, 1)
  const id = idFrom(positionals)
  const file = fileFrom(values.file, io)
  const nowMs = Date.now()
  let after: TokenSet | undefined
  await editFile(file, (text) => {
    const { tokens, entry } = entryIn(text, file, id)
    const before = entry.revokedAt
    const isRevoked = before !== undefined && Date.parse(before) <= nowMs
    if (!isRevoked) entry.revokedAt = new Date(nowMs).toISOString()
    const changed = isRevoked && text !== undefined ? text : textOf(tokens)
    after = parseTokenSet(changed, file)
    return changed
  })
  const record = after?.records.find((candidate) => candidate.id === id)
  const revokedAt = new Date(record?.revokedAtMs ?? nowMs).toISOString()
  const effect = values.now
    ? await effectOf(id, stateDirFrom(values['state-dir'], io.env))
    : undefined
  if (values.json) {
    const isRefused = effect === undefined ? {} : { isRefused: effect.isRefused }
    io.stdout.write(`${JSON.stringify({ id, revokedAt, file, ...isRefused })}\n`)
  } else io.stderr.write(`Token ${id} (${record?.holder}) is revoked since ${revokedAt}.\n`)
  if (effect !== undefined && !values.json) io.stderr.write(`${effect.words}\n`)
  if (after !== undefined && !after.records.some((other) => isUsable(other, nowMs)))
    io.stderr.write('No valid token is left in the file: every request will be refused.\n')
  return effect === undefined || effect.isRefused ? OK : UNAVAILABLE
}

/** Takes a token out of the file: from then on it is an unknown one, and its agent's address may be banned. */
export async function remove(args: readonly string[], io: CommandIo): Promise<number> {
  const { values, positionals } = parse(args, { ...ASKING, force: BOOLEAN }, 1)
  const id = idFrom(positionals)
  const file = fileFrom(values.file, io)
  if (values.force !== true) {
    const { page, problem } = await viewTokens(
      () => file,
      stateDirFrom(values['state-dir'], io.env),
    )
    if (problem !== undefined)
      throw new DataError(
        `it cannot be told when "${id}" was last used; --force removes it all the same: ${problem}`,
      )
    refuseIfInUse(page.tokens.find((row) => row.id === id))
  }
  let holder = ''
  await editFile(file, (text) => {
    const { tokens, entry } = entryIn(text, file, id)
    if (tokens.length === 1)
      throw new DataError(
        `"${id}" is the only token in ${file}, and a gateway does not take an empty set: it would keep this one; revoke it`,
      )
    holder = entry.holder
    const changed = textOf(tokens.filter((other) => other !== entry))
    parseTokenSet(changed, file)
    return changed
  })
  if (values.json) io.stdout.write(`${JSON.stringify({ id, holder, file })}\n`)
  else io.stderr.write(`Token ${id} (${holder}) is no longer in ${file}.\n`)
  return OK
}

function refuseIfInUse(row: TokenRow | undefined): void {
  const nowMs = Date.now()
  if (row?.lastUsedAt == null || nowMs - Date.parse(row.lastUsedAt) >= RECENT_MS) return
  throw new DataError(
    `"${row.id}" was used ${ago(row.lastUsedAt, nowMs)} by ${row.holder} from ${row.lastUse?.address}; without its entry that agent looks like an attacker and is banned. Revoke it and wait 7 days, or add --force`,
  )
}

/** The entry with this ID, among its likes. @throws {FileFault}, {TokenSetError}, {DataError} */
function entryIn(
  text: string | undefined,
  file: string,
  id: string,
): { readonly tokens: TokenEntry[]; readonly entry: TokenEntry } {
  if (text === undefined) throw noFile(file)
  parseTokenSet(text, file)
  const { tokens } = documentFrom(text, file)
  const entry = tokens.find((candidate) => candidate.id === id)
  if (entry === undefined) throw new DataError(`${file} has no token with the ID "${id}"`)
  return { tokens, entry }
}

/** Has the running gateway read its tokens, and looks whether it refuses this one. */
async function effectOf(id: string, stateDir: string) {
  try {
    await askGateway(stateDir, 'POST', '/reload')
    const { tokens, sources } = await askTokens(stateDir)
    const row = tokens.find((token) => token.id === id)
    if (row === undefined)
      return { isRefused: true, words: 'The running gateway has no token with this ID.' }
    if (!row.isAccepted) return { isRefused: true, words: 'The running gateway refuses it.' }
    const problems = sources.flatMap(({ problem }) => problem ?? [])
    const places = sources.map(({ place }) => place).join(', ')
    const why = problems.length > 0 ? problems.join('; ') : `its tokens come from ${places}`
    return { isRefused: false, words: `The running gateway still accepts it: ${why}.` }
  } catch (error) {
    if (!(error instanceof NoAnswerError)) throw error
    return {
      isRefused: false,
      words: `Whether a gateway refuses it is not known: ${error.message}`,
    }
  }
}

function isUsable(record: TokenRecord, nowMs: number): boolean {
  const state = stateOf(record, nowMs)
  return isAccepted(state) || state === 'not_yet_valid'
}
