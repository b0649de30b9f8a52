import assert from 'node:assert/strict'
import {
  chmod,
  chown,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  readlink,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, it, type TestContext } from 'node:test'
import { editFile, readTextFile } from '../../../src/secrets/file-edit.ts'

let dir: string
let path: string

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'file-edit-'))
  path = join(dir, 'tokens.json')
})

afterEach(() => rm(dir, { recursive: true, force: true }))

const modeOf = async (name: string) => (await stat(name)).mode & 0o777

/** Whether this test runs as root; skipped if not. */
function isRoot(t: TestContext): boolean {
  if (process.getuid?.() === 0) return true
  t.skip('SKIP: only root may give files away')
  return false
}

describe('editFile', () => {
  it('makes a file, and its directory, for the owner only', async () => {
    path = join(dir, 'new', 'tokens.json')
    await editFile(path, (text) => {
      assert.equal(text, undefined)
      return 'first'
    })
    assert.equal(await readFile(path, 'utf8'), 'first')
    assert.equal(await modeOf(path), 0o600)
    assert.equal(await modeOf(join(dir, 'new')), 0o700)
    assert.deepEqual(await readdir(join(dir, 'new')), ['tokens.json'])
  })

  it('replaces the file and keeps its permissions', async () => {
    await writeFile(path, 'old')
    await chmod(path, 0o640)
    const { ino } = await stat(path)
    await editFile(path, (text) => `${text} and new`)
    assert.equal(await readFile(path, 'utf8'), 'old and new')
    assert.equal(await modeOf(path), 0o640)
    assert.notEqual((await stat(path)).ino, ino)
    assert.deepEqual(await readdir(dir), ['tokens.json'])
  })

  it('leaves a file alone whose text stays', async () => {
    await writeFile(path, 'old')
    const before = await stat(path)
    await editFile(path, () => 'old')
    assert.equal((await stat(path)).ino, before.ino)
  })

  it('follows symlinks, to a file that is there or not yet', async () => {
    await mkdir(join(dir, 'real'))
    await symlink(join('real', 'set.json'), join(dir, 'middle.json'))
    await symlink('middle.json', path)
    for (const text of ['first', 'second']) {
      await editFile(path, () => text)
      assert.equal(await readFile(join(dir, 'real', 'set.json'), 'utf8'), text)
    }
    assert.ok((await lstat(path)).isSymbolicLink())
    assert.equal(await readlink(path), 'middle.json')
    await symlink('loop', join(dir, 'loop'))
    await assert.rejects(
      editFile(join(dir, 'loop'), () => ''),
      /symbolic links go round/,
    )
  })

  it('leaves everything as it was when the change throws', async () => {
    await writeFile(path, 'old')
    await assert.rejects(
      editFile(path, () => {
        throw new RangeError('no')
      }),
      new RangeError('no'),
    )
    assert.equal(await readFile(path, 'utf8'), 'old')
    assert.deepEqual(await readdir(dir), ['tokens.json'])
  })

  it('loses no change of many at once', async () => {
    await Promise.all(
      Array.from({ length: 20 }, (_, index) =>
        editFile(path, (text) => `${text ?? ''}${index}\n`, { lockWaitMs: 60_000 }),
      ),
    )
    const lines = (await readFile(path, 'utf8')).trim().split('\n').map(Number)
    assert.deepEqual(
      lines.sort((a, b) => a - b),
      Array.from({ length: 20 }, (_, index) => index),
    )
  })

  it('says who holds the lock when it waited too long, and does not break it', async () => {
    await writeFile(path, 'old')
    await writeFile(`${path}.lock`, 'process 1 on web\n')
    await assert.rejects(
      editFile(path, () => 'new', { lockWaitMs: 30 }),
      { code: 'ELOCKED', message: /tokens\.json\.lock is held by process 1 on web; if that/ },
    )
    assert.equal(await readFile(path, 'utf8'), 'old')
    assert.deepEqual(await readdir(dir), ['tokens.json', 'tokens.json.lock'])
  })

  it('does not make parents of the directory, and says so', async () => {
    await assert.rejects(
      editFile(join(dir, 'a', 'b', 'tokens.json'), () => ''),
      { code: 'ENOENT', message: /^cannot write .*: no such file or directory$/ },
    )
  })

  it('keeps the owner of a file, and gives a new one to the owner of its directory', async (t) => {
    if (!isRoot(t)) return
    await writeFile(path, 'old')
    await chown(path, 4001, 4002)
    await editFile(path, () => 'new')
    const { uid, gid } = await stat(path)
    assert.deepEqual([uid, gid], [4001, 4002])
    await chown(dir, 4003, 4004)
    await editFile(join(dir, 'other.json'), () => 'new')
    const other = await stat(join(dir, 'other.json'))
    assert.deepEqual([other.uid, other.gid], [4003, 4004])
  })
})

describe('readTextFile', () => {
  it('reads text, and gives undefined where no file is', async () => {
    await writeFile(path, 'text')
    assert.equal(await readTextFile(path), 'text')
    assert.equal(await readTextFile(join(dir, 'none')), undefined)
    await assert.rejects(readTextFile(dir), /is not a regular file/)
    await assert.rejects(readTextFile(join(path, 'below')), /part of the path is a file/)
  })
})
