/** Pebble, an ACME directory for tests, with the DNS server that it asks, on free ports of 127.0.0.1. */
import { rmSync, writeFileSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { Agent, request } from 'undici'
import { issueServer } from '../../src/tls/issue.ts'
import { testCa } from './certs.ts'
import { Child } from './child.ts'
import { freePorts } from './otelcol.ts'
import { tool } from './tools.ts'

/** What the tests ask for. DNS says 127.0.0.1 for every name. */
export const NAME = 'otlp.example.test'
/** Pebble refuses orders for this name. */
export const BLOCKED_NAME = 'blocked.example.test'
/** How long it may take until it answers. */
const START_MS = 30_000

export interface PebbleOptions {
  /** Where it looks for HTTP-01 and TLS-ALPN-01 challenges. Default: ports that are free. */
  readonly httpPort?: number
  readonly tlsPort?: number
  /** Percentage of good nonces that it rejects. Default its own: 5. */
  readonly nonceReject?: number
  /** Percentage of authorizations that it does not ask for again. Default none. */
  readonly authorizationReuse?: number
  /** Life of its certificates. Default 90 days. */
  readonly lifeSeconds?: number
  readonly needsExternalAccount?: boolean
}

export interface Pebble {
  /** URL of the directory. */
  readonly directory: string
  /** PEM file with the CA of the directory's own certificate. */
  readonly caPath: string
  readonly httpPort: number
  readonly tlsPort: number
  /** The root of what it issues, PEM. It is made anew at each start. */
  root(): Promise<string>
  /** What it said so far that has these words. */
  lines(words: string): readonly string[]
  /** The name cannot be resolved from now on. */
  breakDns(name: string): Promise<void>
  /** Says when a certificate is to be renewed. */
  setRenewalInfo(certificate: string, answer: unknown): Promise<void>
  /** Ends; `start` begins anew on the same ports, with no memory of accounts and orders. */
  stop(): Promise<void>
  start(): Promise<void>
}

/** Starts it. It ends with the test. */
export async function startPebble(t: TestContext, options: PebbleOptions = {}): Promise<Pebble> {
  const folder = await mkdtemp(join(tmpdir(), 'tollgate-pebble-'))
  const [port = 0, management = 0, dns = 0, dnsManagement = 0, http = 0, tls = 0] =
    await freePorts(6)
  const { httpPort = http, tlsPort = tls } = options
  const file = (name: string, text: string) => {
    const path = join(folder, name)
    writeFileSync(path, text)
    return path
  }
  const ca = await testCa()
  const { cert, key } = await issueServer(ca, ['127.0.0.1', 'localhost'], Date.now())
  const caPath = file('ca.pem', ca.cert)
  const validityPeriod = options.lifeSeconds ?? 90 * 86_400
  const config = file(
    'pebble.json',
    JSON.stringify({
      pebble: {
        listenAddress: `127.0.0.1:${port}`,
        managementListenAddress: `127.0.0.1:${management}`,
        certificate: file('server.pem', cert),
        privateKey: file('server.key', key),
        httpPort,
        tlsPort,
        ocspResponderURL: '',
        externalAccountBindingRequired: options.needsExternalAccount === true,
        externalAccountMACKeys:
          options.needsExternalAccount === true
            ? { 'kid-1': 'zWNDZM6eQGHWpSRTPal5eIUYFTu7EajV' }
            : {},
        domainBlocklist: [BLOCKED_NAME],
        retryAfter: { authz: 1, order: 1 },
        keyAlgorithm: 'ecdsa',
        profiles: { default: { description: 'for tests', validityPeriod } },
      },
    }),
  )
  const agent = new Agent({ connect: { ca: ca.cert } })
  const ask = async (method: 'GET' | 'POST', url: string, body?: unknown) => {
    const sent = body === undefined ? {} : { body: JSON.stringify(body) }
    const answer = await request(url, { method, dispatcher: agent, ...sent })
    return { status: answer.statusCode, text: await answer.body.text() }
  }
  const expectGood = async (...asked: Parameters<typeof ask>) => {
    const { status, text } = await ask(...asked)
    if (status !== 200) throw new Error(`${asked[1]}: ${status} ${text}`)
    return text
  }
  const directory = `https://127.0.0.1:${port}/dir`
  const names = new Child(tool('pebble-challtestsrv'), [
    ...['-dnsserver', `127.0.0.1:${dns}`, '-management', `127.0.0.1:${dnsManagement}`],
    ...['-defaultIPv4', '127.0.0.1', '-defaultIPv6', ''],
    ...['-http01', '', '-https01', '', '-tlsalpn01', '', '-doh', ''],
  ])
  let pebble: Child | undefined
  const stop = async () => {
    const running = pebble
    pebble = undefined
    running?.kill('SIGKILL')
    await running?.exit
  }
  const start = async () => {
    const started = new Child(
      tool('pebble'),
      ['-config', config, '-dnsserver', `127.0.0.1:${dns}`],
      {
        env: {
          ...process.env,
          PEBBLE_VA_NOSLEEP: '1',
          PEBBLE_AUTHZREUSE: String(options.authorizationReuse ?? 0),
          ...(options.nonceReject !== undefined && {
            PEBBLE_WFE_NONCEREJECT: String(options.nonceReject),
          }),
        },
      },
    )
    pebble = started
    await untilAnswered(started, () => ask('GET', directory))
  }
  t.after(async () => {
    await stop()
    names.kill('SIGKILL')
    await names.exit
    await agent.destroy()
    rmSync(folder, { recursive: true, force: true })
  })
  await start()
  await untilAnswered(names, () =>
    ask('POST', `http://127.0.0.1:${dnsManagement}/clear-a`, { host: 'none.' }),
  )
  return {
    directory,
    caPath,
    httpPort,
    tlsPort,
    root: () => expectGood('GET', `https://127.0.0.1:${management}/roots/0`),
    lines: (words) => pebble?.stdout.filter((line) => line.includes(words)) ?? [],
    async breakDns(name) {
      await expectGood('POST', `http://127.0.0.1:${dnsManagement}/set-servfail`, { host: name })
    },
    async setRenewalInfo(certificate, answer) {
      const body = { Certificate: certificate, ARIResponse: JSON.stringify(answer) }
      await expectGood('POST', `https://127.0.0.1:${management}/set-renewal-info/`, body)
    },
    stop,
    start,
  }
}

async function untilAnswered(child: Child, ask: () => Promise<unknown>): Promise<void> {
  const limitMs = performance.now() + START_MS
  while (performance.now() < limitMs && !child.hasEnded) {
    const isThere = await ask().then(
      () => true,
      () => false,
    )
    if (isThere) return
    await pause(25)
  }
  throw new Error(`it does not answer: ${child.output}`)
}
