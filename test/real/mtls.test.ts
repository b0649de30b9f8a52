/**
 * Client certificates with other people's programs: openssl, curl, Python's requests, and the exporters
 * of four SDKs. Each with a good certificate and no token, and with every kind that is not accepted.
 */
import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { type Issued, issueCa } from '../../src/tls/issue.ts'
import { runToEnd } from '../support/child.ts'
import { crlPem, issueClient, issueCrl } from '../support/client-certs.ts'
import { startCollector } from '../support/collector.ts'
import { sumOf } from '../support/exposition.ts'
import { untilMetrics } from '../support/metrics.ts'
import { startOtelcol } from '../support/otelcol.ts'
import { type Gateway, spawnGateway } from '../support/spawn-gateway.ts'
import { hasTools, tool } from '../support/tools.ts'
import { allOnce, tally } from './count.ts'
import { KINDS, type Kind, SENDER_TOOLS, startSender, type Target, titleOf } from './senders/run.ts'

const HOUR_MS = 3_600_000
const SPIFFE = 'spiffe://example.com/agents'
const GOOD_LOAD = { items: 30, seconds: 1 }
const BAD_LOAD = { items: 1, seconds: 0 }

/** Paths of a certificate and its key. */
interface Pair {
  readonly clientCertificate: string
  readonly clientKey: string
}

/** What a certificate that is not accepted is counted under; `missing` has none. */
const BAD = ['missing', 'expired', 'revoked', 'unknown_ca', 'self_signed', 'wrong_purpose'] as const
type Bad = (typeof BAD)[number]

/** Certificates in files, and a gateway that lets in the good one without a token. */
interface Scene {
  readonly gateway: Gateway
  pair(result: Bad | 'verified'): Pair | undefined
}

async function open(
  t: TestContext,
  backend?: { readonly grpc: string; readonly http: string },
): Promise<Scene> {
  const scripted = backend === undefined ? await startCollector() : undefined
  const folder = await mkdtemp(join(tmpdir(), 'tollgate-mtls-'))
  const nowMs = Date.now()
  const ca = await issueCa('Agents CA', nowMs)
  const subject = { cn: 'agent', san: [SPIFFE] }
  const revoked = await issueClient(ca, subject)
  const issued: Record<Exclude<Bad, 'missing'> | 'verified', Issued> = {
    verified: await issueClient(ca, subject),
    expired: await issueClient(ca, {
      ...subject,
      notBeforeMs: nowMs - 9 * HOUR_MS,
      notAfterMs: nowMs - HOUR_MS,
    }),
    revoked,
    unknown_ca: await issueClient(await issueCa('Stranger CA', nowMs), subject),
    self_signed: await issueClient(ca, { ...subject, isSelfSigned: true }),
    wrong_purpose: await issueClient(ca, { ...subject, purpose: 'server' }),
  }
  const at = (name: string) => join(folder, name)
  await writeFile(at('ca.pem'), ca.cert)
  await writeFile(at('ca.crl'), crlPem(await issueCrl(ca, [revoked])))
  for (const [name, { cert, key }] of Object.entries(issued)) {
    await writeFile(at(`${name}.pem`), cert)
    await writeFile(at(`${name}.key`), key, { mode: 0o600 })
  }
  const entry = { id: 'agents', holder: 'agents', clientCertificate: { san: SPIFFE } }
  await writeFile(at('tokens.json'), JSON.stringify({ tokens: [entry] }))
  const gateway = await spawnGateway({
    collector: backend ?? {
      grpc: `127.0.0.1:${scripted?.grpcPort}`,
      http: `127.0.0.1:${scripted?.httpPort}`,
    },
    env: {
      // All of them come from one address.
      TOLLGATE_RATE: 'off',
      TOLLGATE_BAN_EXEMPT: 'none',
      TOLLGATE_TOKENS: '',
      TOLLGATE_TOKENS_FILE: at('tokens.json'),
      TOLLGATE_TLS_CLIENT_AUTH: 'required',
      TOLLGATE_TLS_CLIENT_CA: at('ca.pem'),
      TOLLGATE_TLS_CLIENT_CRL: at('ca.crl'),
      TOLLGATE_TLS_CLIENT_TOKEN: 'instead',
    },
  })
  t.after(async () => {
    await gateway[Symbol.asyncDispose]()
    await scripted?.die()
    await rm(folder, { recursive: true, force: true })
  })
  return {
    gateway,
    pair: (result) =>
      result === 'missing'
        ? undefined
        : { clientCertificate: at(`${result}.pem`), clientKey: at(`${result}.key`) },
  }
}

