/**
 * What the SDKs make of OTEL_EXPORTER_OTLP_CERTIFICATE, _CLIENT_CERTIFICATE and _CLIENT_KEY: the traps in
 * the table of certs/README.md, each with every exporter.
 */
import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { runToEnd } from '../support/child.ts'
import { startOtelcol } from '../support/otelcol.ts'
import { type Gateway, spawnGateway, TOKEN } from '../support/spawn-gateway.ts'
import { hasTools, tool } from '../support/tools.ts'
import { KINDS, type Kind, SENDER_TOOLS, startSender, type Target, titleOf } from './senders/run.ts'

/** Files for one gateway, by what is in them. */
type Files = Readonly<
  Record<'ca' | 'other' | 'both' | 'server' | 'cert' | 'key' | 'sec1' | 'ed' | 'edKey', string>
>

interface Case {
  readonly title: string
  /** Whether the gateway asks for a client certificate. */
  readonly asks?: boolean
  readonly target: (files: Files) => Omit<Target, 'endpoint' | 'token'>
  /** Who gets through. */
  readonly works: (kind: Kind) => boolean
}

const isPythonGrpc = ({ language, protocol }: Kind) => language === 'python' && protocol === 'grpc'
const isPythonHttp = ({ language, protocol }: Kind) => language === 'python' && protocol !== 'grpc'
const isJava = ({ language }: Kind) => language === 'java'
const SIGNALS = ['TRACES', 'METRICS', 'LOGS']

/** A variable for each signal. */
function each(what: string, value: string): Record<string, string> {
  return Object.fromEntries(SIGNALS.map((name) => [`OTEL_EXPORTER_OTLP_${name}_${what}`, value]))
}

/** Has each SDK trust a CA without the variable. */
function trusting(ca: string): Record<string, string> {
  return {
    GRPC_DEFAULT_SSL_ROOTS_FILE_PATH: ca,
    REQUESTS_CA_BUNDLE: ca,
    NODE_EXTRA_CA_CERTS: ca,
    SSL_CERT_FILE: ca,
  }
}

const CASES: readonly Case[] = [
  {
    title: 'a file with several CAs',
    target: ({ both }) => ({ certificate: both }),
    works: () => true,
  },
  {
    title: 'the certificate of the gateway in place of its CA',
    target: ({ server }) => ({ certificate: server }),
    works: (kind) => isPythonGrpc(kind) || kind.language === 'go' || isJava(kind),
  },
  {
    title: 'another CA, though the machine trusts the right one',
    target: ({ ca, other }) => ({ certificate: other, env: trusting(ca) }),
    works: isPythonHttp,
  },
  {
    title: 'the right CA, and REQUESTS_CA_BUNDLE with another one',
    target: ({ ca, other }) => ({ certificate: ca, env: { REQUESTS_CA_BUNDLE: other } }),
    works: (kind) => !isPythonHttp(kind),
  },
  {
    title: 'a CA for each signal, before the general one',
    target: ({ ca, other }) => ({ certificate: other, env: each('CERTIFICATE', ca) }),
    works: () => true,
  },
  {
    title: 'a client certificate, without a CA but trusting it',
    asks: true,
    target: ({ ca, cert, key }) => ({
      clientCertificate: cert,
      clientKey: key,
      env: trusting(ca),
    }),
    // Java trusts by its own store alone.
    works: (kind) => !isPythonGrpc(kind) && !isJava(kind),
  },
  {
    title: 'a client certificate for each signal, and a general CA',
    asks: true,
    target: ({ ca, cert, key }) => ({
      certificate: ca,
      env: { ...each('CLIENT_CERTIFICATE', cert), ...each('CLIENT_KEY', key) },
    }),
    works: (kind) => !isPythonGrpc(kind),
  },
  {
    title: 'a key in the older form (SEC1)',
    asks: true,
    target: ({ ca, cert, sec1 }) => ({
      certificate: ca,
      clientCertificate: cert,
      clientKey: sec1,
    }),
    works: (kind) => !isJava(kind),
  },
  {
    title: 'an Ed25519 key',
    asks: true,
    target: ({ ca, ed, edKey }) => ({ certificate: ca, clientCertificate: ed, clientKey: edKey }),
    works: (kind) => !isJava(kind),
  },
  {
    title: 'a client certificate without its key',
    asks: true,
    target: ({ ca, cert }) => ({ certificate: ca, clientCertificate: cert }),
    works: () => false,
  },
]

