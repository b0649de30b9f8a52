/** What went wrong with a file, in words for the person who can put it right. */

const WORDS: Readonly<Record<string, string>> = {
  ENOENT: 'no such file or directory',
  EACCES: 'permission denied',
  EPERM: 'not permitted',
  EISDIR: 'is a directory, not a file',
  ENOTDIR: 'part of the path is a file, not a directory',
  ELOOP: 'symbolic links go round in a circle',
  ENAMETOOLONG: 'the name is too long',
  EROFS: 'the file system is read-only',
  ENOSPC: 'the disk is full',
  EDQUOT: 'the disk quota is used up',
  EFBIG: 'the file would be too large',
  EIO: 'the disk reports an error',
  EMFILE: 'this process has too many files open',
  ENFILE: 'the machine has too many files open',
  EBUSY: 'is a mount point of its own and cannot be replaced; mount its directory instead',
  EXDEV: 'is on another file system than its directory',
}

/** A file that could not be read or written. `code` is the system's (`ENOSPC`), where it gave one. */
export class FileFault extends Error {
  override readonly name = 'FileFault'
  readonly path: string
  readonly code: string | undefined

  constructor(path: string, message: string, code: string | undefined, cause: unknown) {
    super(message, { cause })
    this.path = path
    this.code = code
  }
}

/** Words for a system error; any other error is passed on as it is. */
export function fileFault(path: string, doing: 'read' | 'write', error: unknown): Error {
  if (!(error instanceof Error)) return new FileFault(path, `${path}: ${error}`, undefined, error)
  const code = 'code' in error && typeof error.code === 'string' ? error.code : undefined
  if (code === undefined || error instanceof FileFault) return error
  return new FileFault(path, `cannot ${doing} ${path}: ${WORDS[code] ?? code}`, code, error)
}
