/** A TCP relay that can go dead without a word, as a host that loses its power does. */
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

export interface Relay {
  readonly port: number
  /** From now on nothing passes on the connections there are; new ones work. */
  cutOff(): void
  close(): Promise<void>
}

/**
 * Relays 127.0.0.1:port (a free one) to a port of this machine. `onConnection` is given each client's
 * socket before anything is read from it. `from` is the address that the far side sees.
 */
export async function startRelay(
  to: number,
  onConnection: (near: Socket) => void = () => {},
  from = '127.0.0.1',
): Promise<Relay> {
  const sockets = new Set<Socket>()
  const server = createServer((near) => {
    const far = connect({ host: '127.0.0.1', port: to, localAddress: from })
    onConnection(near)
    near.pipe(far).pipe(near)
    for (const socket of [near, far]) {
      sockets.add(socket)
      socket.on('error', () => {})
      socket.on('close', () => sockets.delete(socket))
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    cutOff() {
      for (const socket of sockets) socket.unpipe().pause()
    },
    async close() {
      const closed = once(server, 'close')
      server.close()
      for (const socket of sockets) socket.destroy()
      await closed
    },
  }
}
