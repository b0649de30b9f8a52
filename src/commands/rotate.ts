/** `tollgate rotate`: replaces tokens by evidence, one run after the other. */
import { RotationFault } from '../rotation/rotation-fault.ts'
import { AnotherRun } from '../rotation/run-lock.ts'
import { FileFault } from '../secrets/file-fault.ts'
import { SourceFault } from '../secrets/source-fault.ts'
import { withoutTokens } from '../stores/token-secret.ts'
import { TokenSetError } from '../stores/token-set.ts'
import type { CommandIo } from './io.ts'
import { abortRotation } from './rotate-abort.ts'
import { ROTATE_HELP } from './rotate-help.ts'
import { rotateOptions } from './rotate-options.ts'
import { runRotations } from './rotate-run.ts'
import { showHistory, showStatus } from './rotate-status.ts'
import { settingsFrom } from './rotate-world.ts'
import { UsageError } from './token-entry.ts'

/** Exit codes, as in sysexits(3). */
const OK = 0
const USAGE = 64
const DATA = 65
const NO_INPUT = 66
const UNAVAILABLE = 69
const CANNOT_CREATE = 73
const TRY_AGAIN = 75
const NO_PERMISSION = 77

/**
 * Runs `tollgate rotate …`; `argv` is what follows `rotate`. Resolves with the exit code: 0 where
 * everything that could be done is done, 75 where something is away or another run is at work, and
 * others as in sysexits(3). Throws for wrong variables and for defects.
 */
export async function runRotate(argv: readonly string[], io: CommandIo): Promise<number> {
  if (argv.includes('--help') || argv.includes('-h') || argv[0] === 'help') {
    io.stdout.write(ROTATE_HELP)
    return OK
  }
  try {
    const cwd = process.cwd()
    const options = rotateOptions(argv, cwd)
    const settings = settingsFrom(io.env, options.stateDir, cwd)
    if (options.verb === 'status') return await showStatus(options, settings, io)
    if (options.verb === 'history') return await showHistory(options, settings, io)
    if (options.verb === 'abort') return await abortRotation(options, settings, io)
    return await runRotations(options, settings, io)
  } catch (error) {
    const code = exitCodeOf(error)
    if (code === undefined || !(error instanceof Error)) throw error
    io.stderr.write(`tollgate rotate: ${withoutTokens(error.message)}\n`)
    if (code === USAGE) io.stderr.write('Try: tollgate rotate --help\n')
    return code
  }
}

function exitCodeOf(error: unknown): number | undefined {
  if (error instanceof UsageError) return USAGE
  if (error instanceof RotationFault || error instanceof TokenSetError) return DATA
  if (error instanceof AnotherRun) return TRY_AGAIN
  if (error instanceof SourceFault) return error.isTemporary ? TRY_AGAIN : UNAVAILABLE
  if (!(error instanceof FileFault)) return undefined
  if (error.message.startsWith('cannot read')) return NO_INPUT
  if (error.code === 'ELOCKED' || error.code === 'ENOSPC') return TRY_AGAIN
  return error.code === 'EACCES' || error.code === 'EPERM' ? NO_PERMISSION : CANNOT_CREATE
}
