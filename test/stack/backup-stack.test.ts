/**
 * The backup of the compose stack as it is shipped: made in its container, by root without root's
 * powers, for a key that is not on the server, and restored by restore.sh after the volumes were emptied.
 */
import assert from 'node:assert/strict'
import { readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { newKey } from '../../docker/backup/src/encryption.ts'
import { runToEnd } from '../support/child.ts'
import { Client } from '../support/client.ts'
import { reach } from '../support/docker-reach.ts'
import { eventually } from '../support/eventually.ts'
import { ask, query } from '../support/prometheus.ts'
import { hasStack, type Stack, startStack } from '../support/stack.ts'

const RESTORE_MS = 300_000
const SCRAPES_MS = 120_000

interface Matrix {
  readonly result: readonly { readonly metric: object; readonly values: readonly unknown[] }[]
}

/** Every sample of `up` and of the gateway's arrivals, up to a time. */
async function samplesAt(prometheus: string, untilMs: number): Promise<string> {
  const expr = encodeURIComponent('{__name__=~"up|tollgate_arrivals_total"}[1h]')
  const at = `query?time=${untilMs / 1000}&query=${expr}`
  const { result } = await ask<Matrix>(prometheus, at)
  assert.ok(result.length > 7, `${result.length} series`)
  return JSON.stringify(result.map((series) => JSON.stringify(series)).toSorted())
}

const volume = ({ engine }: Stack, name: string) =>
  join(engine.folder, 'data/volumes', `tollgate_${name}`, '_data')

test('the stack is backed up, its volumes are emptied, and restore.sh brings all back', async (t) => {
  if (!hasStack(t)) return
  const { file, recipient } = await newKey(Date.now())
  let identity = ''
  const stack = await startStack(t, {
    async prepare(engine, folder) {
      identity = join(engine.folder, 'backup-key.txt')
      await writeFile(identity, file, { mode: 0o600 })
      await writeFile(join(folder, 'backup.env'), `TOLLGATE_BACKUP_RECIPIENTS=${recipient}\n`)
    },
  })
  const { engine, folder, compose } = stack
  const restore = (...args: string[]) =>
    runToEnd('sh', ['backup/restore.sh', ...args, '--identity', identity], {
      ...{ cwd: folder, env: engine.env, timeoutMs: RESTORE_MS },
    })
  const tool = (...args: string[]) => compose('exec', '-T', 'backup', 'tollgate-backup', ...args)
  const prometheus = () => stack.inside('prometheus', 9090)
  const accepted = async () => {
    const client = new Client({
      ...{ way: 'HTTP/1.1', caPem: stack.caPem, token: stack.token },
      address: `localhost:${await reach(t, engine, '127.0.0.1', 4318)}`,
    })
    const { httpStatus } = await client.send()
    client.close()
    return httpStatus
  }
  const own = await prometheus()
  assert.equal(await accepted(), 200)
  // The service makes the first one by itself when it starts, and tells Prometheus of it.
  await eventually(
    async () => (await query(own, 'tollgate_backup_copies{job="backup"} >= 1')).length > 0,
    'Prometheus to know of the first backup',
    SCRAPES_MS,
  )
  const untilMs = Date.now() - 3000
  const before = await samplesAt(own, untilMs)
  const archive = (await tool('backup')).trim()
  assert.deepEqual(await readdir(join(volume(stack, 'prometheus-data'), 'snapshots')), [])
  assert.match(archive, /\.age$/)
  await assert.rejects(tool('verify', archive), /is encrypted and there is no key/)
  const shown = ['-v', `${identity}:/run/identity:ro`]
  const withKey = [...shown, '-e', 'TOLLGATE_BACKUP_IDENTITY_FILE=/run/identity']
  const run = ['run', '--rm', '--no-deps', '-T', ...withKey, 'backup', 'verify', archive]
  assert.match(await compose(...run), /is good/)

  await t.test('a damaged archive is refused, and everything runs as before', async () => {
    const path = join(volume(stack, 'tollgate-backups'), archive)
    const bytes = await readFile(path)
    await writeFile(path, bytes.subarray(0, -1))
    const { code, stderr } = await restore(archive)
    assert.equal(code, 65, stderr)
    assert.match(stderr, /is cut off: it has \d+ bytes.*nothing was restored/s)
    await writeFile(path, bytes)
    assert.equal(await accepted(), 200)
    assert.equal(await samplesAt(await prometheus(), untilMs), before)
  })

  await compose('stop', 'prometheus', 'tollgate')
  for (const name of ['prometheus-data', 'tollgate-state'])
    for (const entry of await readdir(volume(stack, name)))
      await rm(join(volume(stack, name), entry), { recursive: true })

  const { code, stdout, stderr } = await restore(archive)
  assert.equal(code, 0, `${stdout}\n${stderr}`)
  assert.match(stdout, /Prometheus has what the backup had: \d+ counts compared/)
  assert.equal(await samplesAt(await prometheus(), untilMs), before)
  assert.equal(await accepted(), 200)

  await t.test('files belong to those who need them, and nothing is left aside', async () => {
    const { uid: gateway, mode } = await stat(join(volume(stack, 'tollgate-state'), 'tokens.json'))
    assert.deepEqual([gateway, mode & 0o777], [65_532, 0o600])
    const data = volume(stack, 'prometheus-data')
    const entries = await readdir(data)
    const block = entries.find((name) => name.length === 26) ?? assert.fail(String(entries))
    assert.equal((await stat(join(data, block, 'index'))).uid, 65_534)
    for (const name of ['prometheus-data', 'tollgate-state'])
      for (const entry of await readdir(volume(stack, name))) assert.doesNotMatch(entry, /restor/)
  })

  await t.test('and the backup goes on: it writes with the one power that it has', async () => {
    await eventually(async () => (await tool('healthcheck').catch(() => 'no')) === '', 'it runs')
    assert.match((await tool('backup')).trim(), /^tollgate-\d{8}T\d{6}Z\.tar\.zst\.age$/)
  })
})
