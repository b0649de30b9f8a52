/** Sockets to a gateway on which a test writes whatever it likes. */
import { once } from 'node:events'
import { connect as connectTcp, type Socket } from 'node:net'
import { connect as connectTls, type TLSSocket } from 'node:tls'
import { eventually } from './eventually.ts'
import type { TestGateway } from './gateway.ts'

/** Connects without a word. */
export async function openTcp(address: string, localAddress?: string): Promise<Socket> {
  const { hostname, port } = new URL(`http://${address}`)
  const socket = connectTcp({
    host: hostname,
    port: Number(port),
    ...(localAddress === undefined ? {} : { localAddress }),
  })
  socket.on('error', () => {})
  // Left open by a test that fails, it must not keep the process alive.
  socket.unref()
  await once(socket, 'connect')
  return socket
}

/** Connects and shakes hands; speaks h2 on the gRPC port and HTTP/1.1 on the other unless told. */
export async function openTls(
  { addresses, caPem }: Pick<TestGateway, 'addresses' | 'caPem'>,
  port: 'grpc' | 'http',
  protocol = port === 'grpc' ? 'h2' : 'http/1.1',
  localAddress?: string,
): Promise<TLSSocket> {
  const socket = connectTls({
    socket: await openTcp(addresses[port], localAddress),
    ca: caPem,
    servername: 'localhost',
    ALPNProtocols: [protocol],
  })
  socket.on('error', () => {})
  await once(socket, 'secureConnect')
  return socket
}

/** All that comes until the other side hangs up. */
export async function textUntilClosed(socket: Socket): Promise<string> {
  const chunks: Buffer[] = []
  socket.on('data', (chunk: Buffer) => chunks.push(chunk))
  await eventually(() => socket.closed, 'the other side hang up')
  return Buffer.concat(chunks).toString('latin1')
}
