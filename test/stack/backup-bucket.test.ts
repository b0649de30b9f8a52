/** Backups in a bucket of a real S3 server: in parts, refused, cut off on the way, and restored from. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { readdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { type BackupPlace, makeHistory, makePlace } from '../support/backup-tool.ts'
import { type S3Server, startS3 } from '../support/s3-server.ts'
import { hasTools } from '../support/tools.ts'
import { startToxiproxy } from '../support/toxiproxy.ts'

const OBJECTS = 'tollgate'
/** More than two parts of 8 MiB that nothing can compress. */
const BIG_BYTES = 20 * 1024 * 1024

interface Scene {
  readonly place: BackupPlace
  readonly server: S3Server
  /** Settings for copies in the bucket alone. */
  readonly only: Readonly<Record<string, string>>
}

async function makeScene(t: TestContext): Promise<Scene> {
  const place = await makePlace(t)
  const server = await startS3(t, place.folder)
  await makeHistory(place, { days: 1, series: 5 })
  await place.prometheus.start()
  return { place, server, only: { ...server.env(), TOLLGATE_BACKUP_DIR: 'off' } }
}

/** What lies in the bucket; uploads under way are hidden from listings. */
const objectsIn = async ({ files }: S3Server) =>
  (await readdir(join(files, OBJECTS)).catch(() => [])).toSorted()

/** Lines of `list --json`. */
const listed = async ({ place }: Scene, env: Readonly<Record<string, string>>) =>
  (await place.succeed(['list', '--json'], env))
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as { target: string; archive: string; isWhole: boolean })

test('a bucket gets the archive in parts, and gives it back', async (t) => {
  if (!hasTools(t, 'prometheus', 'promtool', 'versitygw')) return
  const scene = await makeScene(t)
  const { place, server, only } = scene
  const { prometheus, state, succeed } = place
  const big = randomBytes(BIG_BYTES)
  await writeFile(join(state, 'big.json'), big)

  const archive = await succeed(['backup'], only)
  assert.deepEqual(await objectsIn(server), [archive, `${archive}.json`])
  assert.deepEqual(await readdir(place.folder).then((names) => names.includes('backups')), false)
  const parts = server.requests.filter((line) => /PUT .*partNumber=\d/.test(line))
  assert.ok(parts.length >= 3, parts.join('\n'))
  assert.match(await succeed(['verify'], only), /is good/)

  await prometheus.stop()
  await rm(prometheus.data, { recursive: true })
  await rm(state, { recursive: true })
  await succeed(['restore', archive], only)
  await prometheus.start()
  await succeed(['check', '--drop-old'], only)
  assert.deepEqual(await readdir(state), ['acme', 'big.json', 'tokens.json'])

  await t.test('a damaged object is refused', async () => {
    await writeFile(join(server.files, OBJECTS, archive), 'damage', { flag: 'r+' })
    await place.refuse(['verify'], 65, /is damaged: its SHA-256 is/, only)
  })

  await t.test('an object without its seal does not count', async () => {
    await rm(join(server.files, OBJECTS, `${archive}.json`))
    assert.deepEqual(
      (await listed(scene, only)).map(({ isWhole }) => isWhole),
      [false],
    )
    await place.refuse(
      ['verify'],
      65,
      /there is no whole backup in s3:\/\/backups\/tollgate\//,
      only,
    )
    await place.refuse(['verify', archive], 65, /has no seal in s3/, only)
  })
})

test('a bucket that refuses costs the local copy nothing, and is told in words', async (t) => {
  if (!hasTools(t, 'prometheus', 'promtool', 'versitygw')) return
  const scene = await makeScene(t)
  const { place, server } = scene
  const wrong: readonly (readonly [string, Readonly<Record<string, string>>, RegExp])[] = [
    [
      'wrong secret',
      { TOLLGATE_BACKUP_S3_SECRET_ACCESS_KEY: 'wrong-0123456789' },
      /s3:\/\/backups\/tollgate\/: cannot write: SignatureDoesNotMatch/,
    ],
    ['no such bucket', { TOLLGATE_BACKUP_S3_BUCKET: 'none' }, /cannot write: NoSuchBucket/],
    [
      'nobody there',
      { TOLLGATE_BACKUP_S3_ENDPOINT: 'http://127.0.0.1:1' },
      /cannot write: .*ECONNREFUSED/,
    ],
  ]
  for (const [title, more, words] of wrong)
    await t.test(title, async () => {
      await place.refuse(['backup'], 1, words, { ...server.env(), ...more })
      assert.deepEqual(await objectsIn(server), [])
    })
  const kept = await listed(scene, {})
  assert.deepEqual(
    kept.map(({ isWhole }) => isWhole),
    [true, true, true],
  )
  assert.doesNotMatch(JSON.stringify(kept), /wrong-0123456789/)
})

test('a network that breaks leaves nothing good behind, and the next run cleans up', async (t) => {
  if (!hasTools(t, 'prometheus', 'promtool', 'versitygw', 'toxiproxy-server')) return
  const scene = await makeScene(t)
  const { place, server } = scene
  await writeFile(join(place.state, 'big.json'), randomBytes(BIG_BYTES))
  const relay = await (await startToxiproxy(t)).relayTo(server.address)
  const through = { ...server.env(relay.address), TOLLGATE_BACKUP_DIR: 'off' }

  // Each connection ends after 5 MB, so that no part gets through.
  await relay.spoil('limit_data', { bytes: 5_000_000 }, 'upstream')
  await place.refuse(['backup'], 1, /s3:\/\/backups\/tollgate\/: cannot write: /, through)
  assert.deepEqual(await listed(scene, through), [])

  await relay.mend()
  const archive = await place.succeed(['backup'], through)
  assert.deepEqual(await objectsIn(server), [archive, `${archive}.json`])

  await t.test('a download that is cut off is no good backup either', async () => {
    await relay.spoil('limit_data', { bytes: 9_000_000 })
    await place.refuse(['verify'], 1, /s3:\/\/backups\/tollgate\/: the download broke off/, through)
    await relay.mend()
    assert.match(await place.succeed(['verify'], through), /is good/)
  })
})
