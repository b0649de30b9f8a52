/** What of a state directory is backed up, and that it is read whole. */
import assert from 'node:assert/strict'
import { mkdir, mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { isState, readGatewayState } from '../../../docker/backup/src/gateway-state.ts'
import { StageFault } from '../../../docker/backup/src/unusable.ts'

async function makeState(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'tollgate-state-'))
  t.after(() => rm(folder, { recursive: true }))
  return folder
}

describe('readGatewayState', () => {
  it('takes what lasts, and nothing of the moment', async (t) => {
    const folder = await makeState(t)
    for (const name of ['acme', 'rotations', 'sets', '.ab12']) await mkdir(join(folder, name))
    const lasting = [
      'acme/account.json',
      'bans.json',
      'ca.pem',
      'ledger.json',
      'rotations/history.json',
      'rotations/web-shop.rotation.json',
      'sets/0123.json',
      'tokens.json',
    ]
    const passing = [
      '.ab12/s',
      'acme/renewal.lock',
      'bans.json.new',
      'rotations/1-2-3-4.claim',
      'rotations/web-shop.rotation.json.tmp',
      'tokens.json.12.0123abcd.tmp',
    ]
    for (const name of [...lasting, ...passing]) await writeFile(join(folder, name), name)
    const server = createServer()
    await new Promise<void>((resolve) => server.listen(join(folder, 'control.sock'), resolve))
    t.after(() => server.close())

    const sources = await readGatewayState(folder)
    assert.deepEqual(
      sources.map(({ path }) => path),
      lasting.map((name) => `gateway/${name}`),
    )
    for (const { path, sizeBytes, read } of sources) {
      const chunks: Uint8Array[] = []
      for await (const chunk of read()) chunks.push(chunk)
      assert.equal(Buffer.concat(chunks).toString(), path.slice('gateway/'.length))
      assert.equal(sizeBytes, path.length - 'gateway/'.length)
    }
  })

  it('follows links to files, and not to anything else', async (t) => {
    const folder = await makeState(t)
    await writeFile(join(folder, 'real.json'), 'real')
    await symlink('real.json', join(folder, 'tokens.json'))
    await symlink('/etc', join(folder, 'etc'))
    await symlink('nowhere', join(folder, 'broken'))
    const paths = (await readGatewayState(folder)).map(({ path }) => path)
    assert.deepEqual(paths, ['gateway/real.json', 'gateway/tokens.json'])
  })

  it('waits until what belongs together stands still', async (t) => {
    const folder = await makeState(t)
    const replace = async (text: string) => {
      for (const name of ['tokens.json', 'journal.json']) {
        await writeFile(join(folder, 'next'), text)
        await rename(join(folder, 'next'), join(folder, name))
      }
    }
    await replace('first')
    let isOver = false
    const changing = (async () => {
      for (let count = 0; count < 30; count += 1) await replace(`change ${count}`)
      isOver = true
    })()
    const sources = await readGatewayState(folder)
    await changing
    assert.ok(isOver)
    const texts = new Set<string>()
    for (const { path, read } of sources)
      if (path !== 'gateway/next') for await (const chunk of read()) texts.add(String(chunk))
    assert.equal(texts.size, 1, `of one time: ${[...texts]}`)
  })

  it('does not wait for the ledger, which never stands still', async (t) => {
    const folder = await makeState(t)
    await writeFile(join(folder, 'ledger.json'), '0')
    let isRunning = true
    const changing = (async () => {
      for (let count = 1; isRunning; count += 1) {
        await writeFile(join(folder, 'ledger.json.new'), String(count))
        await rename(join(folder, 'ledger.json.new'), join(folder, 'ledger.json'))
      }
    })()
    const sources = await readGatewayState(folder)
    isRunning = false
    await changing
    assert.deepEqual(
      sources.map(({ path }) => path),
      ['gateway/ledger.json'],
    )
  })

  it('says what it cannot read', async () => {
    await assert.rejects(readGatewayState('/nowhere/at/all'), (error: unknown) => {
      assert.ok(error instanceof StageFault)
      assert.equal(error.stage, 'gateway')
      assert.match(error.message, /state in \/nowhere\/at\/all: ENOENT/)
      return true
    })
  })
})

describe('isState', () => {
  it('leaves out what a restore has put there', () => {
    assert.ok(!isState('before-restore-20261130T031500Z'))
    assert.ok(!isState('.restoring-0123'))
    assert.ok(isState('.gitignore'))
  })
})
