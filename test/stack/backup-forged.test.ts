/**
 * Archives as whoever can write into a bucket could forge them: the seal is right, and the content is
 * not. Neither `verify` nor `restore` takes one.
 */
import { test } from 'node:test'
import { LocalTarget } from '../../docker/backup/src/local-target.ts'
import type { Manifest } from '../../docker/backup/src/manifest.ts'
import { nameAt } from '../../docker/backup/src/names.ts'
import { pack, type Source } from '../../docker/backup/src/pack.ts'
import { makePlace } from '../support/backup-tool.ts'
import { hasTools } from '../support/tools.ts'

test('archives with a right seal and wrong content are refused', async (t) => {
  if (!hasTools(t, 'prometheus')) return
  const place = await makePlace(t)
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
})
