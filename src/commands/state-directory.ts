import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { StateDirError } from '../tls/certificate-error.ts'
import { makeDirectory } from '../tls/make-directory.ts'

/**
 * Makes the state directory, for its owner only, and the ones above it. Throws a `StateDirError` in
 * words.
 */
export async function ensureStateDirectory(stateDir: string): Promise<void> {
  try {
    if (!(await makeDirectory(stateDir))) return
    // It holds secrets and may lie in somebody's checkout.
    await writeFile(join(stateDir, '.gitignore'), '*\n', { mode: 0o600 })
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error)
    throw new StateDirError(
      stateDir,
      `cannot be made: ${why}; expected a directory that this user may write (TOLLGATE_STATE_DIR)`,
      { cause: error },
    )
  }
}
