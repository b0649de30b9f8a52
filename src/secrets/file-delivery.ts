/**
 * Delivers a token to a file on this machine: alone (`file:/run/agent/token`), or as one variable of
 * an environment file (`file:/etc/agent.env#OTEL_EXPORTER_OTLP_HEADERS`).
 */
import { constants, type Stats } from 'node:fs'
import { access, readFile, realpath, stat } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import type { Delivery, TokenInPlain } from './delivery.ts'
import { currentValue, isVariableName } from './dotenv.ts'
import { editFile, readTextFile } from './file-edit.ts'
import { FileFault, fileFault } from './file-fault.ts'
import type { Place } from './place.ts'
import { SourceFault } from './source-fault.ts'
import { holdsHeaders, repeated, textWith, ValueProblem } from './token-value.ts'

/** Stands for the token where a change is only tried. */
const TRIAL = 'trial'

/**
 * A file that does not exist is made for its owner alone (0600); one that exists keeps its owner and
 * permissions. It is replaced as a whole, so that no reader sees half of it. Where it is mounted by
 * itself it cannot be replaced, and that is told: written in place, a crash or a full disk would
 * leave an agent with half a token, or with none of its other variables.
 */
export class FileDelivery implements Delivery {
  readonly place: string
  readonly #path: string
  readonly #variable: string | undefined

  /** @throws {SourceFault} where the part behind `#` is no name of a variable. */
  constructor(place: Place) {
    this.place = place.text
    this.#path = resolve(place.path)
    this.#variable = place.field
    if (place.field !== undefined && !isVariableName(place.field)) {
      throw new SourceFault(
        this.place,
        `${JSON.stringify(place.field)} is no name of a variable`,
        'letters, digits and _ stand behind the #, and no digit first',
        { isTemporary: false },
      )
    }
  }

  async check(): Promise<string> {
    const path = await realpath(this.#path).catch(() => this.#path)
    const [text, stats] = await Promise.all([readTextFile(path), statOf(path)])
    this.#changed(text, TRIAL)
    await this.#checkDirectory(path, stats)
    if (stats !== undefined) {
      this.#checkOwner(path, stats)
      await this.#checkMount(path)
    }
    if (this.#variable === undefined) {
      return `would ${stats === undefined ? 'make' : 'replace'} ${path} with the token alone${warning(stats)}`
    }
    const isThere = text !== undefined && currentValue(text, this.#variable) !== undefined
    const what = holdsHeaders(this.#variable) ? 'the Authorization in ' : ''
    const doing = isThere ? `replace ${what}` : 'add '
    return `would ${doing}${this.#variable} in ${path}${warning(stats)}${this.#repeated(text)}`
  }

  async deliver({ token }: TokenInPlain): Promise<string> {
    let before: string | undefined
    await editFile(this.#path, (text) => {
      before = text
      return this.#changed(text, token)
    })
    const what = this.#variable ?? 'the token'
    const hint =
      this.#variable === undefined ? '' : '; agents read it when they start: restart them'
    const stats = await statOf(this.#path)
    return `wrote ${what} to ${this.#path}${warning(stats)}${this.#repeated(before)}${hint}`
  }

  async close(): Promise<void> {}

  #changed(text: string | undefined, token: string): string {
    try {
      return textWith(token, this.#variable, text)
    } catch (error) {
      if (!(error instanceof ValueProblem)) throw error
      throw new SourceFault(this.place, error.message, error.advice, { isTemporary: false })
    }
  }

  #repeated(text: string | undefined): string {
    return this.#variable === undefined ? '' : repeated(text, this.#variable)
  }

  async #checkDirectory(path: string, stats: Stats | undefined): Promise<void> {
    const directory = dirname(path)
    // A missing directory is made, but not its parents.
    const isMissing = (await statOf(directory)) === undefined
    const writable = isMissing && stats === undefined ? dirname(directory) : directory
    try {
      await access(writable, constants.W_OK | constants.X_OK)
    } catch (error) {
      throw fileFault(path, 'write', error)
    }
  }

  #checkOwner(path: string, { uid }: Stats): void {
    const own = process.getuid?.()
    if (own === undefined || own === 0 || own === uid) return
    const message = `${path} belongs to user ${uid}, and this is user ${own}; run this as that user or as root`
    throw new FileFault(path, message, 'EPERM', undefined)
  }

  /** Linux tells of mounts; elsewhere one is noticed on writing. */
  async #checkMount(path: string): Promise<void> {
    const mounts = await readFile('/proc/self/mountinfo', 'utf8').catch(() => '')
    const points = mounts.split('\n').map((line) => line.split(' ')[4])
    const escaped = path.replace(/[\\ \t\n]/g, (letter) => {
      return `\\${letter.charCodeAt(0).toString(8).padStart(3, '0')}`
    })
    if (!points.includes(escaped)) return
    throw fileFault(path, 'write', Object.assign(new Error('mount point'), { code: 'EBUSY' }))
  }
}

async function statOf(path: string): Promise<Stats | undefined> {
  try {
    return await stat(path)
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
    throw fileFault(path, 'read', error)
  }
}

function warning(stats: Stats | undefined): string {
  if (stats === undefined || (stats.mode & 0o004) === 0) return ''
  const mode = (stats.mode & 0o777).toString(8)
  return ` (which everybody on this machine can read, mode ${mode}: chmod 600)`
}
