/** Who is let in, and how that changes while agents stay connected. */
import assert from 'node:assert/strict'
import { mkdtemp, readlink, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { type Answer, WAYS } from '../support/client.ts'
import { sumOf } from '../support/exposition.ts'
import { startGateway, TOKEN, tokenSet } from '../support/gateway.ts'

const OLD = 'the-old-token-0123456789abcdef'
const NEW = 'the-new-token-0123456789abcdef'
const OTHER = 'another-token-0123456789abcdef'

for (const way of WAYS) {
  test(`${way}: rotation by overlap loses no request on a connection that stays`, async (t) => {
    const gateway = await startGateway(t, { tokens: [{ token: OLD, id: 'old' }] })
    const client = gateway.connect(way)
    assert.equal(saw(await client.send({ token: OLD })), 'accepted')
    assert.equal(saw(await client.send({ token: NEW })), 'refused')
    await gateway.writeTokens([
      { token: OLD, id: 'old' },
      { token: NEW, id: 'new' },
    ])
    await gateway.reload()
    assert.equal(saw(await client.send({ token: OLD })), 'accepted')
    assert.equal(saw(await client.send({ token: NEW })), 'accepted')
    await gateway.writeTokens([{ token: NEW, id: 'new' }])
    await gateway.reload()
    assert.equal(saw(await client.send({ token: NEW })), 'accepted')
    assert.equal(saw(await client.send({ token: OLD })), 'refused')
    assert.deepEqual(await gateway.outcomes(), { accepted: 4, token_unknown: 2 })
  })

  test(`${way}: a token that is revoked stops on a connection that stays`, async (t) => {
    const gateway = await startGateway(t, { tokens: [{ token: OLD }, { token: OTHER }] })
    const client = gateway.connect(way)
    assert.equal(saw(await client.send({ token: OLD })), 'accepted')
    const revokedAt = new Date(Date.now() - 1000).toISOString()
    await gateway.writeTokens([{ token: OLD, revokedAt }, { token: OTHER }])
    await gateway.reload()
    assert.equal(saw(await client.send({ token: OLD })), 'refused')
    assert.equal(saw(await client.send({ token: OTHER })), 'accepted')
    // An agent that missed a rotation is no attacker.
    assert.deepEqual(await gateway.outcomes(), { accepted: 2, token_expired: 1 })
    assert.equal(sumOf(await gateway.metrics(), 'tollgate_strikes_total'), 0)
  })

  test(`${way}: scopes and addresses hold for each request`, async (t) => {
    const gateway = await startGateway(t, {
      tokens: [
        { token: OLD, scopes: ['logs', 'metrics'], allowFrom: ['127.0.0.0/8', '2001:db8::/32'] },
        { token: NEW, allowFrom: ['10.0.0.0/8'] },
      ],
    })
    const client = gateway.connect(way)
    assert.equal(saw(await client.send({ token: OLD, signal: 'logs' })), 'accepted')
    assert.equal(saw(await client.send({ token: OLD, signal: 'metrics' })), 'accepted')
    assert.equal(saw(await client.send({ token: OLD, signal: 'traces' })), 'refused')
    assert.equal(saw(await client.send({ token: OLD, signal: 'profiles' })), 'refused')
    assert.equal(saw(await client.send({ token: NEW, signal: 'logs' })), 'refused')
    assert.deepEqual(await gateway.outcomes(), { accepted: 2, scope_denied: 3 })
  })
}

test('a token is used by its holder, and the metrics say when', async (t) => {
  const gateway = await startGateway(t, {
    tokens: [
      { token: OLD, id: 'old', holder: 'agents' },
      { token: NEW, id: 'new', holder: 'agents' },
    ],
  })
  const beforeMs = Date.now()
  for (const way of WAYS) await gateway.connect(way).send({ token: OLD })
  const page = await gateway.metrics()
  const of = (token: string) => ({ token, holder: 'agents' })
  assert.equal(sumOf(page, 'tollgate_token_requests_total', of('old')), 3)
  assert.equal(sumOf(page, 'tollgate_token_requests_total', of('new')), 0)
  const lastUsedMs = sumOf(page, 'tollgate_token_last_used_timestamp_seconds', of('old')) * 1000
  assert.ok(lastUsedMs >= beforeMs && lastUsedMs <= Date.now())
})

test('a changed token file is taken up by itself', async (t) => {
  const gateway = await startGateway(t)
  const client = gateway.connect('gRPC')
  assert.equal(saw(await client.send({ token: NEW })), 'refused')
  await gateway.writeTokens([{ token: TOKEN }, { token: NEW }])
  await gateway.until((page) => sumOf(page, 'tollgate_tokens') === 2, 'two tokens')
  assert.equal(saw(await client.send({ token: NEW })), 'accepted')
  assert.equal(saw(await client.send()), 'accepted')
})

test('a token file behind symlinks, as Kubernetes mounts it, is followed', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'tollgate-mount-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  const path = join(folder, 'tokens.json')
  const publish = async (name: string, tokens: readonly string[]) => {
    const set = tokenSet(tokens.map((token) => ({ token })))
    await writeFile(join(folder, name), set)
    await symlink(name, join(folder, '..data_tmp'))
    await rename(join(folder, '..data_tmp'), join(folder, '..data'))
  }
  await publish('first.json', [TOKEN])
  await symlink('..data', path)
  const gateway = await startGateway(t, { env: { TOKENS_FILE: path } })
  await publish('second.json', [TOKEN, NEW])
  assert.equal(await readlink(join(folder, '..data')), 'second.json')
  await gateway.until((page) => sumOf(page, 'tollgate_tokens') === 2, 'two tokens')
  assert.equal(saw(await gateway.connect('HTTP/1.1').send({ token: NEW })), 'accepted')
})

