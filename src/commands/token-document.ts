/** The token file as the commands edit it: entries as written, checked before and after. */
import { editFile } from '../secrets/file-edit.ts'
import { FileFault } from '../secrets/file-fault.ts'
import { parseTokenSet } from '../stores/token-set.ts'
import type { TokenEntry } from './token-entry.ts'

/** An input or a file that is not right. */
export class DataError extends Error {}

/** The file is not there, and the command needs one. */
export function noFile(file: string): FileFault {
  const message = `${file}: no such file; tollgate token create makes it`
  return new FileFault(file, message, 'NO_FILE', undefined)
}

/**
 * Adds a token to the file, and makes the file where there is none.
 *
 * @throws {DataError} where the file has this very token already; `TokenSetError`, `FileFault`.
 */
export async function addEntry(file: string, entry: TokenEntry): Promise<void> {
  await editFile(file, (text) => {
    const tokens = documentFrom(text, file).tokens
    const twin = tokens.find(({ sha256 }) => sha256?.toLowerCase() === entry.sha256)
    if (twin !== undefined)
      throw new DataError(`this token is already in ${file}, with the ID "${twin.id}"`)
    const changed = textOf([...tokens, entry])
    parseTokenSet(changed, file)
    return changed
  })
}

/** The file as it stands. No file, an empty one and `{"tokens": []}` are where a first token goes. */
export function documentFrom(text: string | undefined, file: string): { tokens: TokenEntry[] } {
  if (text === undefined || text.trim() === '') return { tokens: [] }
  const bare = text.startsWith('\ufeff') ? text.slice(1) : text
  if (!/^\s*\{\s*"tokens"\s*:\s*\[\s*\]\s*\}\s*$/.test(bare)) parseTokenSet(text, file)
  return JSON.parse(bare)
}

/** The file with these tokens. */
export function textOf(tokens: readonly TokenEntry[]): string {
  return `${JSON.stringify({ tokens }, null, 2)}\n`
}
