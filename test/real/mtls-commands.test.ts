/** The commands of docs/mtls.md, run as they stand: what they make gets in, until they revoke it. */
import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { runToEnd } from '../support/child.ts'
import { startCollector } from '../support/collector.ts'
import { sumOf } from '../support/exposition.ts'
import { untilMetrics } from '../support/metrics.ts'
import { spawnGateway } from '../support/spawn-gateway.ts'
import { hasTools, ROOT, tool } from '../support/tools.ts'

test('the commands of docs/mtls.md for openssl', async (t) => {
  if (!hasTools(t, 'openssl', 'curl')) return
  const page = await readFile(join(ROOT, 'docs/mtls.md'), 'utf8')
  const blocks = Array.from(page.matchAll(/```sh\n([^`]*?)```/g), ([, text = '']) => text)
  const [make, issue, revoke, ...more] = blocks.filter((text) => /openssl (?:req|ca) /.test(text))
  assert.ok(make !== undefined && issue !== undefined && revoke !== undefined)
  assert.deepEqual(more, [])

  const folder = await mkdtemp(join(tmpdir(), 'tollgate-commands-'))
  const collector = await startCollector()
  const run = async (commands: string) => {
    const { code, stderr } = await runToEnd('/bin/sh', ['-e', '-c', commands], { cwd: folder })
    assert.equal(code, 0, stderr)
  }
  try {
    await run(make)
    await run(issue)
    await run('SAN=- openssl ca -config agents-ca.cnf -gencrl -out agents-ca.crl')
    await using gateway = await spawnGateway({
      collector: { grpc: `127.0.0.1:${collector.grpcPort}` },
      env: {
        TOLLGATE_TLS_CLIENT_AUTH: 'required',
        TOLLGATE_TLS_CLIENT_CA: join(folder, 'agents-ca.pem'),
        TOLLGATE_TLS_CLIENT_CRL: join(folder, 'agents-ca.crl'),
      },
    })
    const url = `${gateway.http.replace(/^.*:/, 'https://localhost:')}/v1/traces`
    const curl = async () => {
      const pair = ['--cert', join(folder, 'agent-7.pem'), '--key', join(folder, 'agent-7.key')]
      const args = ['--silent', '--cacert', gateway.certificate, ...pair, '--data-binary', '', url]
      return (await runToEnd(tool('curl'), [...args, '--write-out', '%{http_code}'])).stdout
    }
    // It is let in, and asked for its token.
    assert.match(await curl(), /4\d\d$/)
    await run(revoke)
    const asked = async () => {
      const answer = await curl()
      return { answer, page: await gateway.metrics() }
    }
    const labels = { result: 'revoked' }
    // The file is watched: the gateway takes it up by itself.
    await untilMetrics(
      async () => (await asked()).page,
      (now) => sumOf(now, 'tollgate_client_certificates_total', labels) > 0,
      'a revoked certificate',
    )
    assert.match((await asked()).answer, /^000$/)
  } finally {
    await collector.die()
    await rm(folder, { recursive: true, force: true })
  }
})
