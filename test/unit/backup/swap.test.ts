/** Swapping the content of a directory: all of it or nothing, also when it is killed on the way. */
import assert from 'node:assert/strict'
import { mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { putBack, stageName, swapIn, sweepStages } from '../../../docker/backup/src/swap.ts'

const OLD = ['block', 'shared', 'wal']
const FRESH = ['another', 'shared']
const STAGE = stageName('1')
const BEFORE = 'before-restore-20261130T031500Z'

/** A directory with old content, and new content on its stage. Each file says where it comes from. */
async function makeDirectory(t: TestContext): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'tollgate-swap-'))
  t.after(() => rm(directory, { recursive: true }))
  await mkdir(join(directory, STAGE))
  for (const name of OLD) await writeFile(join(directory, name), 'old')
  for (const name of FRESH) await writeFile(join(directory, STAGE, name), 'fresh')
  return directory
}

async function contentOf(directory: string): Promise<Record<string, string>> {
  const found: Record<string, string> = {}
  for (const entry of await readdir(directory, { withFileTypes: true }))
    if (entry.isFile()) found[entry.name] = await readFile(join(directory, entry.name), 'utf8')
  return found
}

const ALL_OLD = { block: 'old', shared: 'old', wal: 'old' }
const ALL_FRESH = { another: 'fresh', shared: 'fresh' }

describe('swapIn', () => {
  it('puts the new content in place and the old one aside', async (t) => {
    const directory = await makeDirectory(t)
    await swapIn(directory, STAGE, BEFORE)
    assert.deepEqual(await contentOf(directory), ALL_FRESH)
    assert.deepEqual(await contentOf(join(directory, BEFORE)), ALL_OLD)
    assert.deepEqual((await readdir(directory)).toSorted(), ['another', BEFORE, 'shared'])
    assert.equal(await putBack(directory), false, 'nothing is under way')
  })

  it('can be turned round, with the old content as the new one', async (t) => {
    const directory = await makeDirectory(t)
    await swapIn(directory, STAGE, BEFORE)
    await swapIn(directory, BEFORE, stageName('undone'))
    assert.deepEqual(await contentOf(directory), ALL_OLD)
    await sweepStages(directory)
    assert.deepEqual((await readdir(directory)).toSorted(), OLD)
  })

  it('leaves what an earlier restore has put aside', async (t) => {
    const directory = await makeDirectory(t)
    await mkdir(join(directory, 'before-restore-1'))
    await swapIn(directory, STAGE, BEFORE)
    assert.ok((await readdir(directory)).includes('before-restore-1'))
  })

  it('puts all back where a step fails', async (t) => {
    const directory = await makeDirectory(t)
    // What is put aside stays where it is, and no file can take the name of a directory.
    await mkdir(join(directory, 'before-restore-1'))
    await writeFile(join(directory, STAGE, 'before-restore-1'), 'fresh')
    await assert.rejects(swapIn(directory, STAGE, BEFORE), /EISDIR/)
    assert.deepEqual(await contentOf(directory), ALL_OLD)
    assert.ok(!(await readdir(directory)).includes(BEFORE))
  })
})

describe('putBack', () => {
  for (let steps = 0; steps <= OLD.length + FRESH.length; steps += 1)
    it(`has all the old content back after a kill behind ${steps} of the renames`, async (t) => {
      const directory = await makeDirectory(t)
      await mkdir(join(directory, BEFORE))
      const out = OLD.map((name) => [join(directory, name), join(directory, BEFORE, name)] as const)
      const into = FRESH.map(
        (name) => [join(directory, STAGE, name), join(directory, name)] as const,
      )
      for (const [from, to] of [...out, ...into].slice(0, steps)) await rename(from, to)
      // The phase is noted before the first rename of it.
      for (const phase of steps < OLD.length
        ? ['out']
        : steps > OLD.length
          ? ['in']
          : ['in', 'out']) {
        const journal = { stage: STAGE, before: BEFORE, old: OLD, fresh: FRESH, phase }
        await writeFile(join(directory, '.restore-journal.json'), JSON.stringify(journal))
        await mkdir(join(directory, BEFORE), { recursive: true })
        assert.equal(await putBack(directory), true)
        assert.deepEqual(await contentOf(directory), ALL_OLD)
        assert.deepEqual(await contentOf(join(directory, STAGE)), { ...ALL_FRESH })
      }
      await sweepStages(directory)
      assert.deepEqual((await readdir(directory)).toSorted(), OLD)
    })

  it('can itself be killed, and be done again', async (t) => {
    const directory = await makeDirectory(t)
    await mkdir(join(directory, BEFORE))
    await rename(join(directory, 'wal'), join(directory, BEFORE, 'wal'))
    const journal = { stage: STAGE, before: BEFORE, old: OLD, fresh: FRESH, phase: 'in' }
    await writeFile(join(directory, '.restore-journal.json'), JSON.stringify(journal))
    // As one leaves it that had brought back the new content and two of the old files.
    await putBack(directory)
    assert.deepEqual(await contentOf(directory), ALL_OLD)
  })
})
