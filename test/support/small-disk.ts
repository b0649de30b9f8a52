/** A disk of a few kilobytes, to be filled up. */
import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { promisify } from 'node:util'

const run = promisify(execFile)

export interface SmallDisk {
  readonly folder: string
  /** Takes all the room that is left. */
  fill(): Promise<void>
  /** Gives it back. */
  free(): Promise<void>
  /** From now on nothing can be written or made, whoever asks. */
  makeReadOnly(): Promise<void>
}

/**
 * Mounts a tmpfs of 64 kB, gone when the test ends. Undefined where this user may not mount: the
 * test is skipped then, or fails where CI=true.
 */
export async function mountSmallDisk(t: TestContext): Promise<SmallDisk | undefined> {
  const folder = await mkdtemp(join(tmpdir(), 'tollgate-disk-'))
  try {
    await run('mount', ['-t', 'tmpfs', '-o', 'size=64k,mode=0700', 'tmpfs', folder])
  } catch (error) {
    await rm(folder, { recursive: true })
    if (process.env.CI === 'true') throw error
    t.skip('SKIP: only root may mount a file system')
    return undefined
  }
  t.after(async () => {
    // A test that fails may leave files open on it.
    await run('umount', ['--lazy', folder])
    await rm(folder, { recursive: true })
  })
  const filling = join(folder, 'filling')
  return {
    folder,
    async fill() {
      for (let bytes = 65_536; bytes >= 1; bytes = Math.floor(bytes / 2)) {
        await writeFile(filling, Buffer.alloc(bytes), { flag: 'a' }).catch(() => {})
      }
    },
    free: () => rm(filling, { force: true }),
    async makeReadOnly() {
      await run('mount', ['-o', 'remount,ro', folder])
    },
  }
}
