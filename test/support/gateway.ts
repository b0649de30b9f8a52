/** The gateway inside the test's own process: real sockets, real files, a scripted collector behind it. */
import assert from 'node:assert/strict'
import { closeSync, openSync } from 'node:fs'
import { mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { parseConfig } from '../../src/config/config.ts'
import { type Gateway, openGateway } from '../../src/gateway.ts'
import { createLog } from '../../src/observe/log.ts'
import { digestOf } from '../../src/stores/token-secret.ts'
import { writeCertificate } from './certs.ts'
import { Client, type ClientOptions, type Way } from './client.ts'
import { type CollectorSettings, type ScriptedCollector, startCollector } from './collector.ts'
import { type Page, sumOf } from './exposition.ts'
import { assertBalanced, isQuiet, outcomesOf, readMetrics, untilMetrics } from './metrics.ts'

/** The token of tests that do not care about tokens. */
export const TOKEN = 'a-token-of-the-tests-0123456789abcdef'

/** An entry of the token file, with the token in plain instead of its digest. */
export interface TestToken {
  readonly token: string
  readonly id?: string
  readonly holder?: string
  readonly [field: string]: unknown
}

export interface TestGatewayOptions {
  /** `TOLLGATE_*` without the prefix, over the ones set here. */
  readonly env?: Readonly<Record<string, string>>
  /** Default: `TOKEN` alone. */
  readonly tokens?: readonly TestToken[]
  /** Which addresses of the collector the gateway is given. Default both. */
  readonly speaks?: 'both' | 'grpc' | 'http'
  /** A collector that runs already; it is then not stopped. */
  readonly collector?: ScriptedCollector
  readonly collectorSettings?: CollectorSettings
  /** A folder that outlives this gateway; default one of its own. */
  readonly folder?: string
  /** Requests that are still open at the end, to be cut off. Default none. */
  readonly abandons?: number
  /** Outcomes `internal` are defects, and fail every test that does not expect them. */
  readonly allowsInternal?: boolean
}

export interface TestGateway {
  /** `host:port` of each listener. */
  readonly addresses: { readonly grpc: string; readonly http: string; readonly admin: string }
  readonly caPem: string
  readonly collector: ScriptedCollector
  /** Its TOLLGATE_STATE_DIR; tokens, certificate and log are in it too. */
  readonly folder: string
  readonly tokensFile: string
  /** A client of this gateway, closed in the end. gRPC goes to the gRPC port, the rest to the HTTP port. */
  connect(way: Way, options?: Partial<ClientOptions>): Client
  metrics(): Promise<Page>
  /** Requests by outcome, over protocols and signals. */
  outcomes(): Promise<Record<string, number>>
  /** Reads metrics until something is true of them. */
  until(isTrue: (page: Page) => boolean, what: string): Promise<Page>
  /** Asserts arrivals = outcomes + in flight. */
  assertInvariant(): Promise<void>
  /** Replaces the token file in one step, as a secrets mount does. */
  writeTokens(tokens: readonly TestToken[]): Promise<void>
  reload(): Promise<void>
  /** What was logged so far, each line parsed. */
  log(): Promise<Record<string, unknown>[]>
  logText(): Promise<string>
  drain(why: string): Promise<number>
  /** Closes the clients, asserts that everything has come to rest and the numbers add up, and stops. */
  stop(): Promise<void>
}

/**
 * Starts a gateway on free ports of 127.0.0.1 and waits until it has found the collector. It stops
 * when the test ends, which fails where something was left open or unaccounted for.
 */
export async function startGateway(
  t: Pick<TestContext, 'after'>,
  options: TestGatewayOptions = {},
): Promise<TestGateway> {
  const folder = options.folder ?? (await mkdtemp(join(tmpdir(), 'tollgate-test-')))
  const collector = options.collector ?? (await startCollector(options.collectorSettings))
  const cleanUp = async () => {
    if (options.collector === undefined) await collector.die()
    if (options.folder === undefined) await rm(folder, { recursive: true, force: true })
  }
  try {
    return await start(t, options, { folder, collector, cleanUp })
  } catch (error) {
    await cleanUp()
    throw error
  }
}

async function start(
  t: Pick<TestContext, 'after'>,
  options: TestGatewayOptions,
  surroundings: {
    readonly folder: string
    readonly collector: ScriptedCollector
    cleanUp(): Promise<void>
  },
): Promise<TestGateway> {
  const { folder, collector, cleanUp } = surroundings
  const tokensFile = join(folder, 'test-tokens.json')
  const logPath = join(folder, 'test.log')
  const { certPath, keyPath, caPem } = await writeCertificate(folder)
  const secrets = new Set<string>()
  const writeTokens = async (next: readonly TestToken[]) => {
    for (const { token } of next) secrets.add(token)
    await writeFile(`${tokensFile}.tmp`, tokenSet(next))
    await rename(`${tokensFile}.tmp`, tokensFile)
  }
  await writeTokens(options.tokens ?? [{ token: TOKEN }])
  const env = {
    TOLLGATE_GRPC_LISTEN: '127.0.0.1:0',
    TOLLGATE_HTTP_LISTEN: '127.0.0.1:0',
    TOLLGATE_ADMIN_LISTEN: '127.0.0.1:0',
    TOLLGATE_TLS_CERT: certPath,
    TOLLGATE_TLS_KEY: keyPath,
    TOLLGATE_TOKENS_FILE: tokensFile,
    TOLLGATE_STATE_DIR: folder,
    ...collectorEnv(collector, options.speaks),
    ...Object.fromEntries(
      Object.entries(options.env ?? {}).map(([name, value]) => [`TOLLGATE_${name}`, value]),
    ),
  }
  const config = parseConfig(env, [], { cwd: folder })
  const logFd = openSync(logPath, 'a')
  const log = createLog({ level: 'debug', format: 'json', fd: logFd })
  const gateway = await openGateway(config, { version: '0.0.0-test', log })
  const addresses = known(gateway.addresses)
  const clients: Client[] = []
  let drained: Promise<number> | undefined
  let stopped: Promise<void> | undefined

  const metrics = () => readMetrics(addresses.admin)
  const logText = () => readFile(logPath, 'utf8')
  const drain = (why: string) => {
    drained ??= gateway.drain(why)
    return drained
  }
  const finish = async () => {
    for (const client of clients) client.close()
    try {
      if (drained === undefined) {
        const page = await untilMetrics(
          metrics,
          (now) => options.abandons !== undefined || isQuiet(now),
          'everything at rest',
        )
        assertBalanced(page)
        if (options.allowsInternal !== true) assert.equal(outcomesOf(page).internal, undefined)
      }
      assert.equal(await drain('the test ends'), options.abandons ?? 0, 'requests cut off')
      const text = await logText()
      for (const secret of secrets) assert.ok(!text.includes(secret), 'a token is in the log')
    } finally {
      // A test that failed must not leave a gateway that keeps the process alive.
      await drain('the test failed')
      closeSync(logFd)
      await cleanUp()
    }
  }
  const stop = () => {
    stopped ??= finish()
    return stopped
  }
  t.after(stop)
  await untilMetrics(metrics, (page) => sumOf(page, 'tollgate_collector_up') === 1, 'a collector')

  return {
    addresses,
    caPem,
    collector,
    folder,
    tokensFile,
    connect(way, given = {}) {
      const address = way === 'gRPC' ? addresses.grpc : addresses.http
      const client = new Client({ way, address, caPem, token: TOKEN, ...given })
      clients.push(client)
      return client
    },
    metrics,
    outcomes: async () => outcomesOf(await metrics()),
    until: (isTrue, what) => untilMetrics(metrics, isTrue, what),
    assertInvariant: async () => assertBalanced(await metrics()),
    writeTokens,
    reload: () => gateway.reload(),
    log: async () =>
      (await logText())
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => JSON.parse(line) as Record<string, unknown>),
    logText,
    drain,
    stop,
  }
}

/** The JSON of a token set. */
export function tokenSet(tokens: readonly TestToken[]): string {
  const entries = tokens.map(({ token, ...fields }, index) => ({
    id: `test-${index}`,
    holder: 'tests',
    ...fields,
    sha256: digestOf(token),
  }))
  return JSON.stringify({ tokens: entries })
}

function collectorEnv(
  { grpcPort, httpPort }: ScriptedCollector,
  speaks: TestGatewayOptions['speaks'] = 'both',
): Record<string, string> {
  const grpc = { TOLLGATE_COLLECTOR_GRPC: `http://127.0.0.1:${grpcPort}` }
  const http = { TOLLGATE_COLLECTOR_HTTP: `http://127.0.0.1:${httpPort}` }
  if (speaks === 'both') return { ...grpc, ...http }
  return speaks === 'grpc' ? grpc : http
}

function known(addresses: Gateway['addresses']): TestGateway['addresses'] {
  const { grpc = '', http = '', admin } = addresses
  if (admin === undefined) throw new Error('tests need the admin port')
  return { grpc, http, admin }
}
