/** The rule for logrotate in docs/operations.md, run by the real one on the audit log of a gateway. */
import assert from 'node:assert/strict'
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { runToEnd } from '../support/child.ts'
import { Client } from '../support/client.ts'
import { startCollector } from '../support/collector.ts'
import { eventually } from '../support/eventually.ts'
import { spawnGateway } from '../support/spawn-gateway.ts'
import { hasTools, ROOT, tool } from '../support/tools.ts'

test('the audit log is put aside and goes on in a new file, and no line is lost', async (t) => {
  if (!hasTools(t, 'logrotate')) return
  const folder = await mkdtemp(join(tmpdir(), 'tollgate-logrotate-'))
  const logs = join(folder, 'x_tollgate-log')
  await mkdir(logs)
  const collector = await startCollector()
  t.after(() => collector.die())
  await using gateway = await spawnGateway({
    collector: { grpc: `127.0.0.1:${collector.grpcPort}` },
    env: {
      TOLLGATE_PARENT: 'on',
      TOLLGATE_AUDIT_LOG: join(logs, 'audit.log'),
      TOLLGATE_BAN_STRIKES: 'off',
    },
  })
  const caPem = await readFile(gateway.certificate, 'utf8')
  const refuse = async () => {
    const token = 'a-token-that-is-none-0123456789'
    const client = new Client({ way: 'gRPC', address: gateway.grpc, caPem, token })
    await client.send()
    client.close()
  }
  const lines = async (name: string) =>
    (await readFile(join(logs, name), 'utf8').catch(() => '')).split('\n').length - 1

  await refuse()
  await eventually(async () => (await lines('audit.log')) === 1, 'the first line')
  const page = await readFile(join(ROOT, 'docs/operations.md'), 'utf8')
  const [, shown = ''] = /^```text\n(\/var\/lib.*?)^```/ms.exec(page) ?? []
  assert.match(shown, /docker kill --signal=HUP/)
  const rule = shown
    .replace('/var/lib/docker/volumes/*_tollgate-log/_data', join(folder, '*_tollgate-log'))
    .replace(/docker kill .*/, `kill -HUP ${gateway.pid}`)
  const rules = join(folder, 'rules')
  await writeFile(rules, rule)
  await chmod(rules, 0o644)
  const { code, stderr } = await runToEnd(tool('logrotate'), [
    ...['--force', '--state', join(folder, 'state'), rules],
  ])
  assert.equal(code, 0, stderr)
  await eventually(
    async () => (await stat(join(logs, 'audit.log')).catch(() => false)) && true,
    'a new file',
  )
  await refuse()
  await eventually(async () => (await lines('audit.log')) === 1, 'a line in the new file')
  assert.equal(await lines('audit.log.1'), 1)
  assert.deepEqual((await readdir(logs)).toSorted(), ['audit.log', 'audit.log.1'])
  await rm(folder, { recursive: true })
})
