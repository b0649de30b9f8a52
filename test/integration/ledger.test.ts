/** What the gateway knows of its tokens: who used them, how that outlives it, and grace for the late. */
import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import type { TokenPage, TokenRow } from '../../src/stores/token-page.ts'
import { assertAccepted, assertRefusedWith } from '../support/answers.ts'
import { type Answer, Client, WAYS } from '../support/client.ts'
import { startCollector } from '../support/collector.ts'
import { eventually } from '../support/eventually.ts'
import { sumOf } from '../support/exposition.ts'
import { startGateway, type TestGateway, TOKEN } from '../support/gateway.ts'
import { runTollgate } from '../support/run-command.ts'
import { spanMessage } from '../support/span.ts'
import { spawnGateway } from '../support/spawn-gateway.ts'

const OLD = 'the-old-token-0123456789abcdef'
const NEW = 'the-new-token-0123456789abcdef'
const HOUR_MS = 3_600_000
const ago = (ms: number) => new Date(Date.now() - ms).toISOString()

async function pageOf(admin: string): Promise<TokenPage> {
  const answer = await fetch(`http://${admin}/tokens`)
  assert.equal(answer.status, 200)
  return (await answer.json()) as TokenPage
}

async function rowOf(gateway: TestGateway, id: string): Promise<TokenRow> {
  const row = (await pageOf(gateway.addresses.admin)).tokens.find((token) => token.id === id)
  assert.ok(row !== undefined, id)
  return row
}

/** What the client was told, in words. */
function words({ way, body, grpcMessage }: Answer): string {
  return way === 'gRPC' ? decodeURIComponent(grpcMessage ?? '') : String(body)
}

async function folderOf(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'tollgate-ledger-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  return folder
}

test('/tokens says who used which token last, from where and with what', async (t) => {
  const gateway = await startGateway(t, {
    tokens: [
      { token: OLD, id: 'old', holder: 'agents', createdAt: '2026-01-01' },
      { token: NEW, id: 'new', holder: 'agents', createdAt: '2026-02-01', scopes: ['logs'] },
    ],
  })
  assert.equal((await rowOf(gateway, 'new')).state, 'pending')
  for (const way of WAYS) {
    assertAccepted(await gateway.connect(way).send({ token: OLD, message: spanMessage('run', 1) }))
    assertRefusedWith(await gateway.connect(way).send({ token: NEW }), 403, 7)
  }
  const { sources } = await pageOf(gateway.addresses.admin)
  assert.equal(sources[0]?.place, `file:${gateway.tokensFile}`)
  assert.equal(sources[0]?.isGood, true)
  const old = await rowOf(gateway, 'old')
  assert.equal(old.requests, WAYS.length)
  assert.ok(old.bytes > 0)
  assert.equal(old.state, 'current')
  assert.equal(old.lastUse?.address, '127.0.0.1')
  assert.equal(old.lastUse?.signal, 'traces')
  const { refusals, lastRefusal, lastUse } = await rowOf(gateway, 'new')
  assert.deepEqual(refusals, { scope_denied: WAYS.length })
  assert.equal(lastRefusal?.reason, 'scope_denied')
  assert.equal(lastUse, null)
  const page = await gateway.metrics()
  assert.equal(
    sumOf(page, 'tollgate_token_bytes_total', { token: 'old', holder: 'agents' }),
    old.bytes,
  )
  assert.equal(sumOf(page, 'tollgate_holder_refusals_total', { holder: 'agents' }), WAYS.length)
})

test('a restart keeps the ledger', async (t) => {
  const folder = await folderOf(t)
  const tokens = [
    { token: OLD, id: 'old', expiresAt: ago(HOUR_MS) },
    { token: TOKEN, id: 'current' },
  ]
  const first = await startGateway(t, { folder, tokens })
  for (const way of WAYS) {
    assertAccepted(await first.connect(way).send())
    assertRefusedWith(await first.connect(way).send({ token: OLD }), 401, 16)
  }
  const before = await pageOf(first.addresses.admin)
  await first.stop()
  const second = await startGateway(t, { folder, tokens })
  assert.deepEqual((await pageOf(second.addresses.admin)).tokens, before.tokens)
  assert.equal(sumOf(await second.metrics(), 'tollgate_token_requests_total'), 0)
  assertAccepted(await second.connect('gRPC').send())
  assert.equal((await rowOf(second, 'current')).requests, WAYS.length + 1)
  await second.stop()
})

test('kill -9 takes at most the last seconds of the ledger with it', async (t) => {
  const collector = await startCollector()
  t.after(() => collector.die())
  await using gateway = await spawnGateway({
    collector: { grpc: `127.0.0.1:${collector.grpcPort}` },
    env: { TOLLGATE_PARENT: 'off' },
  })
  const caPem = await readFile(gateway.certificate, 'utf8')
  const client = new Client({ way: 'gRPC', address: gateway.grpc, caPem, token: TOKEN })
  t.after(() => client.close())
  assertAccepted(await client.send())
  const ledger = join(gateway.folder, 'ledger.json')
  const isKept = async () => (await readFile(ledger, 'utf8').catch(() => '')).includes('"requests"')
  await eventually(isKept, 'the ledger on disk')
  process.kill(gateway.pid, 'SIGKILL')
  await gateway.exit()
  await gateway.start()
  const [row] = (await pageOf(gateway.admin)).tokens
  assert.equal(row?.requests, 1)
  assert.equal(row?.lastUse?.address, '127.0.0.1')
})

