/**
 * A directory with one certificate and its key, which readers see change as one: both files lead
 * through the symlink `..data` to a directory that is never changed, as in a Kubernetes volume.
 */
import { hash } from 'node:crypto'
import {
  chmod,
  chown,
  lstat,
  mkdir,
  open,
  readdir,
  readlink,
  rename,
  rm,
  symlink,
} from 'node:fs/promises'
import { join } from 'node:path'
import { StateDirError } from './certificate-error.ts'
import { reasonOf } from './pem.ts'

/** Numbers of the user and the group that read the files; undefined leaves them as they come. */
export interface PairOwner {
  readonly uid: number | undefined
  readonly gid: number | undefined
}

/** A certificate with its chain, and its key, both PEM. */
export interface PemTexts {
  readonly cert: string
  readonly key: string
}

const DATA = '..data'
const GENERATION = /^\.\.\d{4}_\d\d_\d\d_/
const CERT = 'tls.crt'
const KEY = 'tls.key'

/** Where the files of such a directory are. */
export function pathsIn(directory: string): {
  readonly certPath: string
  readonly keyPath: string
} {
  return { certPath: join(directory, CERT), keyPath: join(directory, KEY) }
}

/**
 * Puts a pair into the directory, which is made where there is none. The certificate gets mode 0640,
 * the key 0600, or 0640 where the owner is a group alone. Resolves with whether anything had to be
 * written. Throws a `StateDirError` where it cannot be.
 */
export async function writePair(
  directory: string,
  pair: PemTexts,
  { uid, gid }: PairOwner,
  wallMs: number,
): Promise<boolean> {
  try {
    // 0755: who may read is said by the files, and root without its powers must get in again.
    await mkdir(directory, { recursive: true, mode: 0o755 })
    const before = await readlink(join(directory, DATA)).catch(() => undefined)
    const mark = markOf(pair, { uid, gid })
    const isThere =
      before?.endsWith(`-${mark}`) === true && (await isDirectory(join(directory, before)))
    if (!isThere) await addGeneration(directory, `${stampOf(wallMs)}-${mark}`, pair, { uid, gid })
    for (const name of [CERT, KEY]) await link(join(directory, name), `${DATA}/${name}`)
    // The one before stays: somebody may be between its two files.
    await sweep(directory, [before, await readlink(join(directory, DATA))])
    return !isThere
  } catch (error) {
    const { code, path = directory } = error as NodeJS.ErrnoException
    if (code === undefined) throw error
    throw new StateDirError(
      path,
      `cannot write the certificate: ${reasonOf(error)}; expected a directory that user ${process.getuid?.() ?? ''} may write`,
      { cause: error },
    )
  }
}

/**
 * What a generation is told from another by. It is in the directory's name, as the one who gave the
 * files away may not be able to read them.
 */
function markOf({ cert, key }: PemTexts, { uid, gid }: PairOwner): string {
  return hash('sha256', [cert, key, uid, gid].join('\n')).slice(0, 16)
}

async function addGeneration(
  directory: string,
  name: string,
  { cert, key }: PemTexts,
  { uid, gid }: PairOwner,
): Promise<void> {
  const generation = join(directory, name)
  await mkdir(generation, { mode: 0o755 })
  await chmod(generation, 0o755)
  const keyMode = uid === undefined && gid !== undefined ? 0o640 : 0o600
  for (const [file, text, mode] of [
    [KEY, key, keyMode],
    [CERT, cert, 0o640],
  ] as const) {
    const handle = await open(join(generation, file), 'wx', 0o600)
    try {
      await handle.writeFile(text)
      await handle.chmod(mode)
      if (uid !== undefined || gid !== undefined) {
        const { uid: ownUid, gid: ownGid } = await handle.stat()
        await chown(join(generation, file), uid ?? ownUid, gid ?? ownGid)
      }
      await handle.sync()
    } finally {
      await handle.close()
    }
  }
  await link(join(directory, DATA), name)
}

function stampOf(wallMs: number): string {
  return `..${new Date(wallMs).toISOString().replace(/[-T:]/g, '_').replace('Z', '')}`
}

async function isDirectory(path: string): Promise<boolean> {
  const found = await lstat(path).catch(() => undefined)
  return found?.isDirectory() === true
}

/** A symlink to `target`, replaced in one step where it leads elsewhere. */
async function link(path: string, target: string): Promise<void> {
  const now = await readlink(path).catch(() => undefined)
  if (now === target) return
  const found = await lstat(path).catch(() => undefined)
  if (found !== undefined && !found.isSymbolicLink()) {
    throw new StateDirError(
      path,
      'is there already and was not written by this program; expected a directory of its own (--to)',
    )
  }
  const temporary = `${path}.${process.pid}.tmp`
  await rm(temporary, { force: true })
  await symlink(target, temporary)
  await rename(temporary, path)
}

async function sweep(directory: string, kept: readonly (string | undefined)[]): Promise<void> {
  for (const name of await readdir(directory)) {
    if (!GENERATION.test(name) || kept.includes(name)) continue
    await rm(join(directory, name), { recursive: true, force: true })
  }
}
