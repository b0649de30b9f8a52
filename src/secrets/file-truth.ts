/** A token file as the source of truth: read whole, and replaced only where nobody wrote in between. */
import { hash } from 'node:crypto'
import { editFile, readTextFile } from './file-edit.ts'
import type { Source, Truth, Version } from './truth.ts'

/** The version of a file that is not there. */
const ABSENT = 'absent'

export class FileTruth implements Truth, Source {
  readonly place: string
  readonly #path: string

  /** `place` names it in messages. */
  constructor(path: string, place = path) {
    this.#path = path
    this.place = place
  }

  async read(): Promise<readonly Version[]> {
    return [await this.readCurrent()]
  }

  /** Its version is the digest of its text. @throws {FileFault} in words. */
  async readCurrent(): Promise<Version> {
    const text = await readTextFile(this.#path)
    return { text, version: versionOf(text) }
  }

  /**
   * Replaces the file in one step, or makes it. Compares under the lock that every editor of the
   * file takes. @throws {FileFault} in words, `ELOCKED` where another editor does not end.
   */
  async write(text: string, version: string): Promise<boolean> {
    try {
      await editFile(this.#path, (found) => {
        if (versionOf(found) !== version) throw new Overtaken()
        return text
      })
      return true
    } catch (error) {
      if (error instanceof Overtaken) return false
      throw error
    }
  }

  async close(): Promise<void> {}
}

/** Somebody has written in between. */
class Overtaken extends Error {}

function versionOf(text: string | undefined): string {
  return text === undefined ? ABSENT : hash('sha256', text)
}
