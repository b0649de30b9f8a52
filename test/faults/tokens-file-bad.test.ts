/** The token file goes bad while the gateway runs: the last good set stays in use, and it is said once. */
import assert from 'node:assert/strict'
import { chmod, mkdir, mkdtemp, rename, rm, symlink, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { assertAccepted, assertRefusedWith } from '../support/answers.ts'
import { eventually } from '../support/eventually.ts'
import { sumOf } from '../support/exposition.ts'
import { startGateway, type TestGateway, TOKEN, tokenSet } from '../support/gateway.ts'

const OTHER = 'another-token-of-the-tests-0123456789'
/** Who owns nothing. */
const NOBODY = 65_534

/** What happens to the file, and the words that say so. */
const MISHAPS: Record<string, { spoil(path: string): Promise<unknown>; words: RegExp }> = {
  truncated: { spoil: (path) => truncate(path, 40), words: /JSON/ },
  emptied: { spoil: (path) => truncate(path, 0), words: /empty|JSON/ },
  'a set without tokens': {
    spoil: (path) => writeFile(path, '{"tokens":[]}'),
    words: /no tokens|empty/,
  },
  'not UTF-8': { spoil: (path) => writeFile(path, Buffer.alloc(100, 0xff)), words: /UTF-8/ },
  removed: { spoil: (path) => rm(path), words: /no such file/ },
  'a directory in its place': {
    spoil: async (path) => {
      await rm(path)
      await mkdir(path)
    },
    words: /directory|regular file/,
  },
  'a symlink to nowhere': {
    spoil: async (path) => {
      await symlink('/nowhere/at/all', `${path}.link`)
      await rename(`${path}.link`, path)
    },
    words: /no such file/,
  },
  'a symlink to itself': {
    spoil: async (path) => {
      await rm(path)
      await symlink(path, path)
    },
    words: /circle/,
  },
  'a device': {
    spoil: async (path) => {
      await rm(path)
      await symlink('/dev/zero', path)
    },
    words: /regular file/,
  },
}

for (const [name, { spoil, words }] of Object.entries(MISHAPS)) {
  test(name, async (t) => {
    const gateway = await startGateway(t)
    const client = gateway.connect('gRPC')
    assertAccepted(await client.send())
    await spoil(gateway.tokensFile)
    await assertKept(gateway, words)
    assertAccepted(await client.send())
    await rm(gateway.tokensFile, { recursive: true, force: true })
    await gateway.writeTokens([{ token: TOKEN }, { token: OTHER }])
    await assertLoaded(gateway, 2)
    assertAccepted(await client.send({ token: OTHER }))
    await gateway.assertInvariant()
  })
}

test('no permission', async (t) => {
  const gateway = await startGateway(t)
  const client = gateway.connect('gRPC')
  const isRoot = process.geteuid?.() === 0
  // Root may read everything, so it reads as a user who may not even enter the folder.
  if (!isRoot) await chmod(gateway.tokensFile, 0)
  const reload = async () => {
    if (isRoot) process.seteuid?.(NOBODY)
    await gateway.reload().finally(() => isRoot && process.seteuid?.(0))
  }
  await reload()
  await assertKept(gateway, /permission/, reload)
  assertAccepted(await client.send())
  await gateway.writeTokens([{ token: OTHER }])
  await assertLoaded(gateway, 1)
  assertRefusedWith(await client.send(), 401, 16)
  assertAccepted(await client.send({ token: OTHER }))
})

test('swapped through a symlink of its directory, as Kubernetes does', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'tollgate-mount-'))
  t.after(() => rm(folder, { recursive: true }))
  const publish = async (version: string, text: string) => {
    await mkdir(join(folder, version))
    await writeFile(join(folder, version, 'tokens.json'), text)
    await symlink(version, join(folder, 'next'))
    await rename(join(folder, 'next'), join(folder, '..data'))
  }
  await publish('..1', tokenSet([{ token: TOKEN }]))
  const path = join(folder, 'tokens.json')
  await symlink('..data/tokens.json', path)
  const gateway = await startGateway(t, { env: { TOKENS_FILE: path } })
  const client = gateway.connect('gRPC')
  assertAccepted(await client.send())
  await publish('..2', tokenSet([{ token: OTHER }]))
  await rm(join(folder, '..1'), { recursive: true })
  await eventually(
    async () => (await client.send({ token: OTHER })).grpcStatus === 0,
    'the new set in force',
  )
  assertRefusedWith(await client.send(), 401, 16)
  await publish('..3', '{"tokens":[')
  await assertKept(gateway, /JSON/)
  assertAccepted(await client.send({ token: OTHER }))
})

async function assertKept(
  gateway: TestGateway,
  words: RegExp,
  reload = gateway.reload,
): Promise<void> {
  const lines = async () =>
    (await gateway.log()).filter(({ event }) => event === 'tokens_kept_last_good')
  await eventually(async () => (await lines()).length > 0, 'the problem in the log')
  assert.match(String((await lines())[0]?.msg), words)
  for (let again = 0; again < 3; again += 1) await reload()
  assert.equal((await lines()).length, 1, 'said once')
  const page = await gateway.metrics()
  assert.equal(sumOf(page, 'tollgate_tokens_last_reload_success'), 0)
  assert.equal(sumOf(page, 'tollgate_tokens'), 1)
}

async function assertLoaded(gateway: TestGateway, count: number): Promise<void> {
  const page = await gateway.until(
    (now) => sumOf(now, 'tollgate_tokens_last_reload_success') === 1,
    'a good set again',
  )
  assert.equal(sumOf(page, 'tollgate_tokens'), count)
}