test('what the SDKs make of the variables for certificates', { timeout: 300_000 }, async (t) => {
  if (!hasTools(t, 'otelcol', 'openssl', ...SENDER_TOOLS)) return
  await using backend = await startOtelcol()
  const options = {
    collector: { grpc: backend.grpc, http: backend.http },
    env: { TOLLGATE_RATE: 'off' },
  }
  await using open = await spawnGateway(options)
  await using asking = await spawnGateway({ ...options, asksCertificate: true })
  const files = { open: await filesOf(open), asking: await filesOf(asking) }
  const runs: string[][] = []
  for (const { title, asks, target, works } of CASES) {
    const gateway = asks ? asking : open
    const given = target(asks ? files.asking : files.open)
    t.diagnostic(title)
    runs.push(
      await Promise.all(
        KINDS.map((kind) => send(t, gateway, kind, { ...given, isLost: !works(kind) })),
      ),
    )
  }
  // What it received is on the disk then.
  await backend.stop()
  for (const [at, { title, works }] of CASES.entries()) {
    await t.test(title, async () => {
      const arrived: Record<string, boolean> = {}
      for (const [index, kind] of KINDS.entries()) {
        const { spans, points, logs } = await backend.received(runs[at]?.[index] ?? '')
        arrived[titleOf(kind)] = [spans, points, logs].every(({ size }) => size === 2)
      }
      const expected = KINDS.map((kind) => [titleOf(kind), works(kind)])
      assert.deepEqual(arrived, Object.fromEntries(expected))
    })
  }
})

/** Sends two items of each signal; resolves with the run when the SDK is done, or has given up. */
async function send(
  t: TestContext,
  { grpc, http }: Gateway,
  kind: Kind,
  given: Omit<Target, 'endpoint' | 'token'> & { readonly isLost: boolean },
): Promise<string> {
  const address = kind.protocol === 'grpc' ? grpc : http
  const endpoint = address.replace(/^.*:/, 'https://localhost:')
  // Who tries in vain shall not try for long. Seconds to Python, milliseconds to the others.
  const timeout = kind.language === 'python' ? '2' : '2000'
  const env = { ...given.env, ...(given.isLost && { OTEL_EXPORTER_OTLP_TIMEOUT: timeout }) }
  const load = { items: 2, seconds: 1 }
  const { run, started, done } = startSender(kind, { endpoint, token: TOKEN, ...given, env }, load)
  started.catch(() => {})
  try {
    const { logged } = await done
    if (logged[0] !== undefined) t.diagnostic(`${titleOf(kind)}: ${logged[0].slice(0, 200)}`)
  } catch (error) {
    // Some do not start with what they cannot read.
    t.diagnostic(
      `${titleOf(kind)}: ${String(error)
        .match(/\w+Exception: .*|code \w+/g)
        ?.at(0)}`,
    )
  }
  return run
}

async function filesOf({ folder, certificate, clientCertificate, clientKey }: Gateway) {
  const at = (name: string) => join(folder, name)
  const openssl = async (...args: string[]) => {
    const { code, stderr } = await runToEnd(tool('openssl'), args)
    assert.equal(code, 0, stderr)
  }
  const files: Files = {
    ca: certificate,
    other: at('other-ca.pem'),
    both: at('both-cas.pem'),
    server: at('test.pem'),
    cert: clientCertificate,
    key: clientKey,
    sec1: at('sec1.key'),
    ed: at('ed.pem'),
    edKey: at('ed.key'),
  }
  const ca = ['-CA', certificate, '-CAkey', at('test-ca.key')]
  await openssl(
    ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'],
    ...['-days', '2', '-subj', '/CN=Another CA', '-keyout', at('other.key'), '-out', files.other],
  )
  await openssl(
    ...[
      'req',
      '-x509',
      '-newkey',
      'ed25519',
      '-nodes',
      '-days',
      '2',
      '-subj',
      '/CN=a client',
      ...ca,
    ],
    ...['-addext', 'basicConstraints=critical,CA:FALSE', '-addext', 'extendedKeyUsage=clientAuth'],
    ...['-keyout', files.edKey, '-out', files.ed],
  )
  await openssl('ec', '-in', clientKey, '-out', files.sec1)
  writeFileSync(files.both, readFileSync(files.other, 'utf8') + readFileSync(files.ca, 'utf8'))
  return files
}
