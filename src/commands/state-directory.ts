import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { StateDirError } from '../tls/certificate-error.ts'

/**
 * Makes the state directory, for its owner only, and the ones above it. Throws a `StateDirError` in
 * words. Node's own recursive way never comes back from places such as /proc.
 */
export async function ensureStateDirectory(stateDir: string): Promise<void> {
  try {
    if (!(await make(stateDir))) return
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

/** Whether it had to be made. */
async function make(path: string): Promise<boolean> {
  try {
    await mkdir(path, { mode: 0o700 })
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'EEXIST') return false
    const parent = dirname(path)
    if (code !== 'ENOENT' || parent === path) throw error
    await make(parent)
    await mkdir(path, { mode: 0o700 })
  }
  return true
}