for (const [name, text] of [
  ['empty', ''],
  ['half-written', '{"tokens": ['],
  ['without a token', '{"tokens": []}'],
  ['with an entry that is wrong', '{"tokens": [{"id": "a", "holder": "b", "sha256": "c"}]}'],
] as const) {
  test(`a token file that is ${name} locks nobody out, and is told of once`, async (t) => {
    const gateway = await startGateway(t)
    const client = gateway.connect('gRPC')
    await writeFile(gateway.tokensFile, text)
    await gateway.reload()
    await gateway.reload()
    assert.equal(saw(await client.send()), 'accepted')
    const page = await gateway.metrics()
    assert.equal(sumOf(page, 'tollgate_tokens'), 1)
    assert.equal(sumOf(page, 'tollgate_tokens_last_reload_success'), 0)
    const told = (await gateway.log()).filter(({ event }) => event === 'tokens_kept_last_good')
    assert.equal(told.length, 1)

    await gateway.writeTokens([{ token: TOKEN }, { token: NEW }])
    await gateway.reload()
    assert.equal(saw(await client.send({ token: NEW })), 'accepted')
    assert.equal(sumOf(await gateway.metrics(), 'tollgate_tokens_last_reload_success'), 1)
  })
}

test('tokens of the environment and of the file are valid side by side', async (t) => {
  const gateway = await startGateway(t, { env: { TOKENS: `agents=${NEW}` } })
  const client = gateway.connect('gRPC')
  assert.equal(saw(await client.send()), 'accepted')
  assert.equal(saw(await client.send({ token: NEW })), 'accepted')
  await gateway.writeTokens([{ token: OTHER }])
  await gateway.reload()
  assert.equal(saw(await client.send({ token: OTHER })), 'accepted')
  assert.equal(saw(await client.send({ token: NEW })), 'accepted')
  assert.equal(saw(await client.send()), 'refused')
})

test('how a token may be written in the header', async (t) => {
  const gateway = await startGateway(t)
  const client = gateway.connect('HTTP/1.1')
  const as = async (authorization: string) =>
    saw(await client.send({ token: null, headers: { authorization } }))
  assert.equal(await as(`bearer ${TOKEN}`), 'accepted')
  assert.equal(await as(`BEARER   ${TOKEN}  `), 'accepted')
  assert.equal(await as(TOKEN), 'refused')
  assert.equal(await as(`Bearer${TOKEN}`), 'refused')
  assert.equal(await as(`Bearer ${TOKEN}x`), 'refused')
  assert.equal(await as(`Bearer ${TOKEN} ${TOKEN}`), 'refused')
  assert.equal(await as(`Basic ${TOKEN}`), 'refused')
})

function saw(answer: Answer): 'accepted' | 'refused' {
  if (answer.way === 'gRPC') return answer.grpcStatus === 0 ? 'accepted' : 'refused'
  return answer.httpStatus === 200 ? 'accepted' : 'refused'
}
