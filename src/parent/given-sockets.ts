/**
 * Listening sockets that the starter of the process has opened for it, by systemd's protocol
 * (sd_listen_fds(3)): descriptors from 3 on, as many as LISTEN_FDS says, named by LISTEN_FDNAMES,
 * meant for the process LISTEN_PID.
 */
import { fstatSync } from 'node:fs'

/** What a socket may be for. */
export const SOCKET_NAMES = ['grpc', 'http', 'admin'] as const
export type SocketName = (typeof SOCKET_NAMES)[number]

/** The number of the descriptor, by what it is for. */
export type GivenSockets = Readonly<Partial<Record<SocketName, number>>>

/** The sockets given cannot be used; the message says why in words for the operator. */
export class GivenSocketsError extends Error {
  override readonly name = 'GivenSocketsError'
}

/** The first descriptor behind stdin, stdout and stderr. */
export const FIRST_DESCRIPTOR = 3
const VARIABLES = ['LISTEN_FDS', 'LISTEN_PID', 'LISTEN_FDNAMES', 'LISTEN_PIDFDID'] as const
const NAMES_IN_WORDS = SOCKET_NAMES.join(', ')

/** What was found. */
export interface Given {
  /** Undefined where none were given. */
  readonly sockets: GivenSockets | undefined
  /** Something that is probably not meant, as a sentence. */
  readonly notice?: string
}

/**
 * Reads the variables and removes them, so that no program started from here takes the sockets for
 * its own. `forPid` is the process they must be meant for.
 * @throws GivenSocketsError for a wrong number, an unknown or doubled name, and for a descriptor that
 * is no socket.
 */
export function takeGivenSockets(env: Record<string, string | undefined>, forPid: number): Given {
  const { LISTEN_FDS: fds, LISTEN_PID: pid, LISTEN_FDNAMES: fdNames } = env
  for (const name of VARIABLES) delete env[name]
  if (fds === undefined) return { sockets: undefined }
  if (pid !== String(forPid)) {
    const whose = pid === undefined ? 'LISTEN_PID is missing' : `LISTEN_PID is ${pid}`
    return {
      sockets: undefined,
      notice: `Sockets were given to another process: ${whose}, and this is process ${forPid}. They are left alone; start tollgate itself, not npm or a shell, to pass sockets to it`,
    }
  }
  const count = /^\d{1,4}$/.test(fds) ? Number(fds) : undefined
  if (count === undefined) {
    throw new GivenSocketsError(`LISTEN_FDS=${JSON.stringify(fds)}: expected a number of sockets`)
  }
  const names = fdNames === undefined || fdNames === '' ? [] : fdNames.split(':')
  if (names.length !== count) {
    throw new GivenSocketsError(
      `LISTEN_FDNAMES=${JSON.stringify(fdNames ?? '')} has ${names.length} names for the ${count} sockets of LISTEN_FDS; expected a name for each: ${NAMES_IN_WORDS}`,
    )
  }
  const sockets: Partial<Record<SocketName, number>> = {}
  for (const [at, name] of names.entries()) {
    if (!isSocketName(name)) {
      throw new GivenSocketsError(
        `the socket ${JSON.stringify(name)}: expected one of ${NAMES_IN_WORDS}; with systemd, FileDescriptorName= in the socket's unit names it`,
      )
    }
    if (sockets[name] !== undefined) {
      throw new GivenSocketsError(
        `two sockets are called ${name}; expected one of each: ${NAMES_IN_WORDS}`,
      )
    }
    const descriptor = FIRST_DESCRIPTOR + at
    assertSocket(name, descriptor)
    sockets[name] = descriptor
  }
  return { sockets }
}

/** The variables that give these sockets to a child, in the order of their descriptors. */
export function variablesFor(
  names: readonly SocketName[],
  forPid: number,
): Readonly<Record<string, string>> {
  return {
    LISTEN_FDS: String(names.length),
    LISTEN_PID: String(forPid),
    LISTEN_FDNAMES: names.join(':'),
  }
}

function isSocketName(name: string): name is SocketName {
  return SOCKET_NAMES.some((known) => known === name)
}

function assertSocket(name: SocketName, descriptor: number): void {
  let isSocket: boolean
  try {
    isSocket = fstatSync(descriptor).isSocket()
  } catch {
    throw new GivenSocketsError(
      `the socket ${name}: descriptor ${descriptor} is not open; expected a listening TCP socket`,
    )
  }
  if (!isSocket) {
    throw new GivenSocketsError(
      `the socket ${name}: descriptor ${descriptor} is no socket; expected a listening TCP socket`,
    )
  }
}
