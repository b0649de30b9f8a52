/** An address that guesses tokens is shut out; an agent behind the same address is not. */
import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { runBansCommand } from '../../src/commands/bans.ts'
import { assertAccepted, assertRefusedWith } from '../support/answers.ts'
import { type Client, WAYS } from '../support/client.ts'
import { startCollector } from '../support/collector.ts'
import { eventually } from '../support/eventually.ts'
import { sumOf } from '../support/exposition.ts'
import { startGateway, type TestGateway, TOKEN } from '../support/gateway.ts'
import { assertTurnedAway } from '../support/turned-away.ts'

const WRONG = 'a-guessed-token-0123456789abcdef'
const OTHER = 'another-token-0123456789abcdef'
const STRIKES = 5
const NOBODY_EXEMPT = { BAN_EXEMPT: 'none' }

for (const way of WAYS) {
  test(`${way}: the sixth wrong token meets the ban, and the connection ends`, async (t) => {
    const gateway = await startGateway(t, { env: NOBODY_EXEMPT })
    const guesser = gateway.connect(way)
    await guess(guesser)
    const banned = await guesser.send({ token: WRONG })
    assertRefusedWith(banned, 403, 7)
    if (way === 'HTTP/1.1') assert.equal(banned.headers.connection, 'close')
    // Whose token is good, but was never used from here, is no better than a lucky guess.
    await gateway.until(
      (page) => sumOf(page, 'tollgate_connections') === 0,
      'the connection closed',
    )
    await assertTurnedAway(gateway.addresses.grpc)
    await assert.rejects(gateway.connect(way).send())

    const page = await gateway.metrics()
    assert.equal(sumOf(page, 'tollgate_bans'), 1)
    assert.equal(sumOf(page, 'tollgate_strikes_total'), STRIKES)
    const refused = (reason: string) =>
      sumOf(page, 'tollgate_connections_refused_total', { reason })
    assert.equal(refused('banned'), 2)
    assert.equal(refused('handshake'), 0, 'closed before the handshake')
    assert.deepEqual(await gateway.outcomes(), { token_unknown: STRIKES, banned: 1 })
    const lines = (await gateway.log()).filter(({ event }) => event === 'ban')
    assert.equal(lines.length, 1)
    assert.match(
      String(lines[0]?.msg),
      /^Banned 127\.0\.0\.1 for 1 h: .*tollgate bans lift 127\.0\.0\.1$/,
    )
  })

  test(`${way}: a banned address is met on all its live connections`, async (t) => {
    const gateway = await startGateway(t, { env: NOBODY_EXEMPT })
    const bystander = gateway.connect(way)
    assertRefusedWith(await bystander.send({ path: '/elsewhere' }), 404, 12)
    await guess(gateway.connect('HTTP/1.1'))
    assertRefusedWith(await bystander.send(), 403, 7)
  })

  test(`${way}: an agent whose token was used from the address before goes on`, async (t) => {
    const gateway = await startGateway(t, {
      env: NOBODY_EXEMPT,
      tokens: [{ token: TOKEN }, { token: OTHER }],
    })
    const agent = gateway.connect(way)
    assertAccepted(await agent.send())
    await guess(gateway.connect('gRPC'))
    assertAccepted(await agent.send())
    assertAccepted(await gateway.connect(way).send())
    assertRefusedWith(await gateway.connect(way).send({ token: WRONG }), 403, 7)
    assertRefusedWith(await gateway.connect(way).send({ token: null }), 403, 7)
    assertRefusedWith(await gateway.connect(way).send({ token: OTHER }), 403, 7)
  })
}

test('a ban is of one address, and others do not notice', async (t) => {
  if (process.platform !== 'linux') {
    t.skip('SKIP: only Linux has more than one loopback address by itself')
    return
  }
  const gateway = await startGateway(t, { env: NOBODY_EXEMPT })
  await guess(gateway.connect('gRPC', { localAddress: '127.0.0.9' }))
  await assertTurnedAway(gateway.addresses.http, '127.0.0.9')
  assertAccepted(await gateway.connect('gRPC', { localAddress: '127.0.0.8' }).send())
})

test('what strikes is a missing or unknown token, and nothing else', async (t) => {
  const gateway = await startGateway(t, {
    env: { ...NOBODY_EXEMPT, BURST: '1000' },
    tokens: [
      { token: TOKEN },
      { token: 'expired-token-0123456789', expiresAt: '2020-01-01T00:00:00Z' },
      { token: 'tomorrow-token-0123456789', notBefore: '2120-01-01T00:00:00Z' },
      { token: 'logs-token-0123456789', scopes: ['logs'] },
    ],
  })
  const client = gateway.connect('gRPC')
  const harmless = [
    { token: 'expired-token-0123456789' },
    { token: 'tomorrow-token-0123456789' },
    { token: 'logs-token-0123456789' },
    { path: '/nobody.Knows/This' },
    { encoding: 'br' },
    { headers: { 'content-type': 'application/grpc+json' } },
  ]
  for (let round = 0; round < STRIKES; round += 1)
    for (const request of harmless) await client.send(request)
  assert.equal(sumOf(await gateway.metrics(), 'tollgate_strikes_total'), 0)
  assert.equal(sumOf(await gateway.metrics(), 'tollgate_bans'), 0)
  assertAccepted(await client.send())
})

