/** What the `tollgate token` commands have in common: options, the token file, exit codes. */
import { join } from 'node:path'
import { type ParseArgsConfig, parseArgs } from 'node:util'
import { FileFault } from '../secrets/file-fault.ts'
import { looksLikeTollgateToken } from '../stores/token-secret.ts'
import { TokenSetError } from '../stores/token-set.ts'
import { NoAnswerError } from './ask-gateway.ts'
import type { CommandIo } from './io.ts'
import { DataError } from './token-document.ts'
import { UsageError } from './token-entry.ts'

/** Exit codes, as in sysexits(3). */
export const OK = 0
export const USAGE = 64
export const UNAVAILABLE = 69
const DATA = 65
const NO_INPUT = 66
const CANNOT_CREATE = 73
const IO_ERROR = 74
const TRY_AGAIN = 75
const NO_PERMISSION = 77

/** Where the gateway keeps its own token file when none is configured. */
const DEFAULT_NAME = 'tokens.json'
export const STRING = { type: 'string' } as const
export const BOOLEAN = { type: 'boolean' } as const
/** Options of every command. */
export const COMMON = { file: STRING, json: BOOLEAN } as const
/** And of those that ask the running gateway. */
export const ASKING = { ...COMMON, 'state-dir': STRING } as const

/**
 * Reads the command line behind the verb.
 *
 * @throws {UsageError} for unknown options and for more than `positionalCount` arguments.
 */
export function parse<Options extends NonNullable<ParseArgsConfig['options']>>(
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

/** The ID that a command is about. @throws {UsageError} where there is none, or a token in its place. */
export function idFrom(positionals: readonly string[]): string {
  const [id] = positionals
  if (id === undefined) throw new UsageError('expected the ID of a token; see tollgate token list')
  if (looksLikeTollgateToken(id))
    throw new UsageError(
      'expected the ID of a token and not the token itself; see tollgate token list',
    )
  return id
}

/**
 * The token file: the option, else TOLLGATE_TOKENS_FILE, else the one file in TOLLGATE_TOKENS_SOURCE,
 * else tokens.json in the state directory.
 *
 * @throws {UsageError} where tokens come from several files, or from other places alone: a file that
 * the gateway does not read would be edited.
 */
export function fileFrom(option: string | undefined, { env }: CommandIo): string {
  const fallback = join(env.TOLLGATE_STATE_DIR || '.tollgate', DEFAULT_NAME)
  const given = option || env.TOLLGATE_TOKENS_FILE
  if (given) return given
  const places = (env.TOLLGATE_TOKENS_SOURCE ?? '').split(',').map((place) => place.trim())
  const files = places.flatMap((place) => /^file:(.+)$/.exec(place)?.[1] ?? [])
  if (places.every((place) => place === '')) return fallback
  const [file, second] = files
  if (file === undefined)
    throw new UsageError(
      `tokens come from ${places.join(', ')} (TOLLGATE_TOKENS_SOURCE), which tollgate rotate writes; name a file with --file to edit one`,
    )
  if (second !== undefined)
    throw new UsageError('TOLLGATE_TOKENS_SOURCE has several files; name one with --file')
  return file
}

/** The exit code for what went wrong; undefined for a bug of ours. */
export function exitCodeOf(error: unknown): number | undefined {
  if (error instanceof UsageError) return USAGE
  if (error instanceof DataError || error instanceof TokenSetError) return DATA
  if (error instanceof NoAnswerError) return error.exitCode
  if (!(error instanceof FileFault)) return undefined
  if (error.message.startsWith('cannot read') || error.code === 'NO_FILE') return NO_INPUT
  if (error.code === 'ELOCKED') return TRY_AGAIN
  if (error.code === 'EPERM' || error.code === 'EACCES') return NO_PERMISSION
  if (error.code === 'ENOSPC' || error.code === 'EIO' || error.code === 'EDQUOT') return IO_ERROR
  return CANNOT_CREATE
}
