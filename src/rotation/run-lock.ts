/**
 * Keeps two runs apart. Each run first puts a claim of its own into a directory and only then looks
 * for others: of two at once, one sees the other at least. Claims have names that are never used
 * again, so that of a process that died can be taken away by anybody, at any time, without a race.
 */
import { randomBytes } from 'node:crypto'
import { mkdir, open, readdir, rm, stat, utimes } from 'node:fs/promises'
import { join } from 'node:path'
import { fileFault } from '../secrets/file-fault.ts'
import { ownMark, stateOfMark } from '../secrets/process-mark.ts'

/** Held until it is released. */
export interface RunLock {
  release(): Promise<void>
}

/** Another run is at work. */
export class AnotherRun extends Error {
  override readonly name = 'AnotherRun'
}

const SUFFIX = '.claim'
/** A claim from elsewhere (another container, another machine) is alive while it is touched. */
const TOUCH_MS = 10_000
const SILENT_MS = 120_000
const MAX_TRIES = 6
const PAUSE_MS = 100

/**
 * Takes the lock of a directory, which is made where it is missing.
 *
 * @throws {AnotherRun} saying which process has it; {FileFault} where the directory cannot be used.
 */
export async function takeRunLock(directory: string): Promise<RunLock> {
  let path = ''
  try {
    await mkdir(directory, { recursive: true, mode: 0o700 })
    for (let tries = 1; ; tries += 1) {
      const own = await newClaim()
      path = join(directory, own)
      await (await open(path, 'wx', 0o600)).close()
      const other = await otherClaim(directory, own)
      if (other === undefined) break
      await rm(path, { force: true })
      // Two that begin at the same moment see each other, and both step back.
      if (tries === MAX_TRIES) throw new AnotherRun(other)
      await new Promise((resume) => setTimeout(resume, PAUSE_MS * (0.5 + Math.random())))
    }
  } catch (error) {
    throw fileFault(directory, 'write', error)
  }
  const touching = setInterval(() => {
    const now = new Date()
    utimes(path, now, now).catch(() => undefined)
  }, TOUCH_MS)
  touching.unref()
  return {
    async release() {
      clearInterval(touching)
      await rm(path, { force: true })
    },
  }
}

/** Says whose claim it is, of one that stands; takes away those that do not. */
async function otherClaim(directory: string, own: string): Promise<string | undefined> {
  const ownMs = await touchedMs(join(directory, own))
  for (const name of await readdir(directory)) {
    if (name === own || !name.endsWith(SUFFIX)) continue
    const path = join(directory, name)
    const lastMs = await touchedMs(path)
    // It was released meanwhile.
    if (lastMs === undefined) continue
    const isRecent = (ownMs ?? Date.now()) - lastMs < SILENT_MS
    const state = await stateOfMark(name)
    const where = state === 'running' ? '' : ', perhaps in another container or on another machine,'
    if (state === 'running' || (state === 'unknown' && isRecent))
      return `process ${Number.parseInt(name, 10)}${where} is at work on rotations here (${path})`
    await rm(path, { force: true })
  }
  return undefined
}

async function newClaim(): Promise<string> {
  return `${await ownMark()}-${randomBytes(8).toString('hex')}${SUFFIX}`
}

async function touchedMs(path: string): Promise<number | undefined> {
  return (await stat(path).catch(() => undefined))?.mtimeMs
}
