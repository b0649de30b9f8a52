/** The command line of `tollgate-backup`: mistakes in words, and a key that only its owner reads. */
import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { runBackup } from '../../support/backup-tool.ts'

const ENV = { TOLLGATE_BACKUP_DIR: '/nowhere/backups' }

describe('tollgate-backup', () => {
  const mistakes: readonly (readonly [readonly string[], RegExp])[] = [
    [['undo'], /"undo" is no command; there are run, backup, list, verify/],
    [['backup', 'now'], /backup does not expect "now"/],
    [['backup', '--json'], /backup knows no --json/],
    [['list', '--form', 's3'], /Unknown option '--form'/],
    [['list', '--from', 'tape'], /--from "tape": expected local or s3/],
    [['restore', '--only', 'grafana'], /--only "grafana": expected prometheus or gateway/],
    [['key'], /key needs --out FILE/],
  ]
  for (const [args, words] of mistakes)
    it(`says what is wrong with ${args.join(' ')}`, async () => {
      const { code, stderr } = await runBackup(args, ENV)
      assert.equal(code, 64, stderr)
      assert.match(stderr, words)
      assert.doesNotMatch(stderr, /\n\s+at /, 'no stack')
    })

  it('says all mistakes in the settings before it does anything', async () => {
    const { code, stderr } = await runBackup(['run'], { ...ENV, TOLLGATE_BACKUP_AT: 'noon' })
    assert.equal(code, 64)
    assert.match(stderr, /TOLLGATE_BACKUP_AT is "noon": expected a time of day/)
  })

  it('explains itself', async () => {
    const { code, stdout } = await runBackup(['--help'], {})
    assert.equal(code, 0)
    for (const word of ['restore', 'TOLLGATE_BACKUP_S3_BUCKET', '--drop-old'])
      assert.ok(stdout.includes(word), word)
  })

  it('makes a key for its owner alone, and writes over none', async (t) => {
    const folder = await mkdtemp(join(tmpdir(), 'tollgate-key-'))
    t.after(() => rm(folder, { recursive: true }))
    const file = join(folder, 'key')
    const { code, stdout } = await runBackup(['key', '--out', file], {})
    assert.equal(code, 0)
    const text = await readFile(file, 'utf8')
    const [, recipient = ''] = /^TOLLGATE_BACKUP_RECIPIENTS=(age1\w+)$/.exec(stdout) ?? []
    assert.match(text, new RegExp(`^# public key: ${recipient}\nAGE-SECRET-KEY-1\\w+$`, 'm'))
    assert.equal((await stat(file)).mode & 0o777, 0o600)
    const again = await runBackup(['key', '--out', file], {})
    assert.equal(again.code, 1)
    assert.match(again.stderr, /EEXIST: file already exists/)
    assert.equal(await readFile(file, 'utf8'), text)
  })
})
