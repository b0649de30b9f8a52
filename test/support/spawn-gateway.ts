/** The gateway as a process of its own, as an operator would start it. */
import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Child, type Exit, runToEnd } from './child.ts'
import type { Page } from './exposition.ts'
import { assertBalanced, outcomesOf, readMetrics } from './metrics.ts'
import { ROOT, tool } from './tools.ts'

/** The token of tests that do not care about tokens. */
export const TOKEN = 'a-token-of-the-tests-0123456789abcdef'

export interface GatewayOptions {
  /** `host:port` of the collector's receivers. Both may be left out; then it starts its sandbox. */
  readonly collector?: { readonly grpc?: string; readonly http?: string }
  /** `TOLLGATE_*` variables, over the ones set here. */
  readonly env?: Readonly<Record<string, string>>
  /** Whether clients have to show a certificate. */
  readonly asksCertificate?: boolean
  /** Puts more files into its folder before it starts. */
  readonly prepare?: (folder: string) => Promise<void>
}

/** A running gateway. */
export interface Gateway {
  /** `host:port` of the listeners; they stay the same over a restart. */
  readonly grpc: string
  readonly http: string
  readonly admin: string
  /** Path of the CA certificate that its clients are to trust. */
  readonly certificate: string
  /** Paths of a certificate that the same CA made for clients, and of its key. */
  readonly clientCertificate: string
  readonly clientKey: string
  /** Folder that is its TOLLGATE_STATE_DIR, removed in the end. */
  readonly folder: string
  readonly pid: number
  /** /metrics, read. */
  metrics(): Promise<Page>
  /** Asserts that every request that came is accounted for: arrivals = outcomes + in flight. */
  assertInvariant(): Promise<void>
  /** Requests by outcome, over protocols and signals. */
  outcomes(): Promise<Record<string, number>>
  /** The lines it logged since its (last) start. */
  log(): readonly Readonly<Record<string, unknown>>[]
  /** Waits until an event has been logged so many times since its (last) start. */
  logged(event: string, times: number): Promise<void>
  /** Puts a new certificate and key in place of those it uses, one file after the other. */
  renewCertificate(): Promise<void>
  /** All it wrote, for messages. */
  output(): string
  /** SIGTERM; asserts that it ends with exit code 0. */
  stop(): Promise<void>
  /** Resolves when it has ended by itself, or by a signal of the test. */
  exit(): Promise<Exit>
  /** Starts it again on the same ports. */
  start(): Promise<void>
  /** Stops it if it runs, and removes its folder. */
  [Symbol.asyncDispose](): Promise<void>
}

interface Listening {
  readonly grpc: string
  readonly http: string
  readonly admin: string
}