/** How many handshakes have come to this result, once there are as many as `atLeast`. */
async function counted({ metrics }: Gateway, result: string, atLeast: number): Promise<number> {
  const of = (page: Awaited<ReturnType<typeof metrics>>) =>
    sumOf(page, 'tollgate_client_certificates_total', { result })
  const what = `${atLeast} × ${result}`
  return of(await untilMetrics(metrics, (page) => of(page) >= atLeast, what))
}

/** A handshake that failed is nobody's offence, however often. */
async function assertNobodyBanned({ metrics, outcomes }: Gateway, expected: object): Promise<void> {
  const page = await metrics()
  assert.equal(sumOf(page, 'tollgate_strikes_total'), 0)
  assert.equal(sumOf(page, 'tollgate_bans_total'), 0)
  assert.deepEqual(await outcomes(), expected)
}

/** A program that makes one connection, and what it wrote and how it ended. */
type Program = (
  gateway: Gateway,
  pair: Pair | undefined,
) => Promise<{ readonly isLetIn: boolean; readonly words: string }>

const REQUEST = [
  'POST /v1/traces HTTP/1.1',
  'host: localhost',
  'content-type: application/x-protobuf',
  'content-length: 0',
  'connection: close',
  '',
  '',
].join('\r\n')

const PYTHON = `
import sys, requests
url, ca, *pair = sys.argv[1:]
kind = {'content-type': 'application/x-protobuf'}
print(requests.post(url, data=b'', headers=kind, verify=ca, cert=tuple(pair) or None).status_code)
`

const PROGRAMS: Readonly<
  Record<string, { readonly needs: readonly string[]; readonly run: Program }>
> = {
  curl: { needs: ['curl'], run: (gateway, pair) => curl(gateway, pair, '--http1.1') },
  'curl, HTTP/2': { needs: ['curl'], run: (gateway, pair) => curl(gateway, pair, '--http2') },
  "Python's requests": {
    needs: ['python-sender'],
    async run({ http, certificate }, pair) {
      const files = pair === undefined ? [] : [pair.clientCertificate, pair.clientKey]
      const args = ['-c', PYTHON, `${local(http)}/v1/traces`, certificate, ...files]
      const { code, stdout, stderr } = await runToEnd(tool('python-sender'), args)
      return { isLetIn: code === 0 && stdout.trim() === '200', words: lastLine(stderr) }
    },
  },
  'openssl s_client': {
    needs: ['openssl'],
    async run({ http, certificate }, pair) {
      const { stdout, stderr } = await runToEnd(
        tool('openssl'),
        [
          ...['s_client', '-connect', http, '-servername', 'localhost', '-CAfile', certificate],
          ...['-alpn', 'http/1.1', '-verify_return_error', '-ign_eof'],
          ...(pair === undefined ? [] : ['-cert', pair.clientCertificate, '-key', pair.clientKey]),
        ],
        { input: REQUEST },
      )
      const words = `${stderr}\n${stdout}`.split('\n').find((line) => /alert|errno/.test(line))
      return { isLetIn: stdout.includes('HTTP/1.1 200'), words: words ?? 'closed without a word' }
    },
  },
}