test('a gateway that is replaced hands its ledger to the next one', async (t) => {
  const collector = await startCollector()
  t.after(() => collector.die())
  await using gateway = await spawnGateway({
    collector: { grpc: `127.0.0.1:${collector.grpcPort}` },
    env: { TOLLGATE_PARENT: 'on' },
  })
  const caPem = await readFile(gateway.certificate, 'utf8')
  const client = new Client({ way: 'gRPC', address: gateway.grpc, caPem, token: TOKEN })
  t.after(() => client.close())
  assertAccepted(await client.send())
  client.close()
  process.kill(gateway.pid, 'SIGUSR2')
  await gateway.logged('listening', 2)
  await gateway.logged('stop', 1)
  const [row] = (await pageOf(gateway.admin)).tokens
  assert.equal(row?.requests, 1)
})

for (const way of WAYS) {
  test(`${way}: a late token is accepted until its holder uses the newer one`, async (t) => {
    const expiresAt = ago(HOUR_MS)
    const gateway = await startGateway(t, {
      env: { TOKEN_GRACE: '1d' },
      tokens: [
        { token: OLD, id: 'old', holder: 'agents', retiringAt: ago(2 * HOUR_MS), expiresAt },
        { token: NEW, id: 'new', holder: 'agents' },
        { token: TOKEN, id: 'revoked', holder: 'others', revokedAt: expiresAt },
      ],
    })
    const client = gateway.connect(way)
    for (let use = 0; use < 3; use += 1) assertAccepted(await client.send({ token: OLD }))
    const late = await rowOf(gateway, 'old')
    assert.deepEqual([late.state, late.isAccepted, late.graceUses], ['expired', true, 3])
    const told = (await gateway.log()).filter(({ event }) => event === 'token_grace')
    assert.equal(told.length, 1, 'one line an hour')
    assert.equal(told[0]?.token, 'old')
    assertRefusedWith(await client.send({ token: TOKEN }), 401, 16)

    assertAccepted(await client.send({ token: NEW }))
    const refused = await client.send({ token: OLD })
    assertRefusedWith(refused, 401, 16)
    assert.ok(words(refused).includes(`it expired on ${expiresAt}`), words(refused))
    assert.ok(!words(refused).includes('new') && !words(refused).includes('agents'))
    assert.equal((await rowOf(gateway, 'old')).isAccepted, false)
    assert.equal(
      sumOf(await gateway.metrics(), 'tollgate_token_grace_requests_total', {
        token: 'old',
        holder: 'agents',
      }),
      3,
    )
    assert.deepEqual(await gateway.outcomes(), { accepted: 4, token_expired: 2 })
  })
}

test('the log tells the story of a token that is refused', async (t) => {
  const gateway = await startGateway(t, {
    tokens: [
      { token: OLD, id: 'old', holder: 'agents', revokedAt: ago(HOUR_MS) },
      { token: NEW, id: 'new', holder: 'agents' },
    ],
  })
  const client = gateway.connect('gRPC')
  assertAccepted(await client.send({ token: NEW }))
  assertRefusedWith(await client.send({ token: OLD }), 401, 16)
  const line = (await gateway.log()).find(({ reason }) => reason === 'token_expired')
  assert.match(
    String(line?.msg),
    /\(token old was revoked on .*; its holder's newer token new is in use since .*\)$/,
  )
  assert.equal(line?.holder, 'agents')
})

test('tollgate token revoke --now: the next request is refused', async (t) => {
  const gateway = await startGateway(t, {
    tokens: [
      { token: OLD, id: 'old' },
      { token: TOKEN, id: 'other' },
    ],
  })
  const clients = WAYS.map((way) => gateway.connect(way))
  for (const client of clients) assertAccepted(await client.send({ token: OLD }))
  const { code, stderr } = await runTollgate(['token', 'revoke', 'old', '--now'], {
    TOLLGATE_TOKENS_FILE: gateway.tokensFile,
    TOLLGATE_STATE_DIR: gateway.folder,
  })
  assert.equal(code, 0, stderr)
  assert.match(stderr, /The running gateway refuses it/)
  for (const client of clients) assertRefusedWith(await client.send({ token: OLD }), 401, 16)
  for (const client of clients) assertAccepted(await client.send())
  const { stdout } = await runTollgate(['token', 'list'], { TOLLGATE_STATE_DIR: gateway.folder })
  assert.match(stdout, /^old +tests +revoked .*127\.0\.0\.1.*ago: token_expired$/m)
})
