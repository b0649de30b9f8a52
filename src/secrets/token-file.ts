/**
 * Where the token set comes from when it is a file: read, check, put in force, and again whenever it
 * changes. What the text means is the caller's business. A read that is bad leaves in force what
 * was, so a file caught half-written, emptied or gone locks nobody out.
 */
import { hash } from 'node:crypto'
import { constants } from 'node:fs'
import { open } from 'node:fs/promises'
import { FileFault, fileFault } from './file-fault.ts'
import { FileWatch } from './file-watch.ts'

/** What became of a read. */
export type TokenFileEvent =
  /** The content is in force. */
  | { readonly kind: 'loaded'; readonly count: number }
  /** It could not be used, and what was in force before still is. */
  | { readonly kind: 'kept_last_good'; readonly problem: string }

export interface TokenFileOptions<Content> {
  /** The file; may be a symlink, or reached through one. */
  readonly path: string
  /** Turns the text into what is put in force. Throws an Error whose message says what is wrong. */
  readonly parse: (text: string, source: string) => Content
  /** Puts it in force and returns how many tokens it has. What it throws counts as a problem. */
  readonly swap: (content: Content) => number
  /** Told when a set is loaded, and once of each distinct problem until the next good read. */
  readonly onEvent?: (event: TokenFileEvent) => void
  /** Quiet time after a change before it is read. Default 100. */
  readonly debounceMs?: number
  /** How often the file is looked at where the file system tells of no changes. Default 5000. */
  readonly pollMs?: number
  /** A larger file is a problem. Default 64 MiB. */
  readonly maxBytes?: number
}

/** A writer at work is given this many looks to finish, `debounceMs` apart. */
const MAX_UNSTEADY_READS = 5
/** Opening a pipe would otherwise wait for its writer. */
const OPEN_FLAGS = constants.O_RDONLY | constants.O_NONBLOCK
/** Distinct problems remembered as reported. */
const MAX_REPORTED = 100

export class TokenFile<Content> {
  readonly #options: TokenFileOptions<Content>
  readonly #maxBytes: number
  readonly #watch: FileWatch
  readonly #reported = new Set<string>()
  #goodDigest: string | undefined
  #count = 0
  #problem: string | undefined
  #reading: Promise<unknown> = Promise.resolve()
  #isClosed = false

  constructor(options: TokenFileOptions<Content>) {
    this.#options = options
    this.#maxBytes = options.maxBytes ?? 64 * 2 ** 20
    const { path, debounceMs = 100, pollMs = 5000 } = options
    this.#watch = new FileWatch({ path, debounceMs, pollMs, onChange: () => this.reload() })
  }

  /** What was wrong with the last read, for a gauge; undefined when it was good. */
  get problem(): string | undefined {
    return this.#problem
  }

  /**
   * Loads the file for the first time and begins to watch it. Nothing keeps the process alive.
   *
   * @throws {Error} with what is wrong in words, from `parse` or about the file. Nothing is watched then.
   */
  start(): Promise<void> {
    const first = this.#startNow()
    this.#reading = first.catch(() => undefined)
    return first
  }

  /**
   * Reads now, as SIGHUP asks. Never throws: a problem is the answer. `unchanged` where the bytes are
   * those in force.
   */
  reload(): Promise<TokenFileEvent | { readonly kind: 'unchanged' }> {
    const next = this.#reading.then(() => this.#reloadNow())
    this.#reading = next
    return next
  }

  /** Stops watching. What is in force stays. */
  close(): void {
    this.#isClosed = true
    this.#watch.close()
  }

  async #startNow(): Promise<void> {
    try {
      // Watching begins first: a change between the read and the watch would go unseen.
      await this.#watch.start()
      this.#take(await this.#read())
    } catch (error) {
      this.close()
      throw error
    }
    this.#options.onEvent?.({ kind: 'loaded', count: this.#count })
  }

  async #reloadNow(): Promise<TokenFileEvent | { kind: 'unchanged' }> {
    if (this.#isClosed) return { kind: 'unchanged' }
    await this.#watch.arm()
    let event: TokenFileEvent
    try {
      const changed = this.#take(await this.#read())
      if (!changed && this.#problem === undefined) return { kind: 'unchanged' }
      this.#problem = undefined
      this.#reported.clear()
      event = { kind: 'loaded', count: this.#count }
      this.#options.onEvent?.(event)
    } catch (error) {
      const problem = error instanceof Error ? error.message : String(error)
      event = { kind: 'kept_last_good', problem }
      this.#problem = problem
      if (this.#reported.has(problem)) return event
      if (this.#reported.size >= MAX_REPORTED) this.#reported.clear()
      this.#reported.add(problem)
      this.#options.onEvent?.(event)
    }
    return event
  }

  /** Puts bytes in force; false where they already are. */
  #take(bytes: Buffer): boolean {
    const digest = hash('sha256', bytes)
    if (digest === this.#goodDigest) return false
    const { path, parse, swap } = this.#options
    let text: string
    try {
      text = new TextDecoder('utf-8', { fatal: true }).decode(bytes)
    } catch {
      throw new FileFault(path, `${path}: is not UTF-8 text`, 'EILSEQ', undefined)
    }
    this.#count = swap(parse(text, path))
    this.#goodDigest = digest
    return true
  }

  /** The bytes of the file, once they have held still while they were read. */
  async #read(): Promise<Buffer> {
    const { path, debounceMs = 100 } = this.#options
    for (let look = 1; ; look += 1) {
      const { bytes, isSteady } = await this.#readOnce(path)
      if (isSteady || look === MAX_UNSTEADY_READS) return bytes
      await new Promise((resolve) => setTimeout(resolve, debounceMs))
    }
  }

  async #readOnce(path: string): Promise<{ bytes: Buffer; isSteady: boolean }> {
    try {
      const file = await open(path, OPEN_FLAGS)
      try {
        const before = await file.stat({ bigint: true })
        if (!before.isFile())
          throw new FileFault(path, `${path}: is not a regular file`, 'EINVAL', undefined)
        if (before.size > BigInt(this.#maxBytes)) {
          const message = `${path}: is larger than ${this.#maxBytes} bytes`
          throw new FileFault(path, message, 'EFBIG', undefined)
        }
        const bytes = await file.readFile()
        const after = await file.stat({ bigint: true })
        const isSteady =
          before.mtimeNs === after.mtimeNs &&
          before.size === after.size &&
          after.size === BigInt(bytes.length)
        return { bytes, isSteady }
      } finally {
        await file.close()
      }
    } catch (error) {
      throw fileFault(path, 'read', error)
    }
  }
}
