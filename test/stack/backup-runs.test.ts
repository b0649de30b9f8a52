/** Runs of the backup that go wrong or go on: killed, without room, on schedule, and for a real gateway. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { existsSync, statSync } from 'node:fs'
import { readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { type TestContext, test } from 'node:test'
import { LocalTarget } from '../../docker/backup/src/local-target.ts'
import { nameAt } from '../../docker/backup/src/names.ts'
import { type BackupPlace, makeHistory, makePlace, spawnBackup } from '../support/backup-tool.ts'
import { Client } from '../support/client.ts'
import { startCollector } from '../support/collector.ts'
import { eventually } from '../support/eventually.ts'
import { type Page, parsePage } from '../support/exposition.ts'
import { freePorts } from '../support/otelcol.ts'
import { runTollgate } from '../support/run-command.ts'
import { startS3 } from '../support/s3-server.ts'
import { mountSmallDisk } from '../support/small-disk.ts'
import { spawnGateway } from '../support/spawn-gateway.ts'
import { hasTools } from '../support/tools.ts'
import { startToxiproxy } from '../support/toxiproxy.ts'

const MIB = 1024 * 1024

async function makeRunning(t: TestContext): Promise<BackupPlace> {
  const place = await makePlace(t)
  await makeHistory(place, { days: 1, series: 5 })
  await place.prometheus.start()
  return place
}

const backupsIn = async ({ env }: BackupPlace) =>
  (await readdir(String(env.TOLLGATE_BACKUP_DIR)).catch(() => [])).toSorted()

test('killed while it writes, it leaves nothing good, and the next run cleans up', async (t) => {
  if (!hasTools(t, 'prometheus', 'promtool')) return
  const place = await makeRunning(t)
  const { env, prometheus, state, succeed } = place
  const snapshots = join(prometheus.data, 'snapshots')
  await writeFile(join(state, 'big.json'), randomBytes(150 * MIB))
  const [, recipient = ''] = (await succeed(['key', '--out', join(place.folder, 'key')])).split('=')
  const child = spawnBackup(['backup'], { ...env, TOLLGATE_BACKUP_RECIPIENTS: recipient })
  await eventually(async () => {
    assert.ok(!child.hasEnded, `not killed in time: ${child.output}`)
    const partial = (await backupsIn(place)).find((name) => name.endsWith('.partial'))
    const path = join(String(env.TOLLGATE_BACKUP_DIR), String(partial))
    return partial !== undefined && statSync(path).size > MIB
  }, 'a part of the archive')
  child.kill('SIGKILL')
  await child.exit

  assert.match(String(await backupsIn(place)), /^tollgate-[^,]*\.partial$/)
  assert.equal((await readdir(snapshots)).length, 1)
  assert.equal(await succeed(['list', '--json']), '')
  await place.refuse(['verify'], 65, /there is no whole backup/)

  await rm(join(state, 'big.json'))
  const archive = await succeed(['backup'])
  assert.deepEqual(await backupsIn(place), [archive, `${archive}.json`])
  assert.deepEqual(await readdir(snapshots), [])
})

test('killed while it uploads, it leaves no object, and the next run takes the parts away', async (t) => {
  if (!hasTools(t, 'prometheus', 'promtool', 'versitygw', 'toxiproxy-server')) return
  const place = await makeRunning(t)
  const server = await startS3(t, place.folder)
  const relay = await (await startToxiproxy(t)).relayTo(server.address)
  const bucket = { ...server.env(relay.address), TOLLGATE_BACKUP_DIR: 'off' }
  const parts = async () =>
    (await readdir(join(server.files, '.sgwtmp/multipart'), { recursive: true })).length
  await writeFile(join(place.state, 'big.json'), randomBytes(40 * MIB))
  await relay.spoil('bandwidth', { rate: 4000 }, 'upstream')
  const child = spawnBackup(['backup'], { ...place.env, ...bucket })
  await eventually(() => {
    assert.ok(!child.hasEnded, child.output)
    return server.requests.some((line) => line.includes('POST') && line.includes('uploads'))
  }, 'an upload in parts')
  child.kill('SIGKILL')
  await child.exit
  assert.ok((await parts()) > 0, 'parts are left')
  assert.equal(await place.succeed(['list', '--json'], bucket), '')

  await relay.mend()
  await rm(join(place.state, 'big.json'))
  await place.succeed(['backup'], bucket)
  assert.equal((await place.succeed(['list', '--json'], bucket)).split('\n').length, 1)
  assert.equal(await parts(), 0)
})

test('two runs at once do not disturb each other: the second gives way', async (t) => {
  if (!hasTools(t, 'prometheus', 'promtool')) return
  const place = await makeRunning(t)
  await writeFile(join(place.state, 'big.json'), randomBytes(100 * MIB))
  const first = spawnBackup(['backup'], {
    ...place.env,
    TOLLGATE_BACKUP_PASSPHRASE: 'correct horse battery staple',
  })
  await eventually(async () => {
    assert.ok(!first.hasEnded, first.output)
    return (await backupsIn(place)).length > 0
  }, 'the first one to write')
  // However fast it is.
  first.kill('SIGSTOP')
  await place.refuse(['backup'], 1, /another run of this tool is at work/)
  first.kill('SIGCONT')
  assert.equal((await first.exit).code, 0, first.output)
  assert.equal((await backupsIn(place)).length, 2)
})

test('without room it says so, before and while it writes, and keeps what there was', async (t) => {
  if (!hasTools(t, 'prometheus', 'promtool')) return
  const disk = await mountSmallDisk(t)
  if (disk === undefined) return
  const place = await makeRunning(t)
  await disk.fill()
  await place.refuse(
    ['backup'],
    1,
    /\d+ bytes are free, and the backup may take \d+; 0 must stay/,
    {
      TOLLGATE_BACKUP_DIR: disk.folder,
    },
  )
  await place.refuse(['backup'], 1, /bytes are free.*\(TOLLGATE_BACKUP_MIN_FREE\)/, {
    TOLLGATE_BACKUP_MIN_FREE: '1000GiB',
  })
  assert.deepEqual(await readdir(join(place.prometheus.data, 'snapshots')), [])

  await disk.free()
  const target = new LocalTarget(disk.folder, 0)
  const put = (day: number, bytes: number) =>
    target.put(
      {
        name: nameAt(Date.UTC(2026, 0, day), false),
        unpackedBytes: 1000,
        open: async () => Readable.from([Buffer.alloc(bytes), Buffer.alloc(bytes)]),
      },
      new AbortController().signal,
    )
  await put(1, 1000)
  await assert.rejects(put(2, 60_000), /the disk became full; nothing of it was kept/)
  assert.deepEqual(
    (await target.list()).map(({ isWhole }) => isWhole),
    [true],
  )
  assert.equal((await readdir(disk.folder)).length, 2)
})

test('on its schedule it backs up, verifies, tells, and after a restart still knows', async (t) => {
  if (!hasTools(t, 'prometheus', 'promtool', 'versitygw', 'toxiproxy-server')) return
  const place = await makeRunning(t)
  const server = await startS3(t, place.folder)
  const relay = await (await startToxiproxy(t)).relayTo(server.address)
  const [port] = await freePorts(1)
  const inHalfADay = new Date(Date.now() + 12 * 3_600_000).toISOString().slice(11, 16)
  const env = {
    ...place.env,
    ...server.env(relay.address),
    TOLLGATE_BACKUP_LISTEN: `127.0.0.1:${port}`,
    TOLLGATE_BACKUP_AT: inHalfADay,
    TOLLGATE_BACKUP_VERIFY_EVERY: '1h',
  }
  const metrics = async (): Promise<Page> => {
    const answer = await fetch(`http://127.0.0.1:${port}/metrics`)
    assert.match(String(answer.headers.get('content-type')), /^text\/plain; version=0\.0\.4/)
    return parsePage(await answer.text())
  }
  const numberAt = (page: Page, name: string, label?: string) =>
    page
      .get(`tollgate_backup_${name}`)
      ?.find(({ labels }) => label === undefined || Object.values(labels).includes(label))?.value
  const start = async () => {
    const child = spawnBackup(['run'], env)
    t.after(() => child.kill('SIGKILL'))
    await child.line('stderr', (line) => (line.includes('"listening"') ? true : undefined))
    return child
  }
  const until = (name: string, label: string | undefined, value: number | undefined) =>
    eventually(async () => {
      const page = await metrics()
      const found = numberAt(page, name, label)
      return (value === undefined ? found !== undefined : found === value) && page
    }, `${name} ${label} ${value}`)
  const stop = async (child: Awaited<ReturnType<typeof start>>) => {
    child.kill('SIGTERM')
    assert.deepEqual(await child.exit, { code: 0, signal: null }, child.output)
  }

  await relay.setAway(true)
  const beganMs = Date.now()
  const first = await start()
  assert.equal((await place.succeed(['healthcheck'], env)).trim(), '')
  const page = await until('last_verify_success_timestamp_seconds', undefined, undefined)
  assert.equal(numberAt(page, 'last_attempt_success', 'local'), 1)
  assert.equal(numberAt(page, 'last_attempt_success', 's3'), 0)
  assert.ok(Number(numberAt(page, 'failures_total', 's3')) >= 1)
  assert.equal(numberAt(page, 'last_success_timestamp_seconds', 's3'), undefined)
  await until('copies', 'local', 1)
  await stop(first)

  // The bucket is back: it gets the copy that there is, and no second backup is made.
  await relay.setAway(false)
  const second = await start()
  const later = await until('copies', 's3', 1)
  const [archive = ''] = await backupsIn(place)
  assert.equal((await backupsIn(place)).length, 2)
  assert.ok(existsSync(join(server.files, 'tollgate', archive)))
  for (const target of ['local', 's3']) {
    const atSeconds = Number(numberAt(later, 'last_success_timestamp_seconds', target))
    assert.ok(atSeconds * 1000 > beganMs - 1000 && atSeconds * 1000 < Date.now(), target)
    const { size } = statSync(join(String(place.env.TOLLGATE_BACKUP_DIR), archive))
    assert.equal(numberAt(later, 'last_size_bytes', target), size)
  }
  await stop(second)

  // Now there is nothing to do, and all is known from the listings.
  const third = await start()
  const known = await until('copies', 's3', 1)
  assert.equal(numberAt(known, 'copies', 'local'), 1)
  assert.ok(numberAt(known, 'last_verify_success_timestamp_seconds') !== undefined)
  assert.ok(numberAt(known, 'last_duration_seconds') !== undefined)
  assert.equal(numberAt(known, 'last_attempt_success', 'local'), undefined)
  await stop(third)
  assert.equal(
    (await fetch(`http://127.0.0.1:${port}/metrics`).catch(() => 'gone')) as string,
    'gone',
  )
})

test('a gateway whose state was lost takes the old token again', async (t) => {
  if (!hasTools(t, 'prometheus', 'promtool', 'openssl')) return
  const place = await makeRunning(t)
  const collector = await startCollector()
  t.after(() => collector.die())
  let token = ''
  const create = async (folder: string, holder: string) => {
    const settings = {
      TOLLGATE_STATE_DIR: folder,
      TOLLGATE_TOKENS_FILE: join(folder, 'tokens.json'),
    }
    const { stdout } = await runTollgate(['token', 'create', '--holder', holder], settings)
    return /^tg_\S+$/m.exec(stdout)?.[0] ?? assert.fail(stdout)
  }
  const gateway = await spawnGateway({
    collector: { http: `127.0.0.1:${collector.httpPort}` },
    env: {
      ...{ TOLLGATE_TOKENS: '', TOLLGATE_TOKENS_FILE: 'tokens.json' },
      TOLLGATE_BAN_STRIKES: 'off',
    },
    prepare: async (folder) => {
      token = await create(folder, 'shop')
    },
  })
  t.after(() => gateway[Symbol.asyncDispose]())
  const send = async (tried: string) => {
    const client = new Client({
      ...{ way: 'HTTP/1.1', address: gateway.http, token: tried },
      caPem: await readFile(gateway.certificate, 'utf8'),
    })
    const { httpStatus } = await client.send()
    client.close()
    return httpStatus
  }
  const env = { TOLLGATE_BACKUP_GATEWAY_DIR: gateway.folder }
  assert.equal(await send(token), 200)
  await place.succeed(['backup'], env)
  await place.refuse(
    ['restore', '--only', 'gateway'],
    65,
    /the gateway runs, and uses .*: stop it first/,
    env,
  )

  await gateway.stop()
  for (const name of ['tokens.json', 'ledger.json', 'bans.json'])
    await rm(join(gateway.folder, name), { force: true })
  const other = await create(gateway.folder, 'somebody-else')
  await gateway.start()
  assert.equal(await send(token), 401)
  assert.equal(await send(other), 200)

  await gateway.stop()
  for (const name of await readdir(gateway.folder))
    await rm(join(gateway.folder, name), { recursive: true })
  await place.succeed(['restore', '--only', 'gateway'], env)
  await gateway.start()
  assert.equal(await send(token), 200)
  assert.equal(await send(other), 401)
})
