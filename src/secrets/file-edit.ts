/**
 * Changes a small file so that readers see the old text or the new, never a mixture, and two editors
 * do not lose each other's change: lock, read, write beside it, fsync, rename, fsync the directory.
 */
import { randomBytes } from 'node:crypto'
import { constants, type Stats } from 'node:fs'
import {
  type FileHandle,
  lstat,
  mkdir,
  open,
  readdir,
  readlink,
  rename,
  rm,
  stat,
} from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { FileFault, fileFault } from './file-fault.ts'
import { takeLock } from './file-lock.ts'

export interface FileEditOptions {
  /** How long to wait for another editor. Default 10 000. */
  readonly lockWaitMs?: number
  /** Permissions of a file that did not exist. Default 0600; an existing file keeps its own. */
  readonly mode?: number
}

const MAX_LINKS = 40

/**
 * Replaces the text of a file with what `change` makes of it (`undefined`: there is no file yet).
 * Symlinks are followed; where the directory is missing it is made (not its parents), for its owner only. When `change` throws, or
 * anything goes wrong, the file is as it was. Owner and permissions stay.
 *
 * @throws {FileFault} in words; its `code` is the system's, or `ELOCKED` where another editor holds
 * the lock file (`<file>.lock`) for too long. A lock left behind by a crash is taken over where the
 * process that made it is known to be gone, else it is named.
 */
export async function editFile(
  path: string,
  change: (text: string | undefined) => string,
  { lockWaitMs = 10_000, mode = 0o600 }: FileEditOptions = {},
): Promise<void> {
  try {
    const target = await targetOf(path)
    await makeDirectory(dirname(target))
    const lock = `${target}.lock`
    await takeLock(lock, lockWaitMs)
    try {
      await sweep(target)
      const before = await readWithStats(target)
      const text = change(before?.text)
      if (text !== before?.text) await replace(target, text, before?.stats, mode)
    } finally {
      await rm(lock, { force: true })
    }
  } catch (error) {
    throw fileFault(path, 'write', error)
  }
}

/** Reads a text file whole; undefined where there is none. @throws {FileFault} in words. */
export async function readTextFile(path: string): Promise<string | undefined> {
  try {
    return (await readWithStats(path))?.text
  } catch (error) {
    throw fileFault(path, 'read', error)
  }
}

/** Where a path ends when its symlinks are followed, though nothing may be there yet. */
async function targetOf(path: string): Promise<string> {
  let target = resolve(path)
  for (let links = 0; links < MAX_LINKS; links += 1) {
    const stats = await lstat(target).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return undefined
      throw error
    })
    if (!stats?.isSymbolicLink()) return target
    target = resolve(dirname(target), await readlink(target))
  }
  throw new FileFault(path, `${path}: symbolic links go round in a circle`, 'ELOOP', undefined)
}

async function makeDirectory(directory: string): Promise<void> {
  try {
    await stat(directory)
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error
    await mkdir(directory, { mode: 0o700 }).catch((error: NodeJS.ErrnoException) => {
      // Another editor made it at the same time.
      if (error.code !== 'EEXIST') throw error
    })
  }
}

/** Takes away what editors left half-written when they were killed: it may hold a secret. */
async function sweep(target: string): Promise<void> {
  const [directory, name] = [dirname(target), `${basename(target)}.`]
  for (const other of await readdir(directory).catch(() => []))
    if (other.startsWith(name) && /^\d+\.[0-9a-f]{8}\.tmp$/.test(other.slice(name.length)))
      await rm(join(directory, other), { force: true }).catch(() => undefined)
}

async function readWithStats(path: string): Promise<{ text: string; stats: Stats } | undefined> {
  let file: FileHandle
  try {
    file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK)
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
    throw error
  }
  try {
    const stats = await file.stat()
    if (!stats.isFile())
      throw new FileFault(path, `${path}: is not a regular file`, 'EINVAL', undefined)
    return { text: await file.readFile('utf8'), stats }
  } finally {
    await file.close()
  }
}

async function replace(
  target: string,
  text: string,
  before: Stats | undefined,
  mode: number,
): Promise<void> {
  const temporary = `${target}.${process.pid}.${randomBytes(4).toString('hex')}.tmp`
  let file: FileHandle | undefined
  try {
    file = await open(temporary, 'wx', 0o600)
    await keepOwner(file, target, before)
    await file.chmod(before === undefined ? mode : before.mode & 0o7777)
    await file.writeFile(text)
    await file.sync()
    await file.close()
    file = undefined
    await rename(temporary, target)
  } catch (error) {
    await file?.close().catch(() => undefined)
    await rm(temporary, { force: true }).catch(() => undefined)
    throw error
  }
  await syncDirectory(dirname(target))
}

/**
 * The gateway often runs as another user than the one who edits: a file that changed hands on
 * rename would be one it can no longer read. What root makes new belongs to the directory's owner.
 */
async function keepOwner(file: FileHandle, target: string, before: Stats | undefined) {
  const uid = process.getuid?.()
  if (uid === undefined || (before === undefined && uid !== 0)) return
  const owner = before ?? (await stat(dirname(target)))
  const own = await file.stat()
  if (owner.uid === own.uid && owner.gid === own.gid) return
  try {
    await file.chown(owner.uid, owner.gid)
  } catch (error) {
    if (owner.uid === own.uid) return
    const message = `${target} belongs to user ${owner.uid}, and this is user ${uid}; run this as that user or as root`
    throw new FileFault(target, message, 'EPERM', error)
  }
}

/** Makes the rename last over a power cut. Some systems cannot sync a directory; nothing is lost then. */
async function syncDirectory(directory: string): Promise<void> {
  try {
    const handle = await open(directory, 'r')
    await handle.sync().finally(() => handle.close())
  } catch {}
}
