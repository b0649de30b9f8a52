/**
 * What docs/dokploy.md tells to send to Dokploy's API, taken from the page as it stands, against the
 * stand-in in test/support/dokploy.ts.
 */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it, type TestContext } from 'node:test'
import { parseEnv } from 'node:util'
import { blueprintOf, importTextOf } from '../../docker/dokploy/import.ts'
import { digestOf } from '../../src/stores/token-secret.ts'
import { runToEnd } from '../support/child.ts'
import { FakeDokploy } from '../support/dokploy.ts'
import { eventually } from '../support/eventually.ts'
import { startGateway } from '../support/gateway.ts'
import { findTool, ROOT } from '../support/tools.ts'

const KEY = 'dokploy-api-key-0123456789'
const PAGE = readFileSync(join(ROOT, 'docs/dokploy.md'), 'utf8')
const blocksOf = (language: string) =>
  [...PAGE.matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\``, 'gms'))].map(
    ([, text = '']) => text,
  )

let dokploy: FakeDokploy
before(async () => {
  dokploy = await FakeDokploy.start()
  dokploy.addKey(KEY)
})
after(() => dokploy.stop())

async function post(procedure: string, body: unknown): Promise<number> {
  const { status } = await fetch(`${dokploy.url}/api/${procedure}`, {
    method: 'POST',
    headers: { 'x-api-key': KEY, 'content-type': 'application/json' },
    body: JSON.stringify(body),
  })
  return status
}

/** Runs a block of the page with these variables, in a folder with these files. */
async function runBlock(
  t: TestContext,
  has: string,
  variables: Readonly<Record<string, string>>,
  files: Readonly<Record<string, string>> = {},
): Promise<void> {
  const block = blocksOf('sh').find((text) => text.includes(has))
  assert.ok(block !== undefined, has)
  const folder = await mkdtemp(join(tmpdir(), 'tollgate-page-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text)
  const env = { ...process.env, KEY, URL: dokploy.url, ...variables }
  const { code, stderr } = await runToEnd('bash', ['-euc', block], { env, cwd: folder })
  assert.equal(code, 0, stderr)
}

function hasJq(t: TestContext): boolean {
  if (findTool('jq') !== undefined && findTool('curl') !== undefined) return true
  if (process.env.CI === 'true') throw new Error('jq and curl are not installed: run .ci/tools')
  t.skip('SKIP: jq and curl are not installed: run .ci/tools')
  return false
}

describe('docs/dokploy.md, the API', () => {
  it('imports the template', async () => {
    const { fields } = dokploy.addService('compose', 'tollgate', '')
    const blueprint = await blueprintOf('ports')
    const body = { composeId: 'tollgate', base64: importTextOf(blueprint) }
    assert.equal(await post('compose.import', body), 200)
    assert.equal(fields.composeFile, blueprint.compose)
    assert.match(String(fields.env), /^TOLLGATE_TOKENS=first-agent=[0-9a-f]{64}$/m)
    // Step 2 of the page counts them.
    assert.match(PAGE, /one compose file, four variables, five files, one domain/)
    assert.equal(Object.keys(parseEnv(String(fields.env))).length, 4)
    assert.equal((fields.mounts as unknown[]).length, 5)
    assert.equal((fields.domains as unknown[]).length, 1)
  })

  it('starts the new task of an Application with these settings; with those of Dokploy it waits', async () => {
    const app = dokploy.addService('application', 'app1', 'TOKEN=old')
    const [settings, port, ...more] = blocksOf('json').map((text) =>
      JSON.parse(text.replaceAll('"ID"', '"app1"')),
    )
    assert.equal(more.length, 0)
    assert.equal(await post('port.create', port), 200)
    const reload = async () => {
      assert.equal(await post('application.reload', { applicationId: 'app1', appName: 'a' }), 200)
      return app.tasks.map(({ state, currentState }) => `${state} ${currentState}`)
    }
    // Dokploy says yes, and the new one waits for the port of the old one.
    assert.match((await reload())[0] ?? '', /Pending/)
    app.tasks.shift()
    assert.equal(await post('application.update', settings), 200)
    assert.deepEqual(app.fields.updateConfigSwarm, {
      Parallelism: 1,
      Order: 'stop-first',
      FailureAction: 'rollback',
    })
    assert.match((await reload())[0] ?? '', /^running Running/)
    assert.deepEqual(
      app.tasks.map(({ state }) => state),
      ['running', 'shutdown'],
    )
  })

  it('names no setting of Swarm that Dokploy does not know', async () => {
    dokploy.addService('application', 'app2', '')
    const body = { applicationId: 'app2', updateConfigSwarm: { parallelism: 1 } }
    assert.equal(await post('application.update', body), 400)
  })

  it('changes one line of the Environment and deploys', async (t) => {
    if (!hasJq(t)) return
    const { fields } = dokploy.addService('compose', 'com1', 'A=1\nB=two words\n')
    const block = 'api/compose.saveEnvironment'
    await runBlock(t, block, { ID: 'com1' })
    assert.equal(String(fields.env).trim(), 'A=1\nB=two words')
    assert.ok(dokploy.calls.includes('POST compose.saveEnvironment'))
    assert.ok(dokploy.calls.includes('POST compose.deploy'))
  })

  it('changes what a running gateway accepts by a File Mount, and deploys nothing', async (t) => {
    if (!hasJq(t)) return
    const [old, next] = ['an-old-token-0123456789abcdef', 'a-new-token-0123456789abcdef']
    const gateway = await startGateway(t, { tokens: [{ token: old, id: 'old1', holder: 'shop' }] })
    dokploy.mounts.set('mount1', { mountId: 'mount1', hostPath: gateway.tokensFile })
    const set = JSON.stringify({
      tokens: [old, next].map((token, at) => ({
        id: `token${at}`,
        holder: 'shop',
        sha256: digestOf(token),
      })),
    })
    const client = gateway.connect('HTTP/1.1', { token: next })
    assert.equal((await client.send()).httpStatus, 401)
    await runBlock(t, 'api/mounts.update', { MOUNT: 'mount1' }, { 'tokens.json': set })
    await eventually(async () => (await client.send()).httpStatus === 200, 'the new token accepted')
    assert.equal((await client.send({ token: old })).httpStatus, 200)
  })
})
