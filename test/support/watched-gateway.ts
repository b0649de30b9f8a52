/**
 * A gateway before a real collector, with everything coming and going that its metrics tell of: two
 * SDKs, tokens old, new, late and ended, JWTs, waits, refusals of many kinds, strangers and a ban.
 */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { Child } from './child.ts'
import { Client, type Export, type Way } from './client.ts'
import { eventually } from './eventually.ts'
import { sumOf } from './exposition.ts'
import { AUDIENCE, startOidcServer } from './oidc-server.ts'
import { freePorts } from './otelcol.ts'
import { rewrite } from './prometheus.ts'
import { type SdkAgent, startSdkAgent } from './sdk-agent.ts'
import { signingKey } from './signing.ts'
import { type Gateway, spawnGateway } from './spawn-gateway.ts'
import { ROOT, tool } from './tools.ts'

const HOUR_MS = 3_600_000

/** An ISO time so many hours from now. */
const hence = (hours: number) => new Date(Date.now() + hours * HOUR_MS).toISOString()

/** The tokens: each is its id and a tail. */
const TOKENS = [
  { id: 'shop-1', holder: 'shop', createdAt: hence(-900), retiringAt: hence(-1) },
  { id: 'shop-2', holder: 'shop', createdAt: hence(-2) },
  { id: 'robot-0', holder: 'robot', createdAt: hence(-900), expiresAt: hence(-24) },
  { id: 'robot-1', holder: 'robot', createdAt: hence(-800), expiresAt: hence(120) },
  { id: 'laptop-0', holder: 'laptop', createdAt: hence(-900), expiresAt: hence(-0.1) },
  { id: 'sensor-1', holder: 'sensor', createdAt: hence(-900), scopes: ['traces'] },
  { id: 'noisy-1', holder: 'noisy', createdAt: hence(-900), limits: { rate: '4/s', burst: 2 } },
] as const

type TokenId = (typeof TOKENS)[number]['id']

const secretOf = (id: TokenId) => `${id}-of-the-dashboards-0123456789`

/** What runs. */
export interface WatchedGateway {
  readonly gateway: Gateway
  /** `host:port` of the collector's pages: about itself, and what agents sent. */
  readonly collectorOwn: string
  readonly collectorAgents: string
}

/** Starts it all, until the end of the test; traffic goes on as long. */
export async function startWatchedGateway(t: TestContext, folder: string): Promise<WatchedGateway> {
  const ports = await freePorts(5)
  const [grpc = '', http = '', collectorOwn = '', collectorAgents = '', health = ''] = ports.map(
    (port) => `127.0.0.1:${port}`,
  )
  const config = join(folder, 'collector.yaml')
  await rewrite(join(ROOT, 'docker/collector/config.yaml'), config, (text) =>
    pointTo(text, {
      '0.0.0.0:4317': grpc,
      '0.0.0.0:4318': http,
      '0.0.0.0:8889': collectorAgents,
      '0.0.0.0:13133': health,
      'host: 0.0.0.0, port: 8888': `host: 127.0.0.1, port: ${ports[2]}`,
    }),
  )
  const collector = new Child(tool('otelcol'), ['--config', config])
  // Ended the other way round than started: nobody sends to what has gone.
  const ends = [
    async () => {
      collector.kill('SIGTERM')
      await collector.exit
    },
  ]
  t.after(async () => {
    for (const end of ends.toReversed()) await end()
  })
  const issuer = await startOidcServer([await signingKey('key-1')])
  ends.push(() => issuer[Symbol.asyncDispose]())
  const tokensFile = join(folder, 'tokens.json')
  const tokens = TOKENS.map((token) => ({
    ...token,
    sha256: createHash('sha256').update(secretOf(token.id)).digest('hex'),
  }))
  await writeFile(tokensFile, JSON.stringify({ tokens }), { mode: 0o600 })
  const gateway = await spawnGateway({
    collector: { grpc, http },
    env: {
      TOLLGATE_TOKENS: '',
      TOLLGATE_TOKENS_FILE: tokensFile,
      TOLLGATE_TOKEN_GRACE: '1h',
      TOLLGATE_HOLD: '1s',
      // All of them come from one address.
      TOLLGATE_RATE: 'off',
      TOLLGATE_BAN_EXEMPT: '127.0.0.1/32',
      TOLLGATE_JWT_ISSUERS: issuer.issuer,
      TOLLGATE_JWT_AUDIENCE: AUDIENCE,
    },
  })
  ends.push(() => gateway[Symbol.asyncDispose]())
  await eventually(
    async () => sumOf(await gateway.metrics(), 'tollgate_collector_up') === 1,
    'the gateway to find the collector',
  )
  const { certificate } = gateway
  const agents = [
    startSdkAgent({
      ...{ protocol: 'grpc', address: gateway.grpc, certificate, token: secretOf('shop-2') },
      ...{ service: 'web-shop', host: 'web-1' },
    }),
    startSdkAgent({
      ...{ protocol: 'http', address: gateway.http, certificate, token: secretOf('robot-1') },
      ...{ service: 'robot', host: 'pi-1' },
    }),
  ]
  ends.push(keepSending(gateway, agents, () => issuer.token('shop')))
  return { gateway, collectorOwn, collectorAgents }
}

/** Puts other addresses in place of those in a configuration, each of which has to be there. */
function pointTo(text: string, addresses: Readonly<Record<string, string>>): string {
  return Object.entries(addresses).reduce((changed, [from, to]) => {
    if (!changed.includes(from)) throw new Error(`the collector's configuration has no ${from}`)
    return changed.replaceAll(from, to)
  }, text)
}

/** Sends every kind of request four times a second. Returns what ends that. */
function keepSending(
  gateway: Gateway,
  agents: readonly SdkAgent[],
  jwt: () => Promise<string>,
): () => Promise<void> {
  const caPem = readFileSync(gateway.certificate, 'utf8')
  const connect = (way: Way, localAddress?: string) =>
    new Client({
      way,
      address: way === 'gRPC' ? gateway.grpc : gateway.http,
      caPem,
      token: secretOf('shop-2'),
      ...(localAddress === undefined ? {} : { localAddress }),
    })
  const clients = [connect('gRPC'), connect('HTTP/1.1')]
  const stranger = connect('HTTP/1.1', '127.0.0.9')
  const requests: Export[] = [
    { token: secretOf('shop-1') },
    { token: secretOf('robot-0') },
    { token: secretOf('laptop-0'), signal: 'logs' },
    { token: secretOf('sensor-1') },
    { token: secretOf('sensor-1'), signal: 'metrics' },
    { token: secretOf('noisy-1') },
    { token: 'a-token-that-nobody-was-given-0123456789' },
    { token: null },
  ]
  const round = async () => {
    for (const agent of agents) agent.work()
    // Its connection is cut off once it is banned: that is what it is for.
    const knock = stranger.send({ token: 'guessed-0123456789abcdef' }).catch(() => undefined)
    const answers = clients.flatMap((client) => requests.map((request) => client.send(request)))
    await Promise.all([
      knock,
      ...answers,
      ...clients.map(async (client) => client.send({ token: await jwt() })),
    ])
  }
  let failure: unknown
  const rounds = new Set<Promise<void>>()
  const timer = setInterval(() => {
    const running = round()
      .catch((error: unknown) => {
        failure ??= error
      })
      .finally(() => rounds.delete(running))
    rounds.add(running)
  }, 250)
  return async () => {
    clearInterval(timer)
    await Promise.all(rounds)
    for (const client of [...clients, stranger]) client.close()
    for (const agent of agents) await agent.stop()
    if (failure !== undefined) throw failure
  }
}
