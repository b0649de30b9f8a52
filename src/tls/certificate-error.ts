/** What goes wrong with certificates and the directory they are kept in, in words. */

interface Details extends ErrorOptions {
  /** The command that shows what is wrong. */
  readonly look?: string
}

/** A certificate, key or CA file that cannot be used. The message names the file and what was expected. Exit code 64. */
export class CertificateError extends Error {
  override readonly name = 'CertificateError'
  readonly path: string

  constructor(path: string, message: string, { look, ...options }: Details = {}) {
    super(`${path}: ${message}${look === undefined ? '' : `. To see it: ${look}`}`, options)
    this.path = path
  }
}

/** The state directory cannot be made, read or written. Exit code 73. */
export class StateDirError extends Error {
  override readonly name = 'StateDirError'
  readonly path: string

  constructor(path: string, message: string, options?: ErrorOptions) {
    super(`${path}: ${message}`, options)
    this.path = path
  }
}

/** A path as a shell takes it. */
export function inShell(path: string): string {
  return /^[\w./@%+=:,-]+$/.test(path) ? path : `'${path.replaceAll("'", "'\\''")}'`
}
