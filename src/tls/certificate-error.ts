/** A certificate, key or CA file that cannot be used. The message names the file and what was expected. Exit code 64. */
export class CertificateError extends Error {
  override readonly name = 'CertificateError'
  readonly path: string

  constructor(path: string, message: string, options?: ErrorOptions) {
    super(`${path}: ${message}`, options)
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
