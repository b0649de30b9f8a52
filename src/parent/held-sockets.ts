/**
 * The sockets that the parent holds. They are bound here and never accepted from: the first gateway
 * makes them listen, and from then on the kernel keeps the queue of connections for as long as this
 * process has them open, whoever comes and goes behind.
 */
import { lookup } from 'node:dns/promises'
// By the default export: an older Node.js that lacks BoundSocket could not even load a named one.
import net, { isIP, isIPv6 } from 'node:net'
import { type GivenSockets, SOCKET_NAMES, type SocketName } from './given-sockets.ts'

/** An address to listen on. Port 0 takes a free one. */
export interface ListenAddress {
  /** An IP address without brackets, or a host name. */
  readonly host: string
  readonly port: number
}

/** A socket that is open. */
export interface HeldSocket {
  readonly name: SocketName
  readonly descriptor: number
  /** `host:port`; undefined for one that was given. */
  readonly address: string | undefined
}

/** Whether this Node.js can bind a socket without accepting from it (24.19 and newer). */
export function canHoldSockets(): boolean {
  const known: unknown = net.BoundSocket
  return typeof known === 'function'
}

/**
 * Binds what is not given. An address that is undefined is off.
 * @throws Node's error (EADDRINUSE, EACCES, ENOTFOUND) where a port cannot be had; what was bound is
 * closed then.
 */
export async function holdSockets(
  addresses: Readonly<Record<SocketName, ListenAddress | undefined>>,
  given: GivenSockets,
): Promise<readonly HeldSocket[]> {
  const bound: net.BoundSocket[] = []
  const held: HeldSocket[] = []
  try {
    for (const name of SOCKET_NAMES) {
      const descriptor = given[name]
      const at = addresses[name]
      if (descriptor !== undefined) held.push({ name, descriptor, address: undefined })
      else if (at !== undefined) {
        const socket = await bind(at)
        bound.push(socket)
        KEPT.push(socket)
        held.push({ name, descriptor: socket.fd(), address: addressOf(socket) })
      }
    }
    return held
  } catch (error) {
    for (const socket of bound) socket.close()
    throw error
  }
}

/** A BoundSocket that nobody refers to is collected, and closed with that. */
const KEPT: net.BoundSocket[] = []

async function bind({ host, port }: ListenAddress): Promise<net.BoundSocket> {
  if (isIP(host) !== 0) return new net.BoundSocket({ host, port })
  try {
    const { address } = await lookup(host)
    return new net.BoundSocket({ host: address, port })
  } catch (error) {
    // For the operator it is one thing: this address cannot be listened on.
    const { code } = error as NodeJS.ErrnoException
    throw code === 'ENOTFOUND' || code === 'EAI_AGAIN'
      ? Object.assign(error as Error, { syscall: 'bind', address: host, port })
      : error
  }
}

function addressOf(socket: net.BoundSocket): string {
  const { address, port } = socket.address()
  return isIPv6(address) ? `[${address}]:${port}` : `${address}:${port}`
}
