/** `tollgate restart`: has the running gateway replaced by a new one, without a port closing. */
import { parseArgs } from 'node:util'
import { askGateway, NoAnswerError, stateDirFrom } from './ask-gateway.ts'
import type { CommandIo } from './io.ts'

const EXIT_USAGE = 64
/** Longer than the parent gives the new gateway to get ready. */
const PATIENCE_MS = 70_000

/**
 * Resolves with 0 once the new gateway has found its configuration, certificate and tokens good and
 * takes over; with 64 for a wrong command line, 69 where no gateway runs, 70 where it runs without a
 * parent or the new one could not start (the one that runs goes on then), and 77 where its socket may
 * not be opened.
 */
export async function runRestart(
  argv: readonly string[],
  { stdout, stderr, env }: CommandIo,
): Promise<number> {
  try {
    const stateDir = stateDirFrom(stateDirOf(argv), env)
    const { pid } = await askGateway(stateDir, 'POST', '/restart', { patienceMs: PATIENCE_MS })
    stdout.write(
      `A new gateway (pid ${pid}) takes over; the one before finishes what is under way.\n`,
    )
    return 0
  } catch (error) {
    if (!(error instanceof NoAnswerError)) throw error
    stderr.write(`tollgate restart: ${error.message}\n`)
    return error.exitCode
  }
}

function stateDirOf(argv: readonly string[]): string | undefined {
  try {
    return parseArgs({ args: [...argv], options: { 'state-dir': { type: 'string' } } }).values[
      'state-dir'
    ]
  } catch (error) {
    throw new NoAnswerError(error instanceof Error ? error.message : String(error), EXIT_USAGE)
  }
}
