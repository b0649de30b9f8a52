/** The disk of the audit log is full: lines are lost and counted, requests are not. */
import assert from 'node:assert/strict'
import { mkdtemp, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { assertAccepted, assertRefusedWith } from '../support/answers.ts'
import { WAYS } from '../support/client.ts'
import { eventually } from '../support/eventually.ts'
import { sumOf } from '../support/exposition.ts'
import { startGateway } from '../support/gateway.ts'

test('every write fails, until the log is elsewhere', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'tollgate-audit-'))
  t.after(() => rm(folder, { recursive: true }))
  const path = join(folder, 'audit.log')
  // Takes what is written as a disk without room does: ENOSPC.
  await symlink('/dev/full', path)
  const gateway = await startGateway(t, { env: { AUDIT_LOG: path } })
  for (const way of WAYS) {
    const client = gateway.connect(way)
    assertRefusedWith(await client.send({ token: 'no-such-token-0123456789' }), 401, 16)
    assertAccepted(await client.send())
  }
  await gateway.until(
    (page) => sumOf(page, 'tollgate_lost_lines_total', { stream: 'audit' }) === WAYS.length,
    'the lines counted as lost',
  )
  const said = (event: string) => async () =>
    (await gateway.log()).filter((line) => line.event === event)
  const failures = await said('audit_failed')()
  assert.equal(failures.length, 1, 'said once')
  assert.match(String(failures[0]?.msg), /Requests are not affected/)

  await writeFile(`${path}.new`, '')
  await rename(`${path}.new`, path)
  await gateway.reload()
  await gateway.connect('gRPC').send({ token: 'no-such-token-0123456789' })
  await eventually(async () => (await said('audit_recovered')()).length === 1, 'the recovery')
  const lines = (await readFile(path, 'utf8')).trimEnd().split('\n')
  assert.equal(lines.length, 1)
  assert.equal(JSON.parse(lines[0] ?? '').event, 'auth_refused')
  await gateway.assertInvariant()
})