test('loopback and private addresses are never banned unless told', async (t) => {
  const gateway = await startGateway(t)
  const client = gateway.connect('gRPC')
  for (let at = 0; at < 4 * STRIKES; at += 1)
    assertRefusedWith(await client.send({ token: WRONG }), 401, 16)
  assertAccepted(await client.send())
})

test('a ban ends by itself', async (t) => {
  const gateway = await startGateway(t, { env: { ...NOBODY_EXEMPT, BAN_TIME: '1s' } })
  await guess(gateway.connect('gRPC'))
  await gateway.until((page) => sumOf(page, 'tollgate_bans') === 0, 'the ban over')
  assertAccepted(await gateway.connect('gRPC').send())
})

test('a ban outlives the gateway, and so does what speaks against it', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'tollgate-state-'))
  const collector = await startCollector()
  t.after(async () => {
    await collector.die()
    await rm(folder, { recursive: true, force: true })
  })
  const start = () => startGateway(t, { folder, collector, env: NOBODY_EXEMPT })
  const first = await start()
  await guess(first.connect('gRPC'))
  await first.stop()

  const second = await start()
  await assertTurnedAway(second.addresses.grpc)
  assert.equal(await bans(second, 'lift', '127.0.0.1'), '127.0.0.1 is no longer banned.\n')
  assertAccepted(await second.connect('gRPC').send())
  await guess(second.connect('gRPC'))
  await second.stop()

  const third = await start()
  assertAccepted(await third.connect('HTTP/1.1').send())
  assertRefusedWith(await third.connect('HTTP/1.1').send({ token: WRONG }), 403, 7)
  await third.stop()
})

test('bans are listed, made and lifted by hand', async (t) => {
  const gateway = await startGateway(t, { env: NOBODY_EXEMPT })
  const client = gateway.connect('gRPC')
  assertAccepted(await client.send())
  assert.equal(await bans(gateway, 'list'), 'Nobody is banned.\n')
  assert.match(
    await bans(gateway, 'add', '127.0.0.1', '--for', '5m'),
    /^127\.0\.0\.1 is banned for /,
  )
  // By hand means everybody there, tokens used before included.
  assertRefusedWith(await client.send(), 403, 7)
  await assertTurnedAway(gateway.addresses.grpc)
  assert.match(await bans(gateway, 'list'), /^127\.0\.0\.1 .* hand$/m)
  await bans(gateway, 'lift', '127.0.0.1')
  assertAccepted(await gateway.connect('gRPC').send())
})

test('the audit log has a line for each refused credential and for the ban', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'tollgate-audit-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  const path = join(folder, 'audit.log')
  const gateway = await startGateway(t, { env: { ...NOBODY_EXEMPT, AUDIT_LOG: path } })
  await guess(gateway.connect('gRPC'))
  const lines = await eventually(async () => {
    const text = await readFile(path, 'utf8')
    return text.includes('"banned"') ? text.trimEnd().split('\n') : undefined
  }, 'the ban in the audit log')
  const events = lines.map((line) => JSON.parse(line) as Record<string, unknown>)
  assert.deepEqual(
    events.map(({ event, reason, client }) => ({ event, reason, client })),
    [
      ...Array.from({ length: STRIKES - 1 }, () => REFUSED),
      { event: 'banned', reason: 'strikes', client: { ip: '127.0.0.1' } },
      REFUSED,
    ],
  )
})

const REFUSED = { event: 'auth_refused', reason: 'token_unknown', client: { ip: '127.0.0.1' } }

/** As many wrong tokens as make a ban. */
async function guess(client: Client): Promise<void> {
  for (let at = 0; at < STRIKES; at += 1)
    assertRefusedWith(await client.send({ token: WRONG }), 401, 16)
}

async function bans(gateway: TestGateway, ...argv: string[]): Promise<string> {
  const written = { out: '', err: '' }
  const code = await runBansCommand([...argv, '--state-dir', gateway.folder], {
    stdout: { write: (text: string) => (written.out += text) },
    stderr: { write: (text: string) => (written.err += text) },
    env: {},
  })
  assert.equal(code, 0, written.err)
  return written.out
}
