/** The work directory: one run at a time, room to unpack, and what is remembered of runs. */
import { mkdir, mkdtemp, readdir, readFile, rename, rm, stat, statfs } from 'node:fs/promises'
import { join } from 'node:path'
import { AnotherRun, takeRunLock } from '../../../src/rotation/run-lock.ts'
import { ownMark, stateOfMark } from '../../../src/secrets/process-mark.ts'
import { writeWhole } from './local-target.ts'
import { StageFault, said } from './unusable.ts'

const STATUS = 'status.json'
const SCRATCH = 'scratch-'
/** No run takes longer. */
const SCRATCH_MS = 86_400_000

/** What no listing tells. Times are Unix milliseconds. */
export interface Status {
  readonly lastVerifyMs?: number
  readonly lastDurationMs?: number
}

/**
 * Runs something that no other run may do at the same time: backup, prune, restore.
 *
 * @throws {StageFault} of the stage `lock` where another one is at work.
 */
export async function alone<T>(workDirectory: string, act: () => Promise<T>): Promise<T> {
  const lock = await takeRunLock(join(workDirectory, 'claims')).catch((error: unknown) => {
    const why =
      error instanceof AnotherRun
        ? `another run of this tool is at work (its claim is in ${workDirectory}/claims)`
        : said(error)
    throw new StageFault('lock', why, error)
  })
  try {
    return await act()
  } finally {
    await lock.release()
  }
}

/**
 * An empty directory for as long as `use` takes, with so much room.
 *
 * @throws {StageFault} of the stage `space`.
 */
export async function withScratch<T>(
  parent: string,
  neededBytes: number,
  use: (directory: string) => Promise<T>,
): Promise<T> {
  await mkdir(parent, { recursive: true, mode: 0o700 })
  await needRoom(parent, neededBytes)
  const directory = await mkdtemp(join(parent, `${SCRATCH}${await ownMark()}-`))
  try {
    return await use(directory)
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}

/** Takes away the scratch directories that killed runs left; those of runs that are at work stay. */
export async function sweepScratch(parent: string): Promise<void> {
  for (const name of await readdir(parent).catch(() => [])) {
    if (!name.startsWith(SCRATCH)) continue
    const path = join(parent, name)
    const state = await stateOfMark(name)
    const { mtimeMs } = await stat(path)
    // Of another container it is not known whether it runs.
    const isOld = Date.now() - mtimeMs > SCRATCH_MS
    if (state === 'ended' || (state === 'unknown' && isOld))
      await rm(path, { recursive: true, force: true })
  }
}

/** @throws {StageFault} where less is free. */
export async function needRoom(directory: string, neededBytes: number): Promise<void> {
  const { bavail, bsize } = await statfs(directory)
  const freeBytes = bavail * bsize
  if (freeBytes < neededBytes)
    throw new StageFault(
      'space',
      `${directory}: ${freeBytes} bytes are free, and the backup takes ${neededBytes} when it is unpacked`,
    )
}

export async function readStatus(workDirectory: string): Promise<Status> {
  const text = await readFile(join(workDirectory, STATUS), 'utf8').catch(() => '{}')
  try {
    const { lastVerifyMs, lastDurationMs } = JSON.parse(text) as Status
    return {
      ...(Number.isFinite(lastVerifyMs) ? { lastVerifyMs: Number(lastVerifyMs) } : {}),
      ...(Number.isFinite(lastDurationMs) ? { lastDurationMs: Number(lastDurationMs) } : {}),
    }
  } catch {
    return {}
  }
}

/** Remembers more; what is not named stays. */
export async function addStatus(workDirectory: string, more: Status): Promise<void> {
  const path = join(workDirectory, STATUS)
  const status = { ...(await readStatus(workDirectory)), ...more }
  await writeWhole(`${path}.partial`, `${JSON.stringify(status)}\n`)
  await rename(`${path}.partial`, path)
}
