/** The disk with the token file is full: the file stays whole, the gateway keeps its tokens, both say so. */
import assert from 'node:assert/strict'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { assertAccepted, assertRefusedWith } from '../support/answers.ts'
import { eventually } from '../support/eventually.ts'
import { startGateway, TOKEN } from '../support/gateway.ts'
import { runTollgate } from '../support/run-command.ts'
import { mountSmallDisk } from '../support/small-disk.ts'

const UNKNOWN = 'no-such-token-0123456789'

test('tollgate token create and revoke', async (t) => {
  const disk = await mountSmallDisk(t)
  if (disk === undefined) return
  const gateway = await startGateway(t, { folder: disk.folder })
  const client = gateway.connect('gRPC')
  const before = await readFile(gateway.tokensFile, 'utf8')
  await disk.fill()
  for (const args of [
    ['create', '--holder', 'somebody'],
    ['revoke', 'test-0'],
  ]) {
    const { code, stdout, stderr } = await runTollgate(
      ['token', ...args, '--file', gateway.tokensFile],
      {},
    )
    assert.ok(code === 73 || code === 74, `${code}: ${stderr}`)
    assert.match(stderr, /disk is full/)
    assert.doesNotMatch(stderr, /^ {4}at /m, 'no stack')
    assert.doesNotMatch(stdout, /tg_/, 'no token that is not in force')
  }
  assert.equal(await readFile(gateway.tokensFile, 'utf8'), before)
  const left = (await readdir(disk.folder)).filter((name) => /\.tmp$|\.lock$/.test(name))
  assert.deepEqual(left, [], 'nothing half-written stays')
  await gateway.reload()
  assertAccepted(await client.send())

  await disk.free()
  const made = await runTollgate(
    ['token', 'create', '--holder', 'somebody', '--file', gateway.tokensFile],
    {},
  )
  assert.equal(made.code, 0, made.stderr)
  const token = /tg_\w+/.exec(made.stdout)?.[0] ?? ''
  await eventually(async () => (await client.send({ token })).grpcStatus === 0, 'it in force')
  await gateway.assertInvariant()
  await gateway.stop()
})

test('bans cannot be kept: they hold all the same, and are kept when there is room', async (t) => {
  const disk = await mountSmallDisk(t)
  if (disk === undefined) return
  const gateway = await startGateway(t, {
    folder: disk.folder,
    env: { BAN_EXEMPT: 'none', BAN_STRIKES: '1' },
  })
  await disk.fill()
  const ban = async (localAddress: string) => {
    const attacker = gateway.connect('gRPC', { localAddress })
    assertRefusedWith(await attacker.send({ token: UNKNOWN }), 401, 16)
    assertRefusedWith(await attacker.send({ token: TOKEN }), 403, 7)
  }
  await ban('127.0.0.2')
  const said = async (words: RegExp) => {
    const text = await gateway.logText()
    return words.test(text)
  }
  await eventually(() => said(/Cannot keep bans in/), 'the problem in the log')
  await disk.free()
  await ban('127.0.0.3')
  await eventually(() => said(/Bans are kept in .* again/), 'the recovery in the log')
  const kept = await readFile(join(disk.folder, 'bans.json'), 'utf8')
  for (const address of ['127.0.0.2', '127.0.0.3']) assert.ok(kept.includes(address))
  await gateway.assertInvariant()
  await gateway.stop()
})
