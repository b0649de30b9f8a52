/** Locks that processes leave behind when they are killed. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { editFile } from '../../../src/secrets/file-edit.ts'
import { ownMark, stateOfMark } from '../../../src/secrets/process-mark.ts'

const EDIT = new URL('../../../src/secrets/file-edit.ts', import.meta.url).href

async function folder(t: TestContext): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'tollgate-lock-'))
  t.after(() => rm(path, { recursive: true }))
  return path
}

/** A process that was killed while it held the lock of `path`. */
async function killedInside(path: string): Promise<void> {
  const script = `import { editFile } from ${JSON.stringify(EDIT)}
    await editFile(${JSON.stringify(path)}, () => { process.kill(process.pid, 'SIGKILL'); return 'never' })`
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: 'ignore' })
  const [, signal] = await once(child, 'exit')
  assert.equal(signal, 'SIGKILL')
}

test('the lock of a killed process is taken over by one of many editors at a time', async (t) => {
  const directory = await folder(t)
  const path = join(directory, 'tokens.json')
  await writeFile(path, '')
  for (let round = 1; round <= 3; round += 1) {
    await killedInside(path)
    assert.ok((await readdir(directory)).includes('tokens.json.lock'))
    await Promise.all(
      Array.from({ length: 20 }, (_, index) =>
        editFile(path, (text) => `${text}${round}:${index}\n`, { lockWaitMs: 60_000 }),
      ),
    )
  }
  const lines = (await readFile(path, 'utf8')).trimEnd().split('\n')
  assert.equal(new Set(lines).size, 60)
  assert.equal(lines.length, 60)
  assert.deepEqual(await readdir(directory), ['tokens.json'])
})

test('what a killed editor left half-written is taken away, and nothing else', async (t) => {
  const directory = await folder(t)
  const path = join(directory, 'token')
  const others = [
    'other.1.00000000.tmp',
    'token.1.tmp',
    'token.lock.1.00000000.tmp',
    'token2.1.00000000.tmp',
  ]
  for (const name of [...others, 'token.1.00000000.tmp'])
    await writeFile(join(directory, name), 'a secret')
  await editFile(path, () => 'new')
  assert.deepEqual((await readdir(directory)).toSorted(), [...others, 'token'].toSorted())
})

test('the lock of a process elsewhere, or of one that runs, is waited for and named', async (t) => {
  const path = join(await folder(t), 'tokens.json')
  const own = await ownMark()
  for (const mark of [own, own.replace(/[0-9a-z]+$/, 'elsewhere')]) {
    await writeFile(`${path}.lock`, `process 1 on web (${mark})\n`)
    await assert.rejects(
      editFile(path, () => 'new', { lockWaitMs: 30 }),
      { code: 'ELOCKED', message: /tokens\.json\.lock is held by process 1 on web; if that/ },
    )
  }
})

test('a process id that was given away again is not the process that had it', async () => {
  const own = await ownMark()
  assert.equal(await stateOfMark(own), 'running')
  assert.equal(await stateOfMark(own.replace(/-\d+-/, '-1-')), 'ended')
  assert.equal(await stateOfMark(own.replace(/^\d+/, '99999999')), 'ended')
  assert.equal(await stateOfMark('no mark'), 'unknown')
})
