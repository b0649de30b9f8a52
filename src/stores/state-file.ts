/**
 * A file that keeps what a store knows over a restart. Saved beside the path of requests, whole or not
 * at all; losing it costs memory of the past and never a request.
 */
import { type FileHandle, open, readFile, rename, rm } from 'node:fs/promises'
import type { Clock } from '../pipeline/ports.ts'

/** What could not be saved is tried again after this time, though nothing more may have happened. */
const AGAIN_MS = 10_000
/** At most one part in this many of the time goes into saving. */
const REST_SHARE = 20

/** Something to tell the operator. A run of failing saves is told once, and its end once. */
export type StateFileEvent =
  | {
      readonly kind: 'broken'
      readonly path: string
      readonly movedTo: string
      readonly why: string
    }
  | { readonly kind: 'unreadable' | 'unsaved'; readonly path: string; readonly why: string }
  | { readonly kind: 'saved_again'; readonly path: string }

export interface StateFileOptions {
  readonly path: string
  readonly clock: Clock
  readonly onEvent: (event: StateFileEvent) => void
}

/** What is kept: the store behind the file. */
export interface Keeper {
  /** Takes in the text that was saved. Throws an Error that names what is wrong with it. */
  restore(text: string): void
  /** The text to save, in pieces; requests have their turn between two. */
  pieces(): Iterable<string>
}

/** One file of state. */
export class StateFile {
  readonly #options: StateFileOptions
  readonly #keeper: Keeper
  #timer: NodeJS.Timeout | undefined
  #dueMs = Number.POSITIVE_INFINITY
  #saving: Promise<void> | undefined
  #restMs = 0
  #isFailing = false
  #isClosed = false

  private constructor(options: StateFileOptions, keeper: Keeper) {
    this.#options = options
    this.#keeper = keeper
  }

  /**
   * Reads the file. Never throws: one that cannot be read or understood is moved aside and told of.
   */
  static async open(options: StateFileOptions, keeper: Keeper): Promise<StateFile> {
    const file = new StateFile(options, keeper)
    await file.#load()
    return file
  }

  /** Saves after `leastMs`, later where saving takes long; at once with what is asked for until then. */
  saveSoon(leastMs: number): void {
    const waitMs = Math.max(leastMs, this.#restMs)
    const dueMs = this.#options.clock.nowMs() + waitMs
    if (this.#isClosed || dueMs >= this.#dueMs) return
    clearTimeout(this.#timer)
    this.#dueMs = dueMs
    this.#timer = setTimeout(() => {
      this.#dueMs = Number.POSITIVE_INFINITY
      this.#saving = (this.#saving ?? Promise.resolve()).then(() => this.#save())
    }, waitMs)
    this.#timer.unref()
  }

  /** Saves a last time, after which changes are not followed any more. */
  async close(): Promise<void> {
    this.#isClosed = true
    clearTimeout(this.#timer)
    await this.#saving
    await this.#save()
  }

  async #load(): Promise<void> {
    const { path, clock, onEvent } = this.#options
    try {
      this.#keeper.restore(await readFile(path, 'utf8'))
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return
      // The next save would write over it.
      const movedTo = `${path}.broken-${clock.wallMs()}`
      try {
        await rename(path, movedTo)
        onEvent({ kind: 'broken', path, movedTo, why: said(error) })
      } catch (second) {
        onEvent({ kind: 'unreadable', path, why: `${said(error)}; ${said(second)}` })
      }
    }
  }

  /** Never throws. Written beside the file, synced, then renamed over it. */
  async #save(): Promise<void> {
    const { path, onEvent } = this.#options
    const temporary = `${path}.new`
    try {
      // A leftover might have another mode, or be a link to somewhere else.
      await rm(temporary, { force: true })
      const handle = await open(temporary, 'wx', 0o600)
      try {
        this.#restMs = (await this.#writeTo(handle)) * REST_SHARE
        await handle.sync()
      } finally {
        await handle.close()
      }
      await rename(temporary, path)
      if (this.#isFailing) onEvent({ kind: 'saved_again', path })
      this.#isFailing = false
    } catch (error) {
      await rm(temporary, { force: true }).catch(() => {})
      if (!this.#isFailing) onEvent({ kind: 'unsaved', path, why: said(error) })
      this.#isFailing = true
      this.saveSoon(AGAIN_MS)
    }
  }

  /** Resolves with how many milliseconds of this thread the text has taken. */
  async #writeTo(handle: FileHandle): Promise<number> {
    const { clock } = this.#options
    let busyMs = 0
    let sinceMs = clock.nowMs()
    for (const piece of this.#keeper.pieces()) {
      busyMs += clock.nowMs() - sinceMs
      await handle.appendFile(piece)
      sinceMs = clock.nowMs()
    }
    return busyMs + clock.nowMs() - sinceMs
  }
}

function said(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined
}
