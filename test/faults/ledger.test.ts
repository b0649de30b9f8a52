/** The ledger of tokens cannot be written or read: requests do not notice, and the log says so. */
import assert from 'node:assert/strict'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { assertAccepted } from '../support/answers.ts'
import { WAYS } from '../support/client.ts'
import { eventually } from '../support/eventually.ts'
import { startGateway } from '../support/gateway.ts'
import { mountSmallDisk } from '../support/small-disk.ts'

test('a full disk is told of once, and the ledger is kept when there is room again', async (t) => {
  const disk = await mountSmallDisk(t)
  if (disk === undefined) return
  const gateway = await startGateway(t, { env: { STATE_DIR: disk.folder } })
  const clients = WAYS.map((way) => gateway.connect(way))
  const said = async (words: RegExp) => ((await gateway.logText()).match(words) ?? []).length
  const unsaved = /Cannot keep the ledger of tokens in/g
  await disk.fill()
  await eventually(async () => {
    for (const client of clients) assertAccepted(await client.send())
    return (await said(unsaved)) > 0
  }, 'the problem in the log')
  const left = (await readdir(disk.folder)).filter((name) => name.endsWith('.new'))
  assert.deepEqual(left, [], 'nothing half-written stays')
  await disk.free()
  await eventually(async () => {
    for (const client of clients) assertAccepted(await client.send())
    return (await said(/The ledger of tokens is kept in .* again/g)) > 0
  }, 'the recovery in the log')
  assert.match(await readFile(join(disk.folder, 'ledger.json'), 'utf8'), /"requests"/)
  assert.equal(await said(unsaved), 1)
  await gateway.assertInvariant()
  await gateway.stop()
})

test('a broken ledger is moved aside, and the gateway begins a new one', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'tollgate-ledger-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  await writeFile(join(folder, 'ledger.json'), '{"version":1,"tokens":[{"id":')
  const gateway = await startGateway(t, { folder })
  assert.match(await gateway.logText(), /Could not read the ledger of tokens of .* It was moved to/)
  for (const way of WAYS) assertAccepted(await gateway.connect(way).send())
  await gateway.stop()
  const names = await readdir(folder)
  assert.equal(names.filter((name) => name.startsWith('ledger.json.broken-')).length, 1)
  const { tokens } = JSON.parse(await readFile(join(folder, 'ledger.json'), 'utf8'))
  assert.equal(tokens[0].requests, WAYS.length)
})
