/**
 * Puts new content in place of a directory's. The directory may be the root of a volume, which cannot
 * be renamed, so its entries are; a journal in it says what is under way, and whoever finds one, after
 * a kill or a power cut, puts everything back. Old content stays in `before-restore-…` beside the new.
 */
import { chown, lstat, mkdir, readdir, readFile, rename, rm, rmdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Owner } from './kinds.ts'
import { codeOf, syncDirectory, writeWhole } from './local-target.ts'

const JOURNAL = '.restore-journal.json'
/** Entries that are no content. */
const OURS = /^(?:\.restore-journal\.json.*|\.restoring-.*|before-restore-.*|lost\+found)$/

interface Journal {
  /** The directory in it that holds the new content. */
  readonly stage: string
  /** The directory in it that gets the old content. */
  readonly before: string
  readonly old: readonly string[]
  readonly fresh: readonly string[]
  /** Old entries go out first, then new ones come in. */
  readonly phase: 'out' | 'in'
}

/** The name of a stage for `swapIn`; never that of content. */
export function stageName(id: string): string {
  return `.restoring-${id}`
}

/**
 * Moves the content of `directory` to `before`, and that of `stage` in. Where it fails it puts all
 * back, and throws.
 */
export async function swapIn(directory: string, stage: string, before: string): Promise<void> {
  const old = (await readdir(directory)).filter((name) => !OURS.test(name))
  const fresh = await readdir(join(directory, stage))
  const journal: Journal = { stage, before, old, fresh, phase: 'out' }
  try {
    await mkdir(join(directory, before), { mode: 0o700 })
    await note(directory, journal)
    for (const name of old) await rename(join(directory, name), join(directory, before, name))
    await note(directory, { ...journal, phase: 'in' })
    for (const name of fresh) await rename(join(directory, stage, name), join(directory, name))
    await syncDirectory(directory)
    await rm(join(directory, JOURNAL))
    await rmdir(join(directory, stage))
    await syncDirectory(directory)
  } catch (error) {
    await putBack(directory)
    throw error
  }
}

/** Puts the old content back where a swap has not come to its end. Says whether there was one. */
export async function putBack(directory: string): Promise<boolean> {
  const journal = await readJournal(directory)
  if (journal === undefined) return false
  const { stage, before, old, fresh, phase } = journal
  if (phase === 'in')
    for (const name of fresh)
      await moveUnlessThere(join(directory, name), join(directory, stage, name))
  for (const name of old)
    await moveUnlessThere(join(directory, before, name), join(directory, name))
  await syncDirectory(directory)
  await rm(join(directory, JOURNAL))
  await rmdir(join(directory, before))
  return true
}

/** Takes away what restores that were killed have unpacked. After `putBack`. */
export async function sweepStages(directory: string): Promise<void> {
  for (const name of await readdir(directory).catch(() => []))
    if (name.startsWith(stageName('')))
      await rm(join(directory, name), { recursive: true, force: true })
}

/** Gives a tree to its owner. Does nothing unless this is root. */
export async function giveTo({ uid, gid }: Owner, path: string): Promise<void> {
  if (process.getuid?.() !== 0) return
  const stats = await lstat(path)
  if (stats.isDirectory())
    for (const name of await readdir(path)) await giveTo({ uid, gid }, join(path, name))
  if (stats.uid !== uid || stats.gid !== gid) await chown(path, uid, gid)
}

async function note(directory: string, journal: Journal): Promise<void> {
  const path = join(directory, JOURNAL)
  await writeWhole(`${path}.new`, JSON.stringify(journal))
  await rename(`${path}.new`, path)
  await syncDirectory(directory)
}

async function readJournal(directory: string): Promise<Journal | undefined> {
  try {
    return JSON.parse(await readFile(join(directory, JOURNAL), 'utf8')) as Journal
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined
    throw error
  }
}

/** Moves what is still at `from`; it is at `to` already, or never was at `from`, where not. */
async function moveUnlessThere(from: string, to: string): Promise<void> {
  const isThere = await lstat(to).then(
    () => true,
    () => false,
  )
  if (isThere) return
  await rename(from, to).catch((error: unknown) => {
    if (codeOf(error) !== 'ENOENT') throw error
  })
}
