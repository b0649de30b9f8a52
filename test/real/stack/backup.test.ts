/**
 * A real Prometheus with days of history is backed up, destroyed and restored, and has every sample
 * of every series again; and an archive that is broken, in whatever way, is refused before anything is
 * touched. With Debian's Prometheus, and with that of the compose file where it is built.
 */
import assert from 'node:assert/strict'
import { copyFile, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { LocalTarget } from '../../../docker/backup/src/local-target.ts'
import type { Manifest } from '../../../docker/backup/src/manifest.ts'
import { nameAt } from '../../../docker/backup/src/names.ts'
import { pack, type Source } from '../../../docker/backup/src/pack.ts'
import { type BackupPlace, makeHistory, makePlace } from '../../support/backup-tool.ts'
import { eventually } from '../../support/eventually.ts'
import { ask, query } from '../../support/prometheus.ts'
import { hasTools } from '../../support/tools.ts'

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

  await forged(t, place)
})

/** Archives with a right seal and wrong content, as whoever can write into a bucket could make them. */
async function forged(t: TestContext, place: BackupPlace): Promise<void> {
  const ulid = '01M8NVFPWPT1PPKWDEFR0S489A'
  const source = (path: string, text = 'x'): Source => ({
    ...{ path, sizeBytes: text.length, mode: 0o644, modifiedMs: 0 },
    async *read() {
      yield Buffer.from(text)
    },
  })
  const block = [
    source(`prometheus/${ulid}/meta.json`, '{"minTime":0,"maxTime":1}'),
    source(`prometheus/${ulid}/index`),
  ]
  const manifest: Manifest = {
    ...{ version: 1, tool: 'test', createdAt: '2026-11-30T00:00:00Z', prometheusVersion: '3.0.0' },
    blocks: [{ ulid, minTimeMs: 0, maxTimeMs: 1, series: 1, samples: 1, chunks: 1 }],
    ...{ files: [], checks: [], totals: { files: 0, bytes: 0, samples: 0 }, hasGateway: true },
  }
  const put = async (
    timeMs: number,
    sources: readonly Source[],
    change: (manifest: Manifest) => unknown,
  ) => {
    const name = nameAt(timeMs, false)
    const lock = { recipients: [], passphrase: undefined }
    const open = () =>
      pack(sources, (files) => JSON.stringify(change({ ...manifest, files })), lock)
    const target = new LocalTarget(String(place.env.TOLLGATE_BACKUP_DIR), 0)
    await target.put({ name, open, unpackedBytes: 1000 }, new AbortController().signal)
    return name.archive
  }
  const cases: readonly (readonly [
    string,
    readonly Source[],
    (manifest: Manifest) => unknown,
    RegExp,
  ])[] = [
    [
      'a file leads out of the folder',
      [source('gateway/../../evil')],
      (m) => m,
      /no part of a backup/,
    ],
    ['a file has an absolute path', [source('/etc/evil')], (m) => m, /no part of a backup/],
    ['a file is there twice', [...block, ...block], (m) => m, /is in the archive twice/],
    [
      'a file is missing',
      block,
      (m) => ({ ...m, files: [...m.files, { ...m.files[0], path: 'gateway/a' }] }),
      /gateway\/a is missing/,
    ],
    [
      'a file is too many',
      block,
      (m) => ({ ...m, files: m.files.slice(1) }),
      /and not in its manifest/,
    ],
    [
      'a file is another',
      block,
      (m) => ({ ...m, files: m.files.map((file) => ({ ...file, sha256: '0'.repeat(64) })) }),
      /is not what the manifest says/,
    ],
    [
      'a block is missing',
      block,
      (m) => ({ ...m, blocks: [...m.blocks, { ...m.blocks[0], ulid: 'X' }] }),
      /the block X of the manifest is missing/,
    ],
    [
      'it holds more than was sealed',
      [source('gateway/big', 'x'.repeat(1001))],
      (m) => m,
      /holds more than the 1000 bytes of its seal/,
    ],
    [
      'the manifest is of a later version',
      block,
      (m) => ({ ...m, version: 2 }),
      /has version 2, and this tool knows 1/,
    ],
    ['the manifest is none', block, () => [], /the manifest in the archive cannot be read/],
    [
      'the blocks are no blocks',
      block,
      (m) => m,
      /Prometheus (?:takes 0 of the 1 blocks|does not start on the blocks)/,
    ],
  ]
  for (const [index, [title, sources, change, words]] of cases.entries())
    await t.test(`forged: ${title}`, async () => {
      const archive = await put(Date.UTC(2020, 0, 1 + index), sources, change)
      for (const command of ['verify', 'restore']) await place.refuse([command, archive], 65, words)
    })
}
