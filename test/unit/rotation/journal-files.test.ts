/** Journals and the history on disk. */
import assert from 'node:assert/strict'
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { JournalFiles } from '../../../src/rotation/journal-files.ts'
import type { PastRotation, Rotation } from '../../../src/rotation/rotation.ts'
import { slugOf } from '../../../src/rotation/slug.ts'
import { PLAN } from './scene.ts'

async function scene(t: TestContext) {
  const directory = join(await mkdtemp(join(tmpdir(), 'tollgate-journal-')), 'rotations')
  t.after(() => rm(join(directory, '..'), { recursive: true }))
  return { directory, journal: new JournalFiles(directory) }
}

function rotationOf(holder: string): Rotation {
  return {
    v: 1,
    holder,
    id: 'k3m9xw2p',
    sha256: 'a'.repeat(64),
    token: 'the-token-in-plain',
    plan: PLAN,
    startedAtMs: 1,
    step: 'publish',
    stepSinceMs: 1,
    old: [],
    delivered: [],
  }
}

function pastOf(holder: string, startedAtMs: number): PastRotation {
  const { truth, deliver } = PLAN
  return {
    holder,
    id: 'k3m9xw2p',
    old: [],
    startedAtMs,
    endedAtMs: 2,
    outcome: 'finished',
    truth,
    deliver,
  }
}

test('a journal is kept for its owner alone, and moved to the history in the end', async (t) => {
  const { directory, journal } = await scene(t)
  assert.deepEqual(
    [await journal.load('web'), await journal.loadAll(), await journal.history()],
    [undefined, [], []],
  )
  await journal.save(rotationOf('web'))
  await journal.save({ ...rotationOf('web'), step: 'accept' })
  assert.equal((await stat(join(directory, 'web.rotation.json'))).mode & 0o777, 0o600)
  assert.equal((await stat(directory)).mode & 0o777, 0o700)
  assert.deepEqual(await new JournalFiles(directory).load('web'), {
    ...rotationOf('web'),
    step: 'accept',
  })
  await journal.end(pastOf('web', 1))
  await journal.end(pastOf('web', 1))
  assert.deepEqual(await journal.history(), [pastOf('web', 1)])
  assert.deepEqual(await readdir(directory), ['history.json'])
})

test('holders whose names read alike have journals of their own', async (t) => {
  const { journal } = await scene(t)
  const names = [
    'web-shop',
    'Web Shop',
    'web/shop',
    '../web-shop',
    'WEB-SHOP',
    '商店',
    '',
    'a'.repeat(128),
  ]
  assert.equal(new Set(names.map(slugOf)).size, names.length)
  for (const name of names) {
    assert.match(slugOf(name), /^[a-z0-9-]{1,49}$/)
    await journal.save(rotationOf(name))
  }
  for (const name of names) assert.equal((await journal.load(name))?.holder, name)
  assert.equal((await journal.loadAll()).length, names.length)
  const crafted = slugOf('Web Shop')
  await assert.rejects(journal.load(crafted), /is of Web Shop; end that rotation first/)
})

test('the history is bounded', async (t) => {
  const { directory, journal } = await scene(t)
  await journal.save(rotationOf('web'))
  const rotations = Array.from({ length: 500 }, (_, index) => pastOf('web', index))
  await writeFile(join(directory, 'history.json'), JSON.stringify({ rotations }))
  await journal.end(pastOf('web', 1000))
  const history = await journal.history()
  assert.deepEqual(
    [history.length, history[0]?.startedAtMs, history.at(-1)?.startedAtMs],
    [500, 1, 1000],
  )
})

test('what is no journal is named, and what was left half-written is swept', async (t) => {
  const { directory, journal } = await scene(t)
  await journal.save(rotationOf('web'))
  const path = join(directory, 'web.rotation.json')
  await writeFile(`${path}.tmp`, 'the-token-in')
  await journal.sweep()
  assert.deepEqual(await readdir(directory), ['web.rotation.json'])
  for (const text of [
    '',
    '{',
    '[]',
    '{"v":2}',
    (await readFile(path, 'utf8')).replace('publish', 'dance'),
  ]) {
    await writeFile(path, text)
    await assert.rejects(journal.load('web'), {
      name: 'FileFault',
      message: /web\.rotation\.json: is not a journal of a rotation; move it away/,
    })
  }
})
