/**
 * A real Prometheus with days of history is backed up, destroyed and restored, and has every sample
 * of every series again; and an archive that is broken, in whatever way, is refused before anything is
 * touched. With Debian's Prometheus, and with that of the compose file where it is built.
 */
import assert from 'node:assert/strict'
import { copyFile, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { makeHistory, makePlace } from '../support/backup-tool.ts'
import { eventually } from '../support/eventually.ts'
import { ask, query } from '../support/prometheus.ts'
import { hasTools } from '../support/tools.ts'

interface Matrix {
  readonly result: readonly {
    readonly metric: Readonly<Record<string, string>>
    readonly values: readonly (readonly [number, string])[]
  }[]
}

/** Every sample of every series up to a time, by its labels. */
async function samplesOf(address: string, untilMs: number): Promise<ReadonlyMap<string, string>> {
  const all = new Map<string, string>()
  for (const name of await ask<string[]>(address, 'label/__name__/values')) {
    const expr = encodeURIComponent(`{__name__="${name}"}[10d]`)
    const { result } = await ask<Matrix>(address, `query?time=${untilMs / 1000}&query=${expr}`)
    for (const { metric, values } of result)
      all.set(JSON.stringify(Object.entries(metric).toSorted()), JSON.stringify(values))
  }
  return all
}

const countOf = (samples: ReadonlyMap<string, string>) =>
  [...samples.values()].reduce((sum, values) => sum + (JSON.parse(values) as []).length, 0)

for (const program of ['prometheus', 'prometheus-3'])
  test(`${program}: destroyed and restored, every series has every sample again`, async (t) => {
    if (!hasTools(t, program, 'promtool')) return
    const place = await makePlace(t, program)
    const { prometheus, state, succeed } = place
    await makeHistory(place)
    await prometheus.start()
    // Some of it is in memory only.
    await eventually(
      async () =>
        Number((await query(prometheus.address, 'count_over_time(up[1h])'))[0]?.value[1]) >= 5,
      'a few scrapes',
    )
    const untilMs = Date.now() - 1500
    const before = await samplesOf(prometheus.address, untilMs)
    assert.ok(before.size > 100 && countOf(before) > 15_000, `${before.size}, ${countOf(before)}`)
    t.diagnostic(`${before.size} series, ${countOf(before)} samples`)

    const archive = await succeed(['backup'])
    assert.deepEqual(await readdir(join(prometheus.data, 'snapshots')), [], 'the snapshot is gone')
    assert.match(await succeed(['verify', archive]), /is good: .* (\d+) samples read of/)

    await t.test('not while Prometheus runs', () =>
      place.refuse(['restore'], 65, /Prometheus runs at .* and uses .*data: stop it first/),
    )

    await prometheus.stop()
    await rm(prometheus.data, { recursive: true })
    await rm(state, { recursive: true })
    await succeed(['restore', archive])
    await prometheus.start()
    assert.match(await succeed(['check', '--drop-old']), /Prometheus has what the backup had/)
    const after = await samplesOf(prometheus.address, untilMs)
    assert.equal(after.size, before.size)
    for (const [series, values] of before) assert.equal(after.get(series), values, series)
    assert.equal(await readFile(join(state, 'acme/account.json'), 'utf8'), '{"key":"k"}\n')

    await t.test(
      'and over data that is there: the old content is put aside, then removed',
      async () => {
        await prometheus.stop()
        await writeFile(join(state, 'tokens.json'), 'newer')
        await succeed(['restore', archive])
        const [aside] = (await readdir(state)).filter((name) => name.startsWith('before-restore-'))
        assert.equal(await readFile(join(state, String(aside), 'tokens.json'), 'utf8'), 'newer')
        assert.equal(await readFile(join(state, 'tokens.json'), 'utf8'), '{"tokens":[]}\n')
        await place.refuse(['check'], 65, /is not ready: start Prometheus, and check again/)
        await prometheus.start()
        await succeed(['check'])
        assert.ok((await readdir(state)).includes(String(aside)))
        await succeed(['check', '--drop-old'])
        const left = [...(await readdir(state)), ...(await readdir(prometheus.data))]
        assert.deepEqual(
          left.filter((name) => name.startsWith('before-')),
          [],
        )
        assert.deepEqual(await samplesOf(prometheus.address, untilMs), before)
      },
    )

    await t.test('a Prometheus that has less than the backup had is found out', async () => {
      await prometheus.stop()
      const blocks = (await readdir(prometheus.data)).filter((name) => name.length === 26)
      for (const block of blocks) await rm(join(prometheus.data, block), { recursive: true })
      await prometheus.start()
      await place.refuse(['check'], 65, /samples are missing: .* gives 0 for .*, and gave \d+ when/)
    })
  })

test('a broken backup is refused in words, and nothing is touched', async (t) => {
  if (!hasTools(t, 'prometheus', 'promtool')) return
  const place = await makePlace(t)
  const { env, folder, prometheus, state, succeed } = place
  await makeHistory(place, { days: 1, series: 5 })
  await prometheus.start()
  const backups = String(env.TOLLGATE_BACKUP_DIR)
  const keyFile = join(folder, 'key')
  const [, recipient = ''] = (await succeed(['key', '--out', keyFile])).split('=')
  const lock = { TOLLGATE_BACKUP_RECIPIENTS: recipient }
  const key = { TOLLGATE_BACKUP_IDENTITY_FILE: keyFile }
  const plain = await succeed(['backup'])
  const secret = await succeed(['backup'], lock)
  assert.match(secret, /\.age$/)
  await prometheus.stop()
  const contentOf = async () => [await readdir(prometheus.data), await readdir(state)]
  const content = await contentOf()

  /** Both commands refuse what `spoil` has made of an archive; afterwards all is as before. */
  const refused = (
    title: string,
    archive: string,
    words: RegExp,
    spoil: (path: string) => Promise<void> = async () => {},
    more: Readonly<Record<string, string>> = key,
  ) =>
    t.test(title, async () => {
      const path = join(backups, archive)
      const [bytes, seal] = [await readFile(path), await readFile(`${path}.json`)]
      await spoil(path)
      for (const command of ['verify', 'restore'])
        await place.refuse([command, archive], 65, words, more)
      assert.deepEqual(await contentOf(), content)
      await writeFile(path, bytes)
      await writeFile(`${path}.json`, seal)
    })

  const flip = (at: number) => async (path: string) => {
    const bytes = await readFile(path)
    const index = Math.floor(bytes.length * at)
    bytes[index] = (bytes[index] ?? 0) ^ 1
    await writeFile(path, bytes)
  }
  for (const archive of [plain, secret]) {
    const kind = archive === plain ? 'plain' : 'encrypted'
    for (const at of [0, 0.3, 0.999])
      await refused(
        `a byte is flipped at ${at}, ${kind}`,
        archive,
        /is damaged: its SHA-256 is/,
        flip(at),
      )
    for (const part of [0, 0.5, 0.9999])
      await refused(
        `only ${part} of it is there, ${kind}`,
        archive,
        /is cut off: it has \d+ bytes/,
        async (path) => {
          const bytes = await readFile(path)
          await writeFile(path, bytes.subarray(0, Math.floor(bytes.length * part)))
        },
      )
    await refused(`something is behind it, ${kind}`, archive, /is too long/, (path) =>
      writeFile(path, 'x', { flag: 'a' }),
    )
  }
  await refused('it has no seal', plain, /has no seal .*it was never finished/, (path) =>
    rm(`${path}.json`),
  )
  await refused('its seal is that of another', plain, /is not the seal of/, (path) =>
    copyFile(join(backups, `${secret}.json`), `${path}.json`),
  )
  await refused('there is no such archive', plain, /there is no tollgate-/, (path) => rm(path))
  await refused('there is no key', secret, /is encrypted and there is no key: set/, undefined, {})
  await succeed(['key', '--out', join(folder, 'other')])
  await refused('the key is another one', secret, /the key does not fit/, undefined, {
    TOLLGATE_BACKUP_IDENTITY_FILE: join(folder, 'other'),
  })
  await refused('the key is a passphrase', secret, /the key does not fit/, undefined, {
    TOLLGATE_BACKUP_PASSPHRASE: 'correct horse',
  })

  await t.test('a name that is none, and an empty folder', async () => {
    await place.refuse(
      ['verify', '../../etc/passwd'],
      65,
      /is no name of a backup: see tollgate-backup list/,
    )
    const empty = { TOLLGATE_BACKUP_DIR: join(folder, 'empty') }
    await mkdir(join(folder, 'empty'))
    await place.refuse(['restore'], 65, /there is no whole backup in .*empty/, empty)
  })
})