async function curl({ http, certificate }: Gateway, pair: Pair | undefined, version: string) {
  const { code, stdout, stderr } = await runToEnd(tool('curl'), [
    ...['--silent', '--show-error', version, '--cacert', certificate, '--max-time', '10'],
    ...(pair === undefined ? [] : ['--cert', pair.clientCertificate, '--key', pair.clientKey]),
    ...['--header', 'content-type: application/x-protobuf', '--data-binary', ''],
    ...['--write-out', '%{http_code}', `${local(http)}/v1/traces`],
  ])
  return { isLetIn: code === 0 && stdout.endsWith('200'), words: `${code}: ${stderr.trim()}` }
}

for (const [title, { needs, run }] of Object.entries(PROGRAMS)) {
  test(`${title}: a good certificate needs no token, and no other gets in`, async (t) => {
    if (!hasTools(t, 'openssl', ...needs)) return
    const { gateway, pair } = await open(t)
    const good = await run(gateway, pair('verified'))
    assert.equal(good.isLetIn, true, good.words)
    assert.equal(await counted(gateway, 'verified', 1), 1)
    for (const result of BAD) {
      const { isLetIn, words } = await run(gateway, pair(result))
      assert.equal(isLetIn, false, result)
      t.diagnostic(`${result}: ${words}`)
      await counted(gateway, result, 1)
    }
    assert.equal(await counted(gateway, 'verified', 1), 1)
    await assertNobodyBanned(gateway, { accepted: 1 })
  })
}

test('exporters of four SDKs: with a good certificate everything arrives without a token', async (t) => {
  if (!hasTools(t, 'otelcol', 'openssl', ...SENDER_TOOLS)) return
  await using backend = await startOtelcol()
  const { gateway, pair } = await open(t, { grpc: backend.grpc, http: backend.http })
  const reports = await Promise.all(
    KINDS.map(
      (kind) => startSender(kind, targetOf(gateway, kind, pair('verified')), GOOD_LOAD).done,
    ),
  )
  await gateway.assertInvariant()
  assert.deepEqual(Object.keys(await gateway.outcomes()), ['accepted'])
  await backend.stop()
  for (const [index, { run, sent, logged }] of reports.entries()) {
    const title = titleOf(KINDS[index] ?? assert.fail('more reports than senders'))
    assert.deepEqual(tally(await backend.received(run), sent), allOnce(GOOD_LOAD.items), title)
    assert.deepEqual(logged, [], title)
  }
})

for (const result of BAD) {
  test(`exporters of four SDKs: ${result}: each says so, and nothing arrives`, async (t) => {
    if (!hasTools(t, 'openssl', ...SENDER_TOOLS)) return
    const { gateway, pair } = await open(t)
    const reports = await Promise.all(
      KINDS.map((kind) => startSender(kind, targetOf(gateway, kind, pair(result)), BAD_LOAD).done),
    )
    for (const [index, { logged }] of reports.entries()) {
      const title = titleOf(KINDS[index] ?? assert.fail('more reports than senders'))
      t.diagnostic(`${title.padEnd(22)}${told(logged)}`)
      assert.ok(logged.length > 0, `${title} noticed nothing`)
    }
    // Each has made a connection for each signal, and most try again.
    await counted(gateway, result, KINDS.length)
    assert.equal(await counted(gateway, 'verified', 0), 0)
    await assertNobodyBanned(gateway, {})
  })
}

function targetOf(
  { grpc, http, certificate }: Gateway,
  { protocol, language }: Kind,
  pair: Pair | undefined,
): Target {
  return {
    endpoint: local(protocol === 'grpc' ? grpc : http),
    certificate,
    ...pair,
    // How long they try. Python counts in seconds.
    env: { OTEL_EXPORTER_OTLP_TIMEOUT: language === 'python' ? '2' : '2000' },
  }
}

/** By name: that is what the certificate is checked against. */
function local(address: string): string {
  return address.replace(/^.*:/, 'https://localhost:')
}

function told(lines: readonly string[]): string {
  return lines.join(' ').replace(/\s+/g, ' ').slice(0, 300)
}

function lastLine(text: string): string {
  return text.trim().split('\n').at(-1) ?? ''
}
