/** Copies in a folder. */
import { mkdir, open, readdir, readFile, rename, rm, stat, statfs } from 'node:fs/promises'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { fileFault } from '../../../src/secrets/file-fault.ts'
import { parseSeal, type Seal } from './manifest.ts'
import { Meter } from './meter.ts'
import { type BackupName, parseName, sealedBy, sealOf } from './names.ts'
import { byAge, type Copy, type Parcel, type Target } from './target.ts'
import { StageFault, said, Unusable } from './unusable.ts'

const PARTIAL = '.partial'

export class LocalTarget implements Target {
  readonly kind = 'local'
  readonly where: string
  readonly #minFreeBytes: number

  constructor(directory: string, minFreeBytes: number) {
    this.where = directory
    this.#minFreeBytes = minFreeBytes
  }

  async list(): Promise<readonly Copy[]> {
    const names = new Set(await this.#names())
    const copies: Copy[] = []
    for (const archive of names) {
      const name = parseName(archive)
      if (name === undefined) continue
      const { size } = await stat(join(this.where, archive))
      const seal = await this.seal(name).catch(() => undefined)
      copies.push({ name, sizeBytes: size, isWhole: seal?.sizeBytes === size })
    }
    return copies.toSorted(byAge)
  }

  async seal({ archive }: BackupName): Promise<Seal> {
    const path = join(this.where, sealOf(archive))
    const text = await readFile(path, 'utf8').catch((error: unknown) => {
      if (codeOf(error) === 'ENOENT')
        throw new Unusable(`${archive} has no seal (${sealOf(archive)}): it was never finished`)
      throw fileFault(path, 'read', error)
    })
    return parseSeal(text, archive)
  }

  async open({ archive }: BackupName): Promise<Readable> {
    const path = join(this.where, archive)
    try {
      const handle = await open(path)
      return handle.createReadStream()
    } catch (error) {
      if (codeOf(error) === 'ENOENT') throw new Unusable(`there is no ${archive} in ${this.where}`)
      throw fileFault(path, 'read', error)
    }
  }

  async put(parcel: Parcel, signal: AbortSignal): Promise<Seal> {
    const { archive } = parcel.name
    await this.#makeRoom(parcel.unpackedBytes)
    const final = join(this.where, archive)
    const partial = `${final}${PARTIAL}`
    const sealPath = join(this.where, sealOf(archive))
    try {
      const seal = await write(partial, parcel, signal)
      await writeWhole(`${sealPath}${PARTIAL}`, `${JSON.stringify(seal)}\n`)
      await rename(partial, final)
      await rename(`${sealPath}${PARTIAL}`, sealPath)
      await syncDirectory(this.where)
      return seal
    } catch (error) {
      await rm(partial, { force: true })
      await rm(`${sealPath}${PARTIAL}`, { force: true })
      if (codeOf(error) === 'ENOSPC')
        throw new StageFault(
          'space',
          `${this.where}: the disk became full; nothing of it was kept`,
          error,
        )
      if (error instanceof StageFault) throw error
      throw new StageFault(
        'local',
        `${this.where}: ${said(fileFault(partial, 'write', error))}`,
        error,
      )
    }
  }

  async remove({ archive }: BackupName): Promise<void> {
    await rm(join(this.where, sealOf(archive)), { force: true })
    await rm(join(this.where, archive), { force: true })
  }

  async sweep(): Promise<number> {
    let count = 0
    for (const name of await this.#names()) {
      const whole = name.endsWith(PARTIAL) ? name.slice(0, -PARTIAL.length) : undefined
      if (whole === undefined || (parseName(whole) ?? sealedBy(whole)) === undefined) continue
      await rm(join(this.where, name), { force: true })
      count += 1
    }
    return count
  }

  async #names(): Promise<readonly string[]> {
    try {
      return await readdir(this.where)
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return []
      throw new StageFault('local', said(fileFault(this.where, 'read', error)), error)
    }
  }

  /** @throws {StageFault} where the archive may not fit. */
  async #makeRoom(neededBytes: number): Promise<void> {
    try {
      await mkdir(this.where, { recursive: true, mode: 0o700 })
    } catch (error) {
      throw new StageFault('local', said(fileFault(this.where, 'write', error)), error)
    }
    const { bavail, bsize } = await statfs(this.where)
    const freeBytes = bavail * bsize
    if (freeBytes < neededBytes + this.#minFreeBytes)
      throw new StageFault(
        'space',
        `${this.where}: ${freeBytes} bytes are free, and the backup may take ${neededBytes}; ${this.#minFreeBytes} must stay free (TOLLGATE_BACKUP_MIN_FREE)`,
      )
  }
}

async function write(partial: string, parcel: Parcel, signal: AbortSignal): Promise<Seal> {
  const meter = new Meter()
  const bytes = await parcel.open()
  const handle = await open(partial, 'wx', 0o600)
  try {
    for await (const chunk of meter.over(bytes)) {
      signal.throwIfAborted()
      await handle.writeFile(chunk)
    }
    await handle.sync()
  } finally {
    bytes.destroy()
    await handle.close()
  }
  return {
    version: 1,
    archive: parcel.name.archive,
    sizeBytes: meter.bytes,
    sha256: meter.digest(),
    unpackedBytes: parcel.unpackedBytes,
  }
}

/** A small file, on the disk when it resolves. */
export async function writeWhole(path: string, text: string): Promise<void> {
  await rm(path, { force: true })
  const handle = await open(path, 'wx', 0o600)
  try {
    await handle.writeFile(text)
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/** Makes renames in a directory last over a power cut. */
export async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory)
  await handle.sync().finally(() => handle.close())
}

/** `ENOENT` and the like; undefined for errors that have none. */
export function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined
}
