/** A way for clients in the test's own process to what listens in, or can be reached from, another namespace. */
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { Child } from './child.ts'

/** A network namespace, and a folder for sockets. An engine is one. */
export interface Place {
  readonly folder: string
  /** A program with its arguments, as one that runs in the namespace. */
  inside(program: string, ...args: string[]): readonly [string, string[]]
}

/** Runs in the namespace: whoever connects to the unix socket is led on to the address. */
const LEAD_ON = `
const { connect, createServer } = require('node:net')
const [path, host, port] = process.argv.slice(1)
const server = createServer({ allowHalfOpen: true }, (near) => {
  const far = connect({ host, port: Number(port), allowHalfOpen: true })
  near.pipe(far).pipe(near)
  near.on('error', () => far.destroy())
  far.on('error', () => near.destroy())
})
server.listen(path, () => console.log('leads on'))
`
let made = 0

/** A port of 127.0.0.1 that leads to host:port as a client inside the namespace sees it, until the test ends. */
export async function reach(
  t: TestContext,
  place: Place,
  host: string,
  port: number,
): Promise<number> {
  made += 1
  const path = join(place.folder, `reach-${made}.sock`)
  const [program, args] = place.inside(process.execPath, '-e', LEAD_ON, path, host, String(port))
  const child = new Child(program, args)
  const sockets = new Set<Socket>()
  const server = createServer({ allowHalfOpen: true }, (near) => {
    const far = connect({ path, allowHalfOpen: true })
    near.pipe(far).pipe(near)
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(socket)
      socket.on('error', () => other.destroy())
      socket.on('close', () => sockets.delete(socket))
    }
  })
  t.after(async () => {
    server.close()
    for (const socket of sockets) socket.destroy()
    child.kill('SIGKILL')
    await child.exit
  })
  await child.line('stdout', (line) => line === 'leads on' || undefined)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}