/** Starts a gateway on free ports of 127.0.0.1 and waits until it listens. */
export async function spawnGateway({
  collector = {},
  env = {},
  asksCertificate = false,
  prepare,
}: GatewayOptions = {}): Promise<Gateway> {
  const folder = await mkdtemp(join(tmpdir(), 'tollgate-gateway-'))
  const files = await makeCertificates(folder)
  await prepare?.(folder)
  let at: Listening = { grpc: '127.0.0.1:0', http: '127.0.0.1:0', admin: '127.0.0.1:0' }
  let child: Child | undefined
  let ended: Child | undefined

  const start = async () => {
    const started = new Child(
      process.execPath,
      ['--disable-warning=ExperimentalWarning', join(ROOT, 'src/main.ts'), 'serve'],
      {
        cwd: folder,
        env: {
          ...withoutOurs(process.env),
          TOLLGATE_GRPC_LISTEN: at.grpc,
          TOLLGATE_HTTP_LISTEN: at.http,
          TOLLGATE_ADMIN_LISTEN: at.admin,
          TOLLGATE_STATE_DIR: folder,
          TOLLGATE_LOG_FORMAT: 'json',
          // Most tests look at the gateway's own process: its signals, its memory, its exit code.
          TOLLGATE_PARENT: 'off',
          TOLLGATE_TLS_CERT: files.certificate,
          TOLLGATE_TLS_KEY: files.key,
          TOLLGATE_TOKENS: `tests=${TOKEN}`,
          ...(asksCertificate
            ? { TOLLGATE_TLS_CLIENT_CA: files.ca, TOLLGATE_TLS_CLIENT_AUTH: 'required' }
            : {}),
          ...(collector.grpc === undefined
            ? {}
            : { TOLLGATE_COLLECTOR_GRPC: `http://${collector.grpc}` }),
          ...(collector.http === undefined
            ? {}
            : { TOLLGATE_COLLECTOR_HTTP: `http://${collector.http}` }),
          ...env,
        },
      },
    )
    child = started
    at = await started.line('stderr', listening)
  }
  const stop = async () => {
    const running = child
    child = undefined
    if (running === undefined) return
    running.kill('SIGTERM')
    const { code, signal } = await running.exit
    assert.deepEqual({ code, signal }, { code: 0, signal: null }, running.output)
  }
  const metrics = () => readMetrics(at.admin)
  try {
    await start()
  } catch (error) {
    child?.kill('SIGKILL')
    await rm(folder, { recursive: true, force: true })
    throw error
  }
  return {
    get grpc() {
      return at.grpc
    },
    get http() {
      return at.http
    },
    get admin() {
      return at.admin
    },
    get pid() {
      return running(child).pid
    },
    certificate: files.ca,
    clientCertificate: files.clientCertificate,
    clientKey: files.clientKey,
    folder,
    metrics,
    assertInvariant: async () => assertBalanced(await metrics()),
    outcomes: async () => outcomesOf(await metrics()),
    log: () =>
      running(child)
        .stderr.map(parseLine)
        .filter((fields) => fields !== undefined),
    async logged(event, times) {
      let count = 0
      await running(child).line('stderr', (line) => {
        if (parseLine(line)?.event === event) count += 1
        return count === times ? true : undefined
      })
    },
    renewCertificate: files.renew,
    output: () => (child ?? ended)?.output ?? '',
    stop,
    start,
    exit: async () => {
      const exit = await running(child).exit
      ended = child
      child = undefined
      return exit
    },
    async [Symbol.asyncDispose]() {
      try {
        await stop()
      } finally {
        await rm(folder, { recursive: true, force: true })
      }
    },
  }
}

function running(child: Child | undefined): Child {
  if (child === undefined) throw new Error('the gateway is stopped')
  return child
}

function withoutOurs(env: NodeJS.ProcessEnv): Record<string, string | undefined> {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !name.startsWith('TOLLGATE_')))
}

function parseLine(line: string): Readonly<Record<string, unknown>> | undefined {
  return line.startsWith('{') ? (JSON.parse(line) as Record<string, unknown>) : undefined
}

function listening(line: string): Listening | undefined {
  const fields = parseLine(line)
  if (fields?.event !== 'listening') return undefined
  const { grpc, http, admin } = fields
  if (typeof grpc !== 'string' || typeof http !== 'string' || typeof admin !== 'string')
    throw new Error(`the listening line lacks an address: ${line}`)
  return { grpc, http, admin }
}

/** A CA with a certificate for localhost and one for clients, as an operator's own PKI makes them. */
async function makeCertificates(folder: string) {
  const file = (name: string) => join(folder, name)
  const openssl = async (...args: string[]) => {
    const { code, stderr } = await runToEnd(tool('openssl'), [
      'req',
      '-x509',
      '-days',
      '2',
      ...args,
    ])
    assert.equal(code, 0, stderr)
  }
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
  const issue = (name: string, subject: string, ...extensions: string[]) =>
    openssl(
      ...[...newKey, '-keyout', file(`${name}.key`), '-out', file(`${name}.pem`)],
      ...['-CA', file('test-ca.pem'), '-CAkey', file('test-ca.key'), '-subj', `/CN=${subject}`],
      ...['basicConstraints=critical,CA:FALSE', ...extensions].flatMap((text) => ['-addext', text]),
    )
  await openssl(
    ...[...newKey, '-keyout', file('test-ca.key'), '-out', file('test-ca.pem')],
    ...['-subj', '/CN=Test CA', '-addext', 'keyUsage=critical,keyCertSign'],
  )
  const names = 'subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1'
  const renew = () => issue('test', 'localhost', names, 'extendedKeyUsage=serverAuth')
  await renew()
  await issue('client', 'a client', 'extendedKeyUsage=clientAuth')
  return {
    ca: file('test-ca.pem'),
    certificate: file('test.pem'),
    key: file('test.key'),
    clientCertificate: file('client.pem'),
    clientKey: file('client.key'),
    renew,
  }
}
