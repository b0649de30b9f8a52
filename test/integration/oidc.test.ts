/** JWTs of a real OpenID Connect provider at a gateway that is a process of its own. */
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { type TestContext, test } from 'node:test'
import { assertAccepted, assertComeBack, assertRefusedWith } from '../support/answers.ts'
import { type Answer, Client, WAYS, type Way } from '../support/client.ts'
import { startCollector } from '../support/collector.ts'
import { eventually } from '../support/eventually.ts'
import { sumOf } from '../support/exposition.ts'
import { untilMetrics } from '../support/metrics.ts'
import { AUDIENCE, type OidcServer, startOidcServer } from '../support/oidc-server.ts'
import { sign, signingKey } from '../support/signing.ts'
import { type Gateway, spawnGateway, TOKEN } from '../support/spawn-gateway.ts'
import { hasTools } from '../support/tools.ts'

const KEY = await signingKey('key-1')
const NEXT_KEY = await signingKey('key-2')

interface Scene {
  readonly provider: OidcServer
  readonly gateway: Gateway
  /** A client that shows nothing unless told. */
  connect(way: Way): Client
  /** JWTs looked at for the first time that came to this verdict. */
  checked(verdict: string): Promise<number>
}

/** A provider, a gateway that knows it, and a collector. Undefined where a tool is missing. */
async function scene(
  t: TestContext,
  env: Readonly<Record<string, string>> = {},
): Promise<Scene | undefined> {
  if (!hasTools(t, 'openssl')) return undefined
  const provider = await startOidcServer([KEY])
  const collector = await startCollector()
  const gateway = await spawnGateway({
    collector: {
      grpc: `127.0.0.1:${collector.grpcPort}`,
      http: `127.0.0.1:${collector.httpPort}`,
    },
    env: {
      TOLLGATE_JWT_ISSUERS: provider.issuer,
      TOLLGATE_JWT_AUDIENCE: AUDIENCE,
      TOLLGATE_RATE: 'off',
      ...env,
    },
  })
  const caPem = await readFile(gateway.certificate, 'utf8')
  const clients: Client[] = []
  t.after(async () => {
    for (const client of clients) client.close()
    await gateway.assertInvariant()
    await gateway[Symbol.asyncDispose]()
    await provider[Symbol.asyncDispose]()
    await collector.die()
  })
  await untilMetrics(
    gateway.metrics,
    (page) => sumOf(page, 'tollgate_collector_up') === 1,
    'a collector',
  )
  return {
    provider,
    gateway,
    connect(way) {
      const address = way === 'gRPC' ? gateway.grpc : gateway.http
      const client = new Client({ way, address, caPem, token: '' })
      clients.push(client)
      return client
    },
    checked: async (verdict) =>
      sumOf(await gateway.metrics(), 'tollgate_jwt_checks_total', { verdict }),
  }
}

test('a JWT lets in on every way, and is checked once', async (t) => {
  const stage = await scene(t)
  if (stage === undefined) return
  const { provider, gateway, connect, checked } = stage
  const token = await provider.token('shop')
  for (const way of WAYS) {
    const client = connect(way)
    assertAccepted(await client.send({ token }))
    assertAccepted(await client.send({ token }))
    assertAccepted(await client.send({ token: TOKEN }))
  }
  assert.equal(await checked('verified'), 1)
  const page = await gateway.metrics()
  assert.equal(sumOf(page, 'tollgate_token_requests_total', { holder: 'shop' }), 6)
  assert.equal(sumOf(page, 'tollgate_token_requests_total', { holder: 'tests' }), 3)
  assert.equal(sumOf(page, 'tollgate_jwt_keys', { issuer: provider.issuer }), 1)
  assert.equal(sumOf(page, 'tollgate_jwt_keys_last_read_success'), 1)
  assert.equal(sumOf(page, 'tollgate_jwt_remembered', { table: 'verified' }), 1)
  assert.ok(!gateway.output().includes(token), 'a JWT is in the log')
})

test('calls that show a new JWT at the same time share one check', async (t) => {
  const stage = await scene(t)
  if (stage === undefined) return
  const { provider, connect, checked } = stage
  const token = await provider.token('shop')
  const clients = WAYS.map(connect)
  await Promise.all(
    clients.filter(({ way }) => way !== 'HTTP/1.1').map((client) => client.handshake()),
  )
  const answers = await Promise.all(
    Array.from({ length: 30 }, (_, at) => clients[at % 3]?.send({ token }) as Promise<Answer>),
  )
  for (const answer of answers) assertAccepted(answer)
  assert.equal(await checked('verified'), 1)
})

