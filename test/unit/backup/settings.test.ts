/** The settings of the backup tool: what is read, and what is said of mistakes. */
import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { newKey } from '../../../docker/backup/src/encryption.ts'
import { readSettings, SETTING_NAMES } from '../../../docker/backup/src/settings.ts'
import { ConfigError } from '../../../src/config/config-error.ts'
import { ROOT } from '../../support/tools.ts'

const mistakesOf = (env: Record<string, string>) => {
  try {
    readSettings(env, '/')
    return []
  } catch (error) {
    assert.ok(error instanceof ConfigError)
    return error.mistakes.map(({ message }) => message)
  }
}

describe('readSettings', () => {
  it('needs nothing but a place for copies', () => {
    const settings = readSettings({ TOLLGATE_BACKUP_DIR: '/backups' }, '/')
    assert.equal(settings.directory, '/backups')
    assert.equal(settings.s3, undefined)
    assert.equal(settings.atMinutes, 195)
    assert.deepEqual(settings.keep, { days: 30, daily: 0, weekly: 0, monthly: 0 })
    assert.deepEqual(settings.prometheusOwner, { uid: 65_534, gid: 65_534 })
  })

  it('says all mistakes at once, with name, value and what was expected', () => {
    assert.deepEqual(
      mistakesOf({
        TOLLGATE_BACKUP_DIR: '/backups',
        TOLLGATE_BACKUP_AT: '25:00',
        TOLLGATE_BACKUP_KEEP_DAYS: '0',
        TOLLGATE_BACKUP_KEEP_WEAKLY: '4',
        TOLLGATE_BACKUP_S3_REGION: 'eu-1',
      }),
      [
        'TOLLGATE_BACKUP_KEEP_WEAKLY: there is no such setting; did you mean TOLLGATE_BACKUP_KEEP_WEEKLY?',
        'TOLLGATE_BACKUP_AT is "25:00": expected a time of day in UTC, such as 03:15',
        'TOLLGATE_BACKUP_KEEP_DAYS is "0": expected a whole number from 1 to 36500',
        'TOLLGATE_BACKUP_S3_REGION is set without TOLLGATE_BACKUP_S3_BUCKET: expected the name of a bucket there',
      ],
    )
  })

  it('asks for a place, for both halves of credentials, and for one way to encrypt', async () => {
    const { recipient } = await newKey(0)
    assert.match(String(mistakesOf({})), /TOLLGATE_BACKUP_DIR and .*S3_BUCKET are not set/)
    const found = mistakesOf({
      TOLLGATE_BACKUP_S3_BUCKET: 'b-1',
      TOLLGATE_BACKUP_S3_ACCESS_KEY_ID: 'id',
      TOLLGATE_BACKUP_RECIPIENTS: recipient,
      TOLLGATE_BACKUP_PASSPHRASE: 'p',
    })
    assert.equal(found.length, 2)
    assert.match(String(found), /expected one of them.*expected both or none/s)
  })

  it('never shows what may be a secret', async () => {
    const { file } = await newKey(0)
    const secretKey = file.trim().split('\n').at(-1) ?? ''
    assert.match(secretKey, /^AGE-SECRET-KEY-1/)
    const found = mistakesOf({
      TOLLGATE_BACKUP_DIR: '/b',
      TOLLGATE_BACKUP_RECIPIENTS: secretKey,
      TOLLGATE_BACKUP_S3_ENDPOINT: 'https://me:hidden@s3.example.com',
      TOLLGATE_BACKUP_S3_BUCKET: 'b-1',
    })
    assert.equal(found.length, 2)
    assert.doesNotMatch(String(found), /AGE-SECRET|hidden/)
  })

  it('reads values from files, and public keys from a file with remarks', async (t) => {
    const folder = await mkdtemp(join(tmpdir(), 'tollgate-settings-'))
    t.after(() => rm(folder, { recursive: true }))
    const { recipient } = await newKey(0)
    const file = join(folder, 'keys')
    await writeFile(file, `# mine\n${recipient}\n\n# hers\n${recipient}\n`)
    const env = { TOLLGATE_BACKUP_DIR: '/b', TOLLGATE_BACKUP_RECIPIENTS_FILE: file }
    assert.deepEqual(readSettings(env, '/').recipients, [recipient, recipient])
    const both = mistakesOf({ ...env, TOLLGATE_BACKUP_RECIPIENTS: recipient })
    assert.match(String(both), /RECIPIENTS and TOLLGATE_BACKUP_RECIPIENTS_FILE are both set/)
    const none = mistakesOf({ ...env, TOLLGATE_BACKUP_RECIPIENTS_FILE: join(folder, 'none') })
    assert.match(String(none), /RECIPIENTS_FILE is ".*none": expected a file that can be read/)
  })
})

describe('docker/backup/README.md', () => {
  it('names every setting', async () => {
    const text = await readFile(join(ROOT, 'docker/backup/README.md'), 'utf8')
    for (const name of SETTING_NAMES) assert.ok(text.includes(`\`${name}\``), name)
    for (const [name] of text.matchAll(/\bTOLLGATE_BACKUP_(?!IMAGE)[A-Z0-9_]+\b/g))
      assert.ok(SETTING_NAMES.includes(name), name)
  })
})
