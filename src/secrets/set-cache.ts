/**
 * The last good set of a remote source on disk, so that a restart while it is away refuses nobody.
 * Holds digests only: what is kept are the texts of sets, and no caller has a token in one.
 */
import { hash, randomBytes } from 'node:crypto'
import { constants } from 'node:fs'
import { mkdir, open, rename, rm, utimes } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { FileFault, fileFault } from './file-fault.ts'

/** What was kept. */
export interface CachedSets {
  /** Texts of sets, what counts first ahead of the rest. */
  readonly texts: readonly string[]
  /** When the source was last read well, as Unix milliseconds. */
  readonly readMs: number
}

const MAX_BYTES = 128 * 2 ** 20

export class SetCache {
  readonly path: string
  readonly #place: string
  #doing: Promise<unknown> = Promise.resolve()

  /** In `sets` of the state directory, which is there; named by the digest of the place. */
  constructor(stateDir: string, place: string) {
    this.path = join(stateDir, 'sets', `${hash('sha256', place).slice(0, 32)}.json`)
    this.#place = place
  }

  /**
   * What was kept; undefined where there is nothing.
   * @throws {FileFault} in words, also for a file that is of another place or is no such file.
   */
  async read(): Promise<CachedSets | undefined> {
    try {
      const file = await open(this.path, constants.O_RDONLY | constants.O_NONBLOCK)
      try {
        const stats = await file.stat()
        if (!stats.isFile() || stats.size > MAX_BYTES) throw this.#broken('is no file of sets')
        return { texts: this.#parse(await file.readFile('utf8')), readMs: stats.mtimeMs }
      } finally {
        await file.close()
      }
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return undefined
      throw fileFault(this.path, 'read', error)
    }
  }

  /** Keeps these texts: whole or not at all, for the owner only. @throws {FileFault} in words. */
  keep(texts: readonly string[]): Promise<void> {
    return this.#next(async () => {
      const temporary = `${this.path}.${randomBytes(4).toString('hex')}.tmp`
      try {
        await mkdir(dirname(this.path), { mode: 0o700 }).catch((error: unknown) => {
          if (codeOf(error) !== 'EEXIST') throw error
        })
        const file = await open(temporary, 'wx', 0o600)
        try {
          await file.writeFile(`${JSON.stringify({ version: 1, place: this.#place, texts })}\n`)
          await file.sync()
        } finally {
          await file.close()
        }
        await rename(temporary, this.path)
      } catch (error) {
        await rm(temporary, { force: true }).catch(() => undefined)
        throw fileFault(this.path, 'write', error)
      }
    })
  }

  /** Notes that the source still says what is kept. @throws {FileFault} in words. */
  confirm(): Promise<void> {
    return this.#next(async () => {
      try {
        const now = new Date()
        await utimes(this.path, now, now)
      } catch (error) {
        throw fileFault(this.path, 'write', error)
      }
    })
  }

  /** Resolves when nothing is being written any more. */
  async close(): Promise<void> {
    await this.#doing.catch(() => undefined)
  }

  /** One after another: the last to be kept is the one that stays. */
  #next(work: () => Promise<void>): Promise<void> {
    const done = this.#doing.then(work, work)
    this.#doing = done.catch(() => undefined)
    return done
  }

  #parse(text: string): readonly string[] {
    let document: unknown
    try {
      document = JSON.parse(text)
    } catch {
      throw this.#broken('is not JSON')
    }
    if (typeof document !== 'object' || document === null) throw this.#broken('is no object')
    const { version, place, texts } = document as Record<string, unknown>
    if (version !== 1) throw this.#broken('is of another version')
    if (place !== this.#place) throw this.#broken('belongs to another place')
    const isList = Array.isArray(texts) && texts.every((item) => typeof item === 'string')
    if (!isList) throw this.#broken('has no texts')
    return texts
  }

  #broken(problem: string): FileFault {
    return new FileFault(this.path, `${this.path}: ${problem}`, 'EINVAL', undefined)
  }
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined
}
