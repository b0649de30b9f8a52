/** Two runs of rotations at once. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, rm, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { takeRunLock } from '../../../src/rotation/run-lock.ts'
import { ownMark } from '../../../src/secrets/process-mark.ts'

const LOCK = new URL('../../../src/rotation/run-lock.ts', import.meta.url).href

async function folder(t: TestContext): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'tollgate-run-lock-'))
  t.after(() => rm(path, { recursive: true }))
  return join(path, 'rotations')
}

/** A process that takes the lock and keeps it. */
async function another(t: TestContext, directory: string) {
  const script = `import { takeRunLock } from ${JSON.stringify(LOCK)}
    await takeRunLock(${JSON.stringify(directory)}); console.log('taken'); setInterval(() => {}, 1000)`
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  t.after(() => child.kill('SIGKILL'))
  await once(child.stdout, 'data')
  return child
}

test('the second run is told who is at work; when that one is killed, the lock is free', async (t) => {
  const directory = await folder(t)
  const child = await another(t, directory)
  await assert.rejects(takeRunLock(directory), {
    name: 'AnotherRun',
    message: new RegExp(`^process ${child.pid} is at work on rotations here`),
  })
  child.kill('SIGKILL')
  await once(child, 'exit')
  const lock = await takeRunLock(directory)
  assert.equal((await readdir(directory)).length, 1)
  await lock.release()
  assert.deepEqual(await readdir(directory), [])
})

test('of many at once in one process, one at a time has it', async (t) => {
  const directory = await folder(t)
  let holders = 0
  let turns = 0
  const run = async () => {
    for (;;) {
      const lock = await takeRunLock(directory).catch(() => undefined)
      if (lock === undefined) continue
      holders += 1
      assert.equal(holders, 1)
      await new Promise((resume) => setTimeout(resume, 5))
      holders -= 1
      turns += 1
      await lock.release()
      return
    }
  }
  await Promise.all([run(), run(), run(), run()])
  assert.equal(turns, 4)
})

test('a claim from elsewhere stands while it is touched', async (t) => {
  const directory = await folder(t)
  await (await takeRunLock(directory)).release()
  const mark = (await ownMark()).replace(/[0-9a-z]+$/, 'elsewhere')
  const path = join(directory, `${mark}-0123456789abcdef.claim`)
  await writeFile(path, '')
  await assert.rejects(takeRunLock(directory), /perhaps in another container or on another machine/)
  const before = new Date(Date.now() - 121_000)
  await utimes(path, before, before)
  await (await takeRunLock(directory)).release()
  assert.deepEqual(await readdir(directory), [])
})

test('a claim whose process id now belongs to another process falls', async (t) => {
  const directory = await folder(t)
  await (await takeRunLock(directory)).release()
  const mark = (await ownMark()).replace(/-\d+-/, '-1-')
  await writeFile(join(directory, `${mark}-0123456789abcdef.claim`), '')
  await (await takeRunLock(directory)).release()
})
