/**
 * The lock file beside a file that is edited. One that a killed process left behind is taken over,
 * where it is beyond doubt that the process is gone; any other is waited for, and then named.
 */
import { randomBytes } from 'node:crypto'
import { link, open, readFile, rm } from 'node:fs/promises'
import { hostname } from 'node:os'
import { FileFault } from './file-fault.ts'
import { MARK, ownMark, stateOfMark } from './process-mark.ts'

const LOCK_PAUSE_MS = 25
/** File systems without hard links say one of these. */
const NO_LINKS = new Set(['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK'])

/** Takes a lock; remove the file to release it. @throws {FileFault} `ELOCKED` after `waitMs`. */
export async function takeLock(lock: string, waitMs: number): Promise<void> {
  const untilMs = performance.now() + waitMs
  while (!(await make(lock))) {
    if (await isAbandoned(lock)) await takeAway(lock)
    else if (performance.now() >= untilMs) throw await heldFault(lock)
    else await new Promise((resume) => setTimeout(resume, LOCK_PAUSE_MS * (0.5 + Math.random())))
  }
}

/** Makes the file with its text in it, all at once; false where there is one already. */
async function make(path: string): Promise<boolean> {
  const text = `process ${process.pid} on ${hostname()} (${await ownMark()})\n`
  const temporary = `${path}.${process.pid}.${randomBytes(4).toString('hex')}.tmp`
  try {
    const file = await open(temporary, 'wx', 0o600)
    try {
      // Who holds it is a courtesy: on a full disk the lock holds all the same.
      await file.writeFile(text).catch(() => undefined)
    } finally {
      await file.close()
    }
    await link(temporary, path)
    return true
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined
    if (code === 'EEXIST') return false
    if (!NO_LINKS.has(String(code))) throw error
    return await makeWithoutLink(path, text)
  } finally {
    await rm(temporary, { force: true }).catch(() => undefined)
  }
}

async function makeWithoutLink(path: string, text: string): Promise<boolean> {
  try {
    const file = await open(path, 'wx', 0o600)
    await file.writeFile(text).catch(() => undefined)
    await file.close()
    return true
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return false
    throw error
  }
}

async function isAbandoned(lock: string): Promise<boolean> {
  const text = await textOf(lock)
  return MARK.test(text) && (await stateOfMark(text)) === 'ended'
}

/**
 * Removes an abandoned lock. Two at once could not tell each other's new lock from the old one; so
 * only who holds a second lock may do it, and looks again when he has it.
 */
async function takeAway(lock: string): Promise<void> {
  const breaking = `${lock}.break`
  if (!(await make(breaking))) {
    await new Promise((resume) => setTimeout(resume, LOCK_PAUSE_MS))
    // Killed while breaking: nobody breaks that one.
    if (await isAbandoned(breaking)) throw await heldFault(breaking)
    return
  }
  try {
    if (await isAbandoned(lock)) await rm(lock, { force: true })
  } finally {
    await rm(breaking, { force: true })
  }
}

async function heldFault(lock: string): Promise<FileFault> {
  const holder = (await textOf(lock)).replace(/ \(\S*\)$/, '')
  const message =
    `${lock} is held by ${holder || 'another process'}; ` +
    'if that process is gone, remove the file and try again'
  return new FileFault(lock, message, 'ELOCKED', undefined)
}

async function textOf(path: string): Promise<string> {
  const text = await readFile(path, 'utf8').catch(() => '')
  return text.trim().slice(0, 300)
}
