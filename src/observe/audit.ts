/**
 * The audit log: who was turned away, who was banned and which tokens were rotated, a JSON line
 * each, for fail2ban and for people. The format is fixed (`docs/logs.md`): the order of the keys does not change within a
 * version, and what a stranger wrote comes after `client.ip`, so that nobody can forge a line.
 */
import { type FileHandle, open, rename, stat } from 'node:fs/promises'
import { redact } from './redact.ts'

const VERSION = 1
/** Longest string of a stranger that is written, in UTF-16 code units. */
const MAX_FOREIGN_CHARS = 200
/** Lines waiting for the disk; a line more is dropped and counted. */
const MAX_PENDING_BYTES = 1_048_576
/**
 * Size at which the file is moved to `<path>.old`, in place of the one before. Strangers decide how many
 * lines there are, and in a container nobody may be rotating them.
 */
const MAX_FILE_BYTES = 134_217_728
const NOT_PLAIN = /[^\x20-\x7e]/g

export interface AuditEntry {
  /** Unix time in milliseconds. */
  readonly wallMs: number
  readonly event: 'auth_refused' | 'banned' | 'ban_lifted' | 'rotation'
  /** From a closed set: lower-case letters and underscores. */
  readonly reason: string
  /** The client's address in its normal form; undefined where no client is concerned. */
  readonly address?: string
  readonly protocol?: string
  readonly signal?: string
  /** How long a ban lasts. */
  readonly seconds?: number
  /** As the client sent it. */
  readonly userAgent?: string | undefined
  /** Whose token, and its id: of a rotation. */
  readonly holder?: string
  readonly token?: string
  /** Where the set is kept, or the token was delivered to. */
  readonly place?: string | undefined
}

export interface Audit {
  /** Adds an entry. Does not wait and does not throw. */
  write(entry: AuditEntry): void
}

export interface AuditFileOptions {
  readonly path: string
  /** Told when lines begin to be lost. Not told again until writing has worked once more. */
  readonly onFailure: (cause: unknown) => void
  /** Told when writing works again. */
  readonly onRecovery: () => void
  /** Size at which the file is moved to `<path>.old`. Default 128 MiB. */
  readonly maxFileBytes?: number
}

/** One line, newline included: pure ASCII, fixed order of keys. */
export function auditLine(entry: AuditEntry): string {
  const { wallMs, event, reason, address, protocol, signal, seconds, userAgent } = entry
  const { holder, token, place } = entry
  const line = JSON.stringify({
    v: VERSION,
    time: Math.trunc(wallMs),
    event,
    reason,
    client: address === undefined ? undefined : { ip: address },
    protocol,
    signal,
    seconds,
    userAgent: userAgent === undefined ? undefined : redact(userAgent.slice(0, MAX_FOREIGN_CHARS)),
    holder,
    token,
    place,
  })
  // Some readers take more than \n for the end of a line (U+2028, U+0085).
  return `${line.replace(NOT_PLAIN, escaped)}\n`
}

function escaped(char: string): string {
  return `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`
}

/** An audit log in a file, appended to in the background. */
export class AuditFile implements Audit {
  readonly #options: AuditFileOptions
  #file: FileHandle
  #pending = ''
  #work: Promise<void> = Promise.resolve()
  #isScheduled = false
  #isFailing = false
  #isTorn = false
  #lostLines = 0

  private constructor(options: AuditFileOptions, { file, isTorn }: Opened) {
    this.#options = options
    this.#file = file
    this.#isTorn = isTorn
  }

  /** Opens the file for appending, and makes it (0640) where it is missing. Throws what `open` throws. */
  static async open(options: AuditFileOptions): Promise<AuditFile> {
    return new AuditFile(options, await openToAppend(options.path))
  }

  /** Lines lost since the start: the disk was full, or there were more than could be written. */
  get lostLines(): number {
    return this.#lostLines
  }

  write(entry: AuditEntry): void {
    const line = auditLine(entry)
    if (this.#pending.length + line.length > MAX_PENDING_BYTES) {
      this.#failed(1, new Error('audit lines come faster than the disk takes them'))
      return
    }
    this.#pending += line
    if (this.#isScheduled) return
    this.#isScheduled = true
    this.#work = this.#work.then(() => this.#flush())
  }

  /**
   * Opens the path anew, after the file was moved away (logrotate, SIGHUP). Where that fails the old
   * file goes on being used, and the promise rejects.
   */
  async reopen(): Promise<void> {
    const opened = await openToAppend(this.#options.path)
    this.#work = this.#work.then(() => this.#goOnIn(opened))
    await this.#work
  }

  /** Writes what is pending and closes the file. */
  async close(): Promise<void> {
    await this.#work
    await this.#file.close()
  }

  async #flush(): Promise<void> {
    this.#isScheduled = false
    const lines = this.#pending
    this.#pending = ''
    try {
      await this.#makeRoomFor(lines.length)
      // After half a line, begin a new one: the torn one must not spoil the next.
      await this.#file.appendFile(this.#isTorn ? `\n${lines}` : lines)
      this.#isTorn = false
      if (this.#isFailing) {
        this.#isFailing = false
        this.#options.onRecovery()
      }
    } catch (cause) {
      this.#isTorn = true
      this.#failed(lines.split('\n').length - 1, cause)
    }
  }

  /** Moves a file that would grow too large aside, unless another process has done so already. */
  async #makeRoomFor(bytes: number): Promise<void> {
    const { path, maxFileBytes = MAX_FILE_BYTES } = this.#options
    const { size, ino, dev } = await this.#file.stat()
    if (size === 0 || size + bytes <= maxFileBytes) return
    const there = await stat(path).catch(undefinedIfMissing)
    if (there?.ino === ino && there.dev === dev) await rename(path, `${path}.old`)
    await this.#goOnIn(await openToAppend(path))
  }

  async #goOnIn({ file, isTorn }: Opened): Promise<void> {
    const old = this.#file
    this.#file = file
    this.#isTorn = isTorn
    await old.close().catch(() => {})
  }

  #failed(lines: number, cause: unknown): void {
    this.#lostLines += lines
    if (this.#isFailing) return
    this.#isFailing = true
    this.#options.onFailure(cause)
  }
}

interface Opened {
  readonly file: FileHandle
  /** Whether it ends in half a line, which a crash or a full disk has left. */
  readonly isTorn: boolean
}

async function openToAppend(path: string): Promise<Opened> {
  const file = await open(path, 'a+', 0o640)
  try {
    const { size } = await file.stat()
    const last = Buffer.alloc(1)
    const { bytesRead } = await file.read(last, 0, size === 0 ? 0 : 1, Math.max(0, size - 1))
    return { file, isTorn: bytesRead === 1 && last.toString() !== '\n' }
  } catch (error) {
    await file.close()
    throw error
  }
}

function undefinedIfMissing(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT') throw error
}
