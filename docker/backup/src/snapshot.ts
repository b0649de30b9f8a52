/**
 * A snapshot of Prometheus: hard links to its blocks, and the newest data as a block of its own.
 * Prometheus has no call that deletes one, and one that stays keeps the disk of deleted blocks taken;
 * so it is deleted here, also the one of a run that was killed before it could.
 */
import { createReadStream } from 'node:fs'
import { readdir, readFile, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { fileFault } from '../../../src/secrets/file-fault.ts'
import { codeOf, writeWhole } from './local-target.ts'
import type { BlockEntry } from './manifest.ts'
import type { Source } from './pack.ts'
import type { Prometheus } from './prometheus.ts'
import { StageFault, said } from './unusable.ts'

const ULID = /^[0-9A-HJKMNP-TV-Z]{26}$/
const PENDING = 'snapshot-pending.json'

export interface Snapshot {
  readonly blocks: readonly BlockEntry[]
  readonly sources: readonly Source[]
}

interface Places {
  /** Prometheus's data directory, as it is seen from here. */
  readonly dataDirectory: string
  readonly workDirectory: string
}

/**
 * Makes a snapshot, has it used, and deletes it, come what may.
 *
 * @throws {StageFault} of the stage `snapshot` in words.
 */
export async function withSnapshot<T>(
  prometheus: Prometheus,
  places: Places,
  signal: AbortSignal,
  use: (snapshot: Snapshot) => Promise<T>,
): Promise<T> {
  const root = join(places.dataDirectory, 'snapshots')
  const pending = join(places.workDirectory, PENDING)
  await inWords(() => stat(places.dataDirectory))
  await inWords(async () =>
    writeWhole(pending, JSON.stringify({ before: await namesIn(root), sinceMs: Date.now() })),
  )
  const name = await inWords(() => prometheus.snapshot(signal))
  const directory = join(root, name)
  try {
    return await use(await inWords(() => read(directory)))
  } finally {
    await inWords(() => rm(directory, { recursive: true, force: true }))
    await rm(pending, { force: true })
  }
}

/** Deletes the snapshot of a run that was killed; says how many. Those that others made stay. */
export async function sweepSnapshots({ dataDirectory, workDirectory }: Places): Promise<number> {
  const pending = join(workDirectory, PENDING)
  const text = await readFile(pending, 'utf8').catch(() => undefined)
  if (text === undefined) return 0
  const { before, sinceMs } = JSON.parse(text) as { before: string[]; sinceMs: number }
  const root = join(dataDirectory, 'snapshots')
  let count = 0
  for (const name of await namesIn(root)) {
    const madeMs = madeAt(name)
    // Prometheus names them by its own clock, in whole seconds, and may need minutes.
    const isOurs = madeMs !== undefined && madeMs >= sinceMs - 5000 && madeMs < sinceMs + 900_000
    if (before.includes(name) || !isOurs) continue
    await inWords(() => rm(join(root, name), { recursive: true, force: true }))
    count += 1
  }
  await rm(pending, { force: true })
  return count
}

/** `20261130T031500Z-1a2b…`, as Unix time in milliseconds; undefined for other names. */
function madeAt(name: string): number | undefined {
  const [whole, ...parts] = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z-[0-9a-f]+$/.exec(name) ?? []
  const [year, month, day, hour, minute, second] = parts
  if (whole === undefined) return undefined
  return Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`)
}

async function namesIn(directory: string): Promise<readonly string[]> {
  return await readdir(directory).catch((error: unknown) => {
    if (codeOf(error) === 'ENOENT') return []
    throw fileFault(directory, 'read', error)
  })
}

async function read(directory: string): Promise<Snapshot> {
  const blocks: BlockEntry[] = []
  const sources: Source[] = []
  const names = await readdir(directory).catch((error: unknown) => {
    if (codeOf(error) === 'ENOENT')
      throw new Error(
        `${directory} is not there, though Prometheus made it: TOLLGATE_BACKUP_PROMETHEUS_DIR must be its data directory`,
      )
    throw fileFault(directory, 'read', error)
  })
  for (const ulid of names.filter((name) => ULID.test(name)).toSorted()) {
    blocks.push(blockOf(ulid, await readFile(join(directory, ulid, 'meta.json'), 'utf8')))
    const files = await readdir(join(directory, ulid), { recursive: true })
    for (const file of files.toSorted()) {
      const path = join(directory, ulid, file)
      const stats = await stat(path)
      if (!stats.isFile()) continue
      sources.push({
        path: `prometheus/${ulid}/${file}`,
        sizeBytes: stats.size,
        mode: 0o644,
        modifiedMs: stats.mtimeMs,
        read: () => createReadStream(path, { highWaterMark: 256 * 1024 }),
      })
    }
  }
  return { blocks, sources }
}

/** @throws where it is no meta.json of a block. */
export function blockOf(ulid: string, meta: string): BlockEntry {
  const { minTime, maxTime, stats } = JSON.parse(meta) as {
    minTime: number
    maxTime: number
    stats?: { numSeries?: number; numSamples?: number; numChunks?: number }
  }
  if (!Number.isFinite(minTime) || !Number.isFinite(maxTime))
    throw new Error(`${ulid}/meta.json names no times`)
  return {
    ulid,
    minTimeMs: minTime,
    maxTimeMs: maxTime,
    series: stats?.numSeries ?? 0,
    samples: stats?.numSamples ?? 0,
    chunks: stats?.numChunks ?? 0,
  }
}

async function inWords<T>(act: () => Promise<T>): Promise<T> {
  try {
    return await act()
  } catch (error) {
    if (error instanceof StageFault) throw error
    throw new StageFault('snapshot', `the snapshot of Prometheus: ${said(error)}`, error)
  }
}
