/** A gateway that gets its certificate from Pebble, and clients that look at what it serves. */
import { once } from 'node:events'
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls'
import { Client, type Way } from './client.ts'
import { startCollector } from './collector.ts'
import { NAME, type Pebble } from './pebble.ts'
import { runTollgate } from './run-command.ts'
import { type Gateway, spawnGateway, TOKEN } from './spawn-gateway.ts'

export const CHALLENGES = ['http-01', 'tls-alpn-01'] as const
export type ChallengeName = (typeof CHALLENGES)[number]

/** What the gateway is told, its ports where Pebble looks for challenges. */
export function acmeEnv(
  { directory, caPath, httpPort, tlsPort }: Pebble,
  challenge: ChallengeName,
  more: Readonly<Record<string, string>> = {},
): Readonly<Record<string, string>> {
  return {
    TOLLGATE_TLS_CERT: '',
    TOLLGATE_TLS_KEY: '',
    TOLLGATE_ACME: directory,
    TOLLGATE_ACME_CA: caPath,
    TOLLGATE_ACME_DOMAINS: NAME,
    TOLLGATE_ACME_TERMS: 'agreed',
    TOLLGATE_ACME_CHALLENGE: challenge,
    TOLLGATE_ACME_HTTP_LISTEN: `127.0.0.1:${httpPort}`,
    TOLLGATE_HTTP_LISTEN: `127.0.0.1:${tlsPort}`,
    ...more,
  }
}

/** A gateway with a scripted collector behind it; both end when it is disposed of. */
export async function startAcmeGateway(
  pebble: Pebble,
  challenge: ChallengeName,
  more: Readonly<Record<string, string>> = {},
): Promise<Gateway> {
  const collector = await startCollector()
  try {
    const gateway = await spawnGateway({
      collector: { grpc: `127.0.0.1:${collector.grpcPort}` },
      env: acmeEnv(pebble, challenge, more),
    })
    const dispose = gateway[Symbol.asyncDispose].bind(gateway)
    return Object.defineProperty(gateway, Symbol.asyncDispose, {
      value: async () => {
        await dispose()
        await collector.die()
      },
    })
  } catch (error) {
    await collector.die()
    throw error
  }
}

/** A handshake with a port, as a client that asks for the name. */
export async function shakeHands(address: string, options: ConnectionOptions): Promise<TLSSocket> {
  const [host, port] = address.split(':')
  const socket = connect({ host, port: Number(port), servername: NAME, ...options })
  await once(socket, 'secureConnect')
  socket.on('error', () => {})
  return socket
}

/** A client that keeps its connections, and uses the name. */
export function clientOf(gateway: Gateway, way: Way, ca: string): Client {
  const address = way === 'gRPC' ? gateway.grpc : gateway.http
  return new Client({ way, address, caPem: ca, token: TOKEN, tls: { servername: NAME } })
}

/** The fingerprint of the certificate that a new connection gets. */
export async function servedBy(address: string): Promise<string> {
  const socket = await shakeHands(address, { rejectUnauthorized: false })
  const served = socket.getPeerX509Certificate()?.fingerprint256 ?? ''
  // In TLS 1.3 the server is not done yet: going away at once would be a failed handshake to it.
  socket.resume().end()
  await once(socket, 'close')
  return served
}

/** `tollgate cert …` for a gateway. */
export async function cert(
  { folder }: Pick<Gateway, 'folder'>,
  ...args: readonly string[]
): Promise<{ readonly code: number | null; readonly stdout: string; readonly stderr: string }> {
  return await runTollgate(['cert', ...args, '--state-dir', folder])
}

/** What /readyz says of the certificate. */
export async function readyWords({ admin }: Pick<Gateway, 'admin'>): Promise<{
  readonly isReady: boolean
  readonly words: string
}> {
  const answer = await fetch(`http://${admin}/readyz`)
  const { conditions } = (await answer.json()) as {
    conditions: readonly { readonly name: string; readonly words: string }[]
  }
  const words = conditions.find(({ name }) => name === 'certificate')?.words ?? ''
  return { isReady: answer.ok, words }
}