test('its scopes hold, and waiting turned off changes nothing', async (t) => {
  const stage = await scene(t, {
    TOLLGATE_HOLD: 'off',
    TOLLGATE_JWT_REQUIRE_SCOPES: 'on',
    TOLLGATE_JWT_REQUIRED_CLAIMS: 'client_id=shop',
    TOLLGATE_JWT_HOLDER_CLAIM: 'client_id',
  })
  if (stage === undefined) return
  const { provider, gateway, connect } = stage
  const client = connect('gRPC')
  const token = await provider.token('shop', { scope: 'otlp:traces otlp:logs' })
  assertAccepted(await client.send({ token }))
  assertAccepted(await client.send({ token, signal: 'logs' }))
  assertRefusedWith(await client.send({ token, signal: 'metrics' }), 403, 7)
  assertRefusedWith(await client.send({ token: await provider.token('shop') }), 403, 7)
  assertRefusedWith(await client.send({ token: await provider.token('robot') }), 401, 16)
  assert.deepEqual(await gateway.outcomes(), { accepted: 2, scope_denied: 2, token_unknown: 1 })
  const page = await gateway.metrics()
  assert.equal(sumOf(page, 'tollgate_token_refusals_total', { holder: 'shop' }), 2)
  await gateway.logged('jwt_refused', 1)
})

test('the provider changes its key while agents send: nothing is refused', async (t) => {
  const stage = await scene(t)
  if (stage === undefined) return
  const { provider, gateway, connect, checked } = stage
  let isOver = false
  const answers: Answer[] = []
  const agents = ['shop', 'robot', 'laptop'].flatMap((name) => WAYS.map((way) => ({ name, way })))
  const sending = agents.map(async ({ name, way }) => {
    const client = connect(way)
    while (!isOver) {
      // A JWT of its own for every few exports, as short-lived ones are.
      const token = await provider.token(name)
      for (let times = 0; times < 5; times += 1) answers.push(await client.send({ token }))
    }
  })
  await eventually(() => answers.length > 100, 'a hundred exports with the old key')
  // The old one is gone from one moment to the next, with no time in which both are published.
  provider.rotate(NEXT_KEY)
  const before = await checked('verified')
  await eventually(async () => (await checked('verified')) > before + 20, 'JWTs of the new key')
  isOver = true
  await Promise.all(sending)
  for (const answer of answers) assertAccepted(answer)
  assert.deepEqual(Object.keys(await gateway.outcomes()), ['accepted'])
})

test('without its provider the gateway goes on, and starts; whom it cannot judge it asks to come back', async (t) => {
  const stage = await scene(t)
  if (stage === undefined) return
  const { provider, gateway, connect } = stage
  const { issuer } = provider
  const known = await provider.token('shop')
  const fresh = await provider.token('robot')
  assertAccepted(await connect('gRPC').send({ token: known }))
  await provider.goAway()
  assertAccepted(await connect('gRPC').send({ token: known }))
  assertAccepted(await connect('HTTP/2').send({ token: fresh }))
  // A key that has never been heard of cannot be judged by the keys of before.
  const claims = { iss: issuer, aud: AUDIENCE, sub: 'shop', exp: Date.now() / 1000 + 60 }
  assertRefusedWith(await connect('gRPC').send({ token: await sign(NEXT_KEY, claims) }), 401, 16)
  await eventually(
    async () => sumOf(await gateway.metrics(), 'tollgate_jwt_keys_last_read_success') === 0,
    'a failed read',
  )
  assert.equal(sumOf(await gateway.metrics(), 'tollgate_jwt_keys'), 1)
  await gateway.logged('keys_kept_last_good', 1)

  await gateway.stop()
  await gateway.start()
  await gateway.logged('keys_unavailable', 1)
  for (const way of WAYS) {
    assertComeBack(await connect(way).send({ token: known }))
    assertAccepted(await connect(way).send({ token: TOKEN }))
  }
  const page = await gateway.metrics()
  assert.equal(sumOf(page, 'tollgate_strikes_total'), 0)
  await provider.comeBack()
  const client = connect('gRPC')
  await eventually(async () => {
    const answer = await client.send({ token: known })
    if (answer.grpcStatus !== 0) assertComeBack(answer)
    return answer.grpcStatus === 0
  }, 'the keys')
  await gateway.logged('keys_loaded', 1)
})

test('SIGHUP has every JWT verified again: a key that was withdrawn lets in no longer', async (t) => {
  const stage = await scene(t)
  if (stage === undefined) return
  const { provider, gateway, connect, checked } = stage
  const token = await provider.token('shop')
  const client = connect('gRPC')
  assertAccepted(await client.send({ token }))
  provider.rotate(NEXT_KEY)
  assertAccepted(await client.send({ token }))
  process.kill(gateway.pid, 'SIGHUP')
  await gateway.logged('reload', 1)
  // Keys are read once in five seconds, and were at the start.
  const refused = await eventually(async () => {
    const answer = await client.send({ token })
    return answer.grpcStatus === 0 ? undefined : answer
  }, 'a refusal')
  assertRefusedWith(refused, 401, 16)
  assert.equal(await checked('unknown_key'), 1)
})

test('JWTs alone are tokens enough', async (t) => {
  const stage = await scene(t, { TOLLGATE_TOKENS: '' })
  if (stage === undefined) return
  const { provider, gateway, connect } = stage
  const ready = async () => {
    const answer = await fetch(`http://${gateway.admin}/readyz`)
    return { status: answer.status, text: await answer.text() }
  }
  await eventually(async () => (await ready()).status === 200, 'a gateway that is ready')
  assert.match((await ready()).text, /one issuer of JWTs/)
  const client = connect('gRPC')
  assertAccepted(await client.send({ token: await provider.token('shop') }))
  assertRefusedWith(await client.send({ token: TOKEN }), 401, 16)
})
