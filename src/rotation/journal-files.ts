/**
 * The journals of rotations under way, a file each, and the history. A file is the old one or the
 * new one whole, on the disk when `save` resolves, and for its owner only: it holds the new token in
 * plain until that is delivered. Written only by who holds the run lock.
 */
import { mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { FileFault, fileFault } from '../secrets/file-fault.ts'
import { type PastRotation, type Rotation, STEPS } from './rotation.ts'
import { slugOf } from './slug.ts'
import type { Journal } from './world.ts'

const MAX_HISTORY = 500
const HISTORY = 'history.json'
const SUFFIX = '.rotation.json'

export class JournalFiles implements Journal {
  readonly #directory: string

  /** `directory` is made when something is written. */
  constructor(directory: string) {
    this.#directory = directory
  }

  /** @throws {FileFault} in words, also where it is not a journal. */
  async load(holder: string): Promise<Rotation | undefined> {
    const name = `${slugOf(holder)}${SUFFIX}`
    const rotation = await this.#read(name)
    if (rotation !== undefined && rotation.holder !== holder)
      throw this.#unreadable(name, `is of ${rotation.holder}; end that rotation first`)
    return rotation
  }

  /** All rotations under way, by holder. */
  async loadAll(): Promise<readonly Rotation[]> {
    const names = await this.#names()
    const rotations: Rotation[] = []
    for (const name of names.filter((each) => each.endsWith(SUFFIX)).toSorted()) {
      const rotation = await this.#read(name)
      if (rotation !== undefined) rotations.push(rotation)
    }
    return rotations
  }

  async save(rotation: Rotation): Promise<void> {
    await this.#write(`${slugOf(rotation.holder)}${SUFFIX}`, rotation)
  }

  async end(past: PastRotation): Promise<void> {
    const before = await this.history()
    const others = before.filter(
      ({ id, startedAtMs }) => id !== past.id || startedAtMs !== past.startedAtMs,
    )
    await this.#write(HISTORY, { rotations: [...others, past].slice(-MAX_HISTORY) })
    const path = join(this.#directory, `${slugOf(past.holder)}${SUFFIX}`)
    await rm(path, { force: true })
    await syncDirectory(this.#directory)
  }

  /** Rotations that are over, the oldest first. */
  async history(): Promise<readonly PastRotation[]> {
    const text = await this.#text(HISTORY)
    const parsed = text === undefined ? undefined : parse(text)
    const isRight = text === undefined || Array.isArray(parsed?.rotations)
    if (!isRight) throw this.#unreadable(HISTORY, 'is not a history of rotations; move it away')
    return (parsed?.rotations ?? []) as readonly PastRotation[]
  }

  /** Takes away what a run that was killed left half-written; it may hold a token. */
  async sweep(): Promise<void> {
    for (const name of await this.#names())
      if (name.endsWith('.tmp')) await rm(join(this.#directory, name), { force: true })
  }

  async #names(): Promise<readonly string[]> {
    try {
      return await readdir(this.#directory)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
      throw fileFault(this.#directory, 'read', error)
    }
  }

  async #read(name: string): Promise<Rotation | undefined> {
    const text = await this.#text(name)
    if (text === undefined) return undefined
    const parsed = parse(text)
    if (!isRotation(parsed)) {
      throw this.#unreadable(
        name,
        'is not a journal of a rotation; move it away, revoke the token that it began, and begin again',
      )
    }
    return parsed
  }

  async #text(name: string): Promise<string | undefined> {
    const path = join(this.#directory, name)
    try {
      return await readFile(path, 'utf8')
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
      throw fileFault(path, 'read', error)
    }
  }

  async #write(name: string, content: unknown): Promise<void> {
    const path = join(this.#directory, name)
    const temporary = `${path}.tmp`
    try {
      await mkdir(this.#directory, { recursive: true, mode: 0o700 })
      // One that a killed run left may have other permissions.
      await rm(temporary, { force: true })
      const file = await open(temporary, 'wx', 0o600)
      try {
        await file.writeFile(`${JSON.stringify(content, undefined, 2)}\n`)
        await file.sync()
      } finally {
        await file.close()
      }
      await rename(temporary, path)
      await syncDirectory(this.#directory)
    } catch (error) {
      await rm(temporary, { force: true }).catch(() => undefined)
      throw fileFault(path, 'write', error)
    }
  }

  #unreadable(name: string, problem: string): FileFault {
    const path = join(this.#directory, name)
    return new FileFault(path, `${path}: ${problem}`, 'EINVAL', undefined)
  }
}

function parse(text: string): Record<string, unknown> | undefined {
  try {
    const parsed: unknown = JSON.parse(text)
    return typeof parsed === 'object' && parsed !== null
      ? (parsed as Record<string, unknown>)
      : undefined
  } catch {
    return undefined
  }
}

function isRotation(value: unknown): value is Rotation {
  const { v, holder, id, sha256, plan, step, old, delivered } = (value ?? {}) as Partial<Rotation>
  return (
    v === 1 &&
    [holder, id, sha256].every((text) => typeof text === 'string') &&
    typeof plan === 'object' &&
    STEPS.some((known) => known === step) &&
    Array.isArray(old) &&
    Array.isArray(delivered)
  )
}

/** Makes a rename last over a power cut. Some systems cannot sync a directory; nothing is lost then. */
async function syncDirectory(directory: string): Promise<void> {
  try {
    const handle = await open(directory, 'r')
    await handle.sync().finally(() => handle.close())
  } catch {}
}
