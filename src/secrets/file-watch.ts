/**
 * Tells that a file may have changed. Its directory is watched, as editors and `rename` replace the
 * file, and a watch on it alone would stay with the old one; and the file too, as a write to a file
 * that is mounted by itself shows nowhere else. Where a mounted volume is switched by a symlink, the
 * directory of the real file is watched as well. Watches move with the file. A slow look at the file covers file systems that tell of nothing (NFS, some desktop mounts).
 */
import { type FSWatcher, watch } from 'node:fs'
import { realpath, stat } from 'node:fs/promises'
import { basename, dirname, resolve } from 'node:path'

export interface FileWatchOptions {
  readonly path: string
  /** Quiet time after the last event before `onChange`; ten times as long at most from the first. */
  readonly debounceMs: number
  readonly pollMs: number
  /** The file may have changed. Also called when it has not. */
  readonly onChange: () => void
}

interface Armed {
  readonly watcher: FSWatcher
  /** Device and inode: what is made anew under its old name needs a new watch. */
  readonly identity: string
}

/** Timestamps are this coarse at worst: a file changed less long ago may have changed again since. */
const TIMESTAMP_MS = 2000

export class FileWatch {
  readonly #options: FileWatchOptions
  readonly #path: string
  readonly #armed = new Map<string, Armed>()
  #arming: Promise<void> = Promise.resolve()
  #poll: NodeJS.Timeout | undefined
  #quiet: NodeJS.Timeout | undefined
  #firstEventMs: number | undefined
  #seen = ''
  #isPlain = false
  #isClosed = false

  constructor(options: FileWatchOptions) {
    this.#options = options
    this.#path = resolve(options.path)
  }

  /** Begins to watch. Neither timers nor watches keep the process alive. */
  async start(): Promise<void> {
    await this.arm()
    this.#seen = await this.#look()
    if (this.#isClosed) return
    this.#poll = setInterval(() => void this.#pollNow(), this.#options.pollMs)
    this.#poll.unref()
  }

  /** Sets watches where the file is now, and drops those where it was. Done before each `onChange`. */
  arm(): Promise<void> {
    this.#arming = this.#arming.then(() => this.#armNow())
    return this.#arming
  }

  async #armNow(): Promise<void> {
    const target = await realpath(this.#path).catch(() => this.#path)
    this.#isPlain = target === this.#path
    const wanted = new Set([dirname(this.#path), dirname(target), target])
    for (const [place, { watcher, identity }] of this.#armed) {
      if (wanted.has(place) && (await identityOf(place)) === identity) continue
      watcher.close()
      this.#armed.delete(place)
    }
    for (const place of wanted) {
      const identity = await identityOf(place)
      if (this.#isClosed || identity === undefined || this.#armed.has(place)) continue
      try {
        const watcher = watch(place, { persistent: false }, this.#noticed)
        // Out of watches, or the place is gone: the slow look goes on.
        watcher.on('error', () => {
          watcher.close()
          this.#armed.delete(place)
        })
        this.#armed.set(place, { watcher, identity })
      } catch {}
    }
  }

  close(): void {
    this.#isClosed = true
    clearInterval(this.#poll)
    clearTimeout(this.#quiet)
    for (const { watcher } of this.#armed.values()) watcher.close()
    this.#armed.clear()
  }

  /** Logs and other busy neighbours are not looked at; behind a symlink any name may matter. */
  readonly #noticed = (_: string, name: string | null): void => {
    if (!this.#isPlain || name === null || name === basename(this.#path)) this.#changed()
  }

  readonly #changed = (): void => {
    if (this.#isClosed) return
    const { debounceMs, onChange } = this.#options
    const nowMs = performance.now()
    this.#firstEventMs ??= nowMs
    clearTimeout(this.#quiet)
    const waitMs = Math.min(debounceMs, this.#firstEventMs + debounceMs * 10 - nowMs)
    this.#quiet = setTimeout(
      () => {
        this.#firstEventMs = undefined
        void this.arm().then(() => {
          if (!this.#isClosed) onChange()
        })
      },
      Math.max(0, waitMs),
    )
    this.#quiet.unref()
  }

  async #pollNow(): Promise<void> {
    const seen = await this.#look()
    if (seen === this.#seen || this.#isClosed) return
    this.#seen = seen
    this.#changed()
  }

  /** Everything about the file that a change would change, short of its bytes. */
  async #look(): Promise<string> {
    try {
      const { dev, ino, size, mtimeNs, ctimeNs, mtimeMs } = await stat(this.#path, { bigint: true })
      const isFresh = Date.now() - Number(mtimeMs) < TIMESTAMP_MS
      const directory = await identityOf(dirname(this.#path))
      return [directory, dev, ino, size, mtimeNs, ctimeNs, isFresh].join(' ')
    } catch (error) {
      return String(error)
    }
  }
}

async function identityOf(place: string): Promise<string | undefined> {
  try {
    const { dev, ino } = await stat(place, { bigint: true })
    return `${dev}:${ino}`
  } catch {
    return undefined
  }
}
