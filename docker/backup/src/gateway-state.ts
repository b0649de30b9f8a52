/**
 * The gateway's own state. The gateway replaces each of its files whole, so that one that is read
 * through one descriptor is as it was at one time; what has to fit together is read until it stood
 * still meanwhile.
 */
import { constants } from 'node:fs'
import { open, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { codeOf } from './local-target.ts'
import type { Source } from './pack.ts'
import { StageFault, said } from './unusable.ts'

const MAX_TRIES = 20
const PAUSE_MS = 100
const MAX_TOTAL_BYTES = 256 * 1024 * 1024
/** Written every few seconds while agents send; neither has to fit to anything else. */
const RESTLESS = new Set(['ledger.json', 'bans.json'])
/** Half-written files, locks and claims of processes, and what a restore has put aside. */
const PASSING =
  /(?:\.tmp|\.new|\.lock|\.claim|\.sock|\.partial)$|^\.[0-9a-f]{4}$|^(?:\.restoring-|before-restore-)/

interface Read {
  readonly path: string
  readonly content: Buffer
  readonly mode: number
  readonly modifiedMs: number
  /** Changes when the file is replaced. */
  readonly mark: string
}

/** Whether a file or directory of this name is the gateway's state, and not the moment's. */
export function isState(name: string): boolean {
  return !PASSING.test(name)
}

/**
 * Reads it all into memory: it is small.
 *
 * @throws {StageFault} where it cannot be read, is larger than 256 MiB, or never stands still.
 */
export async function readGatewayState(directory: string): Promise<readonly Source[]> {
  try {
    let before = await readAll(directory)
    for (let tries = 1; tries <= MAX_TRIES; tries += 1) {
      const after = await readAll(directory)
      if (marksOf(before) === marksOf(after)) return after.map(sourceOf)
      before = after
      await pause(PAUSE_MS)
    }
    throw new Error(`its files changed all the time while they were read ${MAX_TRIES} times`)
  } catch (error) {
    throw new StageFault('gateway', `the gateway's state in ${directory}: ${said(error)}`, error)
  }
}

async function readAll(directory: string): Promise<readonly Read[]> {
  const found: Read[] = []
  let totalBytes = 0
  for (const path of await filesIn(directory, '')) {
    const file = await readOne(directory, path)
    if (file === undefined) continue
    totalBytes += file.content.length
    if (totalBytes > MAX_TOTAL_BYTES)
      throw new Error(
        'it is larger than 256 MiB, which a gateway never writes: is it the right directory?',
      )
    found.push(file)
  }
  return found
}

/** Regular files and links to them, by their path below the directory. */
async function filesIn(directory: string, below: string): Promise<readonly string[]> {
  const entries = await readdir(join(directory, below), { withFileTypes: true })
  const found: string[] = []
  for (const entry of entries.toSorted((one, other) => (one.name < other.name ? -1 : 1))) {
    if (!isState(entry.name)) continue
    const path = join(below, entry.name)
    if (entry.isDirectory()) found.push(...(await filesIn(directory, path)))
    else if (entry.isFile() || entry.isSymbolicLink()) found.push(path)
  }
  return found
}

/** Undefined for one that went meanwhile, and for what is no file. */
async function readOne(directory: string, path: string): Promise<Read | undefined> {
  try {
    const handle = await open(join(directory, path), constants.O_RDONLY | constants.O_NONBLOCK)
    try {
      const stats = await handle.stat()
      if (!stats.isFile()) return undefined
      if (stats.size > MAX_TOTAL_BYTES) throw new Error(`${path} is larger than 256 MiB`)
      return {
        path,
        content: await handle.readFile(),
        mode: stats.mode & 0o777,
        modifiedMs: stats.mtimeMs,
        mark: `${stats.ino}-${stats.size}-${stats.ctimeMs}`,
      }
    } finally {
      await handle.close()
    }
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined
    throw error
  }
}

function marksOf(files: readonly Read[]): string {
  return files
    .filter(({ path }) => !RESTLESS.has(path))
    .map(({ path, mark }) => `${path} ${mark}`)
    .join('\n')
}

function sourceOf({ path, content, mode, modifiedMs }: Read): Source {
  return {
    path: `gateway/${path}`,
    sizeBytes: content.length,
    mode,
    modifiedMs,
    async *read() {
      yield content
    },
  }
}
