/** What went wrong through no fault of ours: sentences for the operator, and the exit code. */
export interface Mistake {
  readonly lines: readonly string[]
  readonly exitCode: number
}

/** Exit codes of sysexits(3), by the name of the error. */
const EXIT_CODES: Readonly<Record<string, number>> = {
  ConfigError: 64,
  CertificateError: 64,
  TokenSetError: 64,
  FileFault: 66,
  SourceFault: 69,
  ControlError: 69,
  StateDirError: 73,
  GivenSocketsError: 64,
  AdoptionError: 64,
}
const EXIT_UNAVAILABLE = 69
const EXIT_CANNOT_CREATE = 73
const EXIT_NO_PERMISSION = 77

const LISTEN_OPTIONS = 'TOLLGATE_GRPC_LISTEN, TOLLGATE_HTTP_LISTEN or TOLLGATE_ADMIN_LISTEN'

const FILE_REASONS: Readonly<Record<string, string>> = {
  EACCES: 'this user may not',
  EPERM: 'this user may not',
  EROFS: 'the file system is read-only',
  ENOSPC: 'the disk is full',
  EDQUOT: 'the quota is used up',
  ENOTDIR: 'a part of the path is a file',
  ENOENT: 'there is no such file or directory',
  EISDIR: 'it is a directory',
}

/** The mistake behind an error, or undefined for a bug of ours, which deserves its stack. */
export function mistakeOf(error: unknown): Mistake | undefined {
  if (!(error instanceof Error)) return undefined
  const exitCode = Object.hasOwn(EXIT_CODES, error.name) ? EXIT_CODES[error.name] : undefined
  if (exitCode !== undefined) {
    const lines = error.message.split('\n')
    // A gateway is running there already, or else the directory cannot be written.
    const isUnwritable = error.name === 'ControlError' && error.cause !== undefined
    return { lines, exitCode: isUnwritable ? EXIT_CANNOT_CREATE : exitCode }
  }
  const { code = '', syscall = '', path } = error as NodeJS.ErrnoException
  if (syscall === 'listen' || syscall === 'bind') return listenMistake(error)
  const reason = Object.hasOwn(FILE_REASONS, code) ? FILE_REASONS[code] : undefined
  if (path === undefined || reason === undefined) return undefined
  return { lines: [`${path}: cannot ${syscall}: ${reason}`], exitCode: EXIT_CANNOT_CREATE }
}

function listenMistake(
  error: NodeJS.ErrnoException & { address?: string; port?: number },
): Mistake {
  const { code, address = '', port } = error
  const host = address.includes(':') ? `[${address}]` : address
  const where = port === undefined ? address : `${host}:${port}`
  const otherwise = `choose another with ${LISTEN_OPTIONS}`
  if (code === 'EADDRINUSE') {
    const finder = port === undefined ? '' : ` (find it: ss -ltnp 'sport = :${port}')`
    return {
      lines: [`${where} is taken by another program${finder}; stop that, or ${otherwise}`],
      exitCode: EXIT_UNAVAILABLE,
    }
  }
  if (code === 'EACCES') {
    return {
      lines: [`${where}: this user may not open that port; ${otherwise}, 1024 or above`],
      exitCode: EXIT_NO_PERMISSION,
    }
  }
  const why =
    code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND'
      ? 'this machine has no such address'
      : code === 'EAFNOSUPPORT'
        ? 'this machine has no IPv6; write 0.0.0.0 in place of [::]'
        : (code ?? error.message)
  return { lines: [`${where}: cannot listen: ${why}; ${otherwise}`], exitCode: EXIT_UNAVAILABLE }
}
