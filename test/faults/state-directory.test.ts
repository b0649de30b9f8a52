/** A state directory that cannot be used: said in words at the start, with exit code 73. */
import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { writeCertificate } from '../support/certs.ts'
import { FREE_PORTS, runTollgate } from '../support/run-command.ts'
import { mountSmallDisk } from '../support/small-disk.ts'
import { TOKEN } from '../support/spawn-gateway.ts'

/** Nothing configured, and everything configured: what is written at the start differs. */
async function settings(t: TestContext): Promise<Record<string, Record<string, string>>> {
  const folder = await mkdtemp(join(tmpdir(), 'tollgate-state-'))
  t.after(() => rm(folder, { recursive: true }))
  const { certPath, keyPath } = await writeCertificate(folder)
  return {
    'nothing configured': FREE_PORTS,
    'everything configured': {
      ...FREE_PORTS,
      TOLLGATE_TLS_CERT: certPath,
      TOLLGATE_TLS_KEY: keyPath,
      TOLLGATE_TOKENS: `tests=${TOKEN}`,
      TOLLGATE_COLLECTOR_GRPC: 'http://127.0.0.1:9',
    },
  }
}

async function assertRefusedInWords(t: TestContext, stateDir: string, words: RegExp) {
  for (const [name, env] of Object.entries(await settings(t))) {
    const { code, stderr } = await runTollgate(['serve'], { ...env, TOLLGATE_STATE_DIR: stateDir })
    const said = stderr.split('\n').filter((line) => line.startsWith('tollgate: '))
    assert.equal(code, 73, `${name}: ${stderr}`)
    assert.match(said.join('\n'), words, name)
    assert.ok(said.join('\n').includes(stateDir), 'names the directory')
    assert.doesNotMatch(stderr, /^ {4}at /m, 'no stack')
  }
}

test('a full disk', async (t) => {
  const disk = await mountSmallDisk(t)
  if (disk === undefined) return
  await disk.fill()
  const { stderr, code } = await runTollgate(['serve'], {
    ...FREE_PORTS,
    TOLLGATE_STATE_DIR: disk.folder,
  })
  assert.equal(code, 73, stderr)
  assert.match(stderr, /^tollgate: .*(no space left|disk is full)/m)
  assert.doesNotMatch(stderr, /^ {4}at /m, 'no stack')
})

test('a read-only disk', async (t) => {
  const disk = await mountSmallDisk(t)
  if (disk === undefined) return
  await disk.makeReadOnly()
  await assertRefusedInWords(t, disk.folder, /read-only/)
})

test('a file where the directory should be', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'tollgate-state-'))
  t.after(() => rm(folder, { recursive: true }))
  const file = join(folder, 'state')
  await writeFile(file, '')
  await assertRefusedInWords(t, file, /not a directory|is a file|in the way|exists/i)
})
