/**
 * Three scanners against the gateway as an operator starts it. What they find fault with has to be on
 * the list, with the reason it is there; a finding that is not fails.
 */
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { type Finding, faultsOf, GRADED_BY, gradeOf } from '../../docker/validate/checks/testssl.ts'
import { runToEnd } from '../support/child.ts'
import { startCollector } from '../support/collector.ts'
import { spawnGateway } from '../support/spawn-gateway.ts'
import { hasTools, tool } from '../support/tools.ts'

/** In the order in which they are preferred. The certificate of the tests has an EC key. */
const SUITES = {
  'TLSv1.2': [
    'TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256',
    'TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384',
    'TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256',
  ],
  'TLSv1.3': [
    'TLS_AKE_WITH_AES_128_GCM_SHA256',
    'TLS_AKE_WITH_AES_256_GCM_SHA384',
    'TLS_AKE_WITH_CHACHA20_POLY1305_SHA256',
  ],
} as const

// Both ports hand their connections to one TLS server: here one is enough.
test('testssl gives an A', { timeout: 300_000 }, async (t) => {
  if (!hasTools(t, 'testssl', 'openssl')) return
  const gateway = await startGateway(t)
  const report = join(gateway.folder, 'testssl.json')
  const args = [
    ...[...GRADED_BY, '--openssl', tool('openssl')],
    // With its CA known, what is left to grade is the gateway.
    ...['--add-ca', gateway.certificate, '--jsonfile', report, gateway.grpc],
  ]
  const { stdout } = await runToEnd(tool('testssl'), args, { timeoutMs: 280_000 })
  const findings = JSON.parse(await readFile(report, 'utf8')) as Finding[]
  const by = new Map(findings.map((each) => [each.id, each.finding]))
  assert.deepEqual(faultsOf(findings, true), [], stdout)
  const grade = gradeOf(findings)
  if (grade === undefined) t.diagnostic('no grade: this testssl is older than 3.2')
  else assert.match(grade, /^A\+?$/, stdout)
  assert.match(by.get('secure_client_renego') ?? '', /not vulnerable/)
  assert.match(by.get('FS') ?? by.get('PFS') ?? '', /offered/)
})

test('sslscan finds two versions and six suites', { timeout: 60_000 }, async (t) => {
  if (!hasTools(t, 'sslscan')) return
  const gateway = await startGateway(t)
  for (const port of ['grpc', 'http'] as const) {
    const { stdout } = await runToEnd(tool('sslscan'), ['--no-colour', gateway[port]])
    const versions = [...stdout.matchAll(/^(\S+)\s+(?:en|dis)abled$/gm)].map(([line]) =>
      line.replace(/\s+/, ' '),
    )
    assert.deepEqual(versions, [
      ...['SSLv2 disabled', 'SSLv3 disabled', 'TLSv1.0 disabled', 'TLSv1.1 disabled'],
      ...['TLSv1.2 enabled', 'TLSv1.3 enabled'],
    ])
    assert.match(stdout, /^Session renegotiation not supported$/m)
    assert.equal(stdout.match(/^(?:Preferred|Accepted) /gm)?.length, 6, stdout)
    assert.doesNotMatch(stdout, /^TLSv1\.\d vulnerable/m)
  }
})

test('nmap finds the suites in our order, each an A', { timeout: 60_000 }, async (t) => {
  if (!hasTools(t, 'nmap')) return
  const gateway = await startGateway(t)
  for (const address of [gateway.grpc, gateway.http]) {
    const { hostname, port } = new URL(`http://${address}`)
    const args = ['-n', '-Pn', '-p', port, '--script', 'ssl-enum-ciphers', hostname]
    const { stdout } = await runToEnd(tool('nmap'), args)
    const found: Record<string, string[]> = {}
    let version = ''
    for (const line of stdout.split('\n')) {
      version = /^\|\s+(\S+v[\d.]+): ?$/.exec(line)?.[1] ?? version
      const [, suite] = /^\|\s+(TLS_\S+) .* - A$/.exec(line) ?? []
      if (suite !== undefined) found[version] = [...(found[version] ?? []), suite]
    }
    assert.deepEqual(found, SUITES, stdout)
    assert.match(stdout, /least strength: A$/m)
    assert.doesNotMatch(stdout, /warnings|DEFLATE/)
    assert.equal(stdout.match(/cipher preference: server/g)?.length, 2)
  }
})

/** Strikes and budgets off: a scanner is hundreds of failed handshakes. */
async function startGateway(t: TestContext) {
  const collector = await startCollector()
  t.after(() => collector.die())
  const gateway = await spawnGateway({
    collector: { grpc: `127.0.0.1:${collector.grpcPort}` },
    env: { TOLLGATE_RATE: 'off', TOLLGATE_BAN_STRIKES: 'off' },
  })
  t.after(() => gateway[Symbol.asyncDispose]())
  return gateway
}
