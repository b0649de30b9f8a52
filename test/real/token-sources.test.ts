/**
 * The gateway with its tokens in a real Vault and in AWS Secrets Manager (ministack), and Toxiproxy in
 * between: while the way there is slow, cut off or gone, no agent is refused.
 */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { assertAccepted, assertRefusedWith } from '../support/answers.ts'
import { useAws } from '../support/aws-settings.ts'
import { eventually } from '../support/eventually.ts'
import { sumOf } from '../support/exposition.ts'
import { startGateway, TOKEN, tokenSet } from '../support/gateway.ts'
import { startSecretsManager } from '../support/ministack.ts'
import { hasTools } from '../support/tools.ts'
import { type Relay, startToxiproxy } from '../support/toxiproxy.ts'
import { startVault } from '../support/vault-real.ts'

const OTHER = 'another-token-of-the-tests-0123456789'
const GATEWAY_POLICY = 'path "secret/data/otel/tokens" { capabilities = ["read"] }'

/** A place behind a relay, with a set that takes many packets. */
interface Scene {
  readonly place: string
  readonly env: Readonly<Record<string, string>>
  readonly relay: Relay
  /** Puts a set there, past the relay. */
  put(text: string): Promise<unknown>
}

const SCENES: Readonly<Record<string, (t: TestContext) => Promise<Scene | undefined>>> = {
  async Vault(t) {
    if (!hasTools(t, 'vault', 'toxiproxy-server')) return undefined
    const vault = await startVault(t)
    const relay = await (await startToxiproxy(t)).relayTo(new URL(vault.address).host)
    await vault.writePolicy('gateway', GATEWAY_POLICY)
    const { roleId, newSecretId } = await vault.makeAppRole({ policies: ['gateway'] })
    const env = {
      VAULT_ADDR: `http://${relay.address}`,
      VAULT_ROLE_ID: roleId,
      VAULT_SECRET_ID: await newSecretId(),
    }
    const put = (text: string) => vault.put('otel/tokens', JSON.parse(text))
    return { place: 'vault:secret/otel/tokens', env, relay, put }
  },
  async AWS(t) {
    if (!hasTools(t, 'ministack', 'toxiproxy-server')) return undefined
    const aws = await startSecretsManager(t)
    const relay = await (await startToxiproxy(t)).relayTo(aws.address)
    // The client of the test keeps the way past the relay.
    await aws.create('otel/tokens', 'none yet')
    useAws(t, relay.address)
    return {
      place: 'aws:otel/tokens',
      env: {},
      relay,
      put: (text: string) => aws.put('otel/tokens', text),
    }
  },
}

/** A thousand tokens nobody uses, and these. */
function manyWith(...tokens: readonly string[]): string {
  const idle = Array.from({ length: 1000 }, (_, index) => `an-idle-token-${index}-0123456789`)
  return tokenSet([...tokens, ...idle].map((token) => ({ token })))
}

const SPOILS: Readonly<Record<string, (relay: Relay) => Promise<void>>> = {
  'answers that do not come': (relay) => relay.spoil('timeout', { timeout: 0 }),
  'connections that are reset': (relay) => relay.spoil('reset_peer', { timeout: 0 }),
  'half answers': (relay) => relay.spoil('limit_data', { bytes: 20_000 }),
  'nobody there': (relay) => relay.setAway(true),
}

for (const [name, make] of Object.entries(SCENES))
  test(`tokens from ${name}, with a way there that fails`, async (t) => {
    const scene = await make(t)
    if (scene === undefined) return
    const { place, env, relay, put } = scene
    await put(manyWith(TOKEN))
    const gateway = await startGateway(t, {
      env: { ...env, TOKENS_FILE: '', TOKENS_SOURCE: place, TOKENS_POLL: '1s' },
    })
    const client = gateway.connect('gRPC')
    const isGood = (page: Parameters<typeof sumOf>[0]) =>
      sumOf(page, 'tollgate_token_source_last_reload_success', { source: place }) === 1
    assert.deepEqual(
      (await gateway.log()).filter(({ event }) => event === 'tokens_unavailable'),
      [],
    )
    assertAccepted(await client.send())
    assertRefusedWith(await client.send({ token: OTHER }), 401, 16)
    for (const [title, spoil] of Object.entries(SPOILS)) {
      await t.test(title, async () => {
        // A set that is new, so that what arrives of it would be seen.
        await put(manyWith(TOKEN, OTHER, `a-token-for-${title.replaceAll(' ', '-')}`))
        await gateway.reload()
        assertAccepted(await client.send({ token: OTHER }))
        await spoil(relay)
        await put(manyWith(TOKEN))
        await gateway.reload()
        // It may have joined a read that began before.
        if (isGood(await gateway.metrics())) await gateway.reload()
        assert.equal(isGood(await gateway.metrics()), false)
        assertAccepted(await client.send())
        assertAccepted(await client.send({ token: OTHER }))
        const page = await gateway.metrics()
        assert.equal(sumOf(page, 'tollgate_token_source_tokens', { source: place }), 1003)
        await relay.mend()
        await relay.setAway(false)
        await gateway.until(
          (now) => isGood(now) && sumOf(now, 'tollgate_tokens') === 1001,
          'the newer set',
        )
        assertAccepted(await client.send())
        assertRefusedWith(await client.send({ token: OTHER }), 401, 16)
      })
    }
    await t.test('answers that come late, but come', async () => {
      await relay.spoil('latency', { latency: 400, jitter: 200 })
      await put(manyWith(TOKEN, OTHER))
      await gateway.until((page) => sumOf(page, 'tollgate_tokens') === 1002, 'the newer set')
      assertAccepted(await client.send({ token: OTHER }))
      await relay.mend()
    })
    await gateway.assertInvariant()
  })

test('a rotation by the labels of AWS refuses nobody', async (t) => {
  if (!hasTools(t, 'ministack')) return
  const aws = await startSecretsManager(t)
  const first = await aws.create('agents/otel', TOKEN)
  const gateway = await startGateway(t, {
    env: { TOKENS_FILE: '', TOKENS_SOURCE: 'aws:agents/otel', TOKENS_POLL: '1s' },
  })
  const client = gateway.connect('gRPC')
  const inUse = [TOKEN]
  let sent = 0
  const rest = new AbortController()
  const sending = (async () => {
    while (!rest.signal.aborted)
      for (const token of inUse) {
        assertAccepted(await client.send({ token }))
        sent += 1
      }
  })()
  sending.catch(() => undefined)
  const second = await aws.put('agents/otel', OTHER, 'AWSPENDING')
  await gateway.until((page) => sumOf(page, 'tollgate_tokens') === 2, 'the pending token')
  inUse.push(OTHER)
  await aws.promote('agents/otel', first, second)
  await gateway.reload()
  const before = sent
  await eventually(() => sent > before + 20, 'both tokens in use after the change')
  inUse.shift()
  rest.abort()
  await sending
  const { accepted, ...refused } = await gateway.outcomes()
  assert.deepEqual([accepted, refused], [sent, {}])
  // What has been replaced has an end now.
  const page = await (await fetch(`http://${gateway.addresses.admin}/tokens`)).json()
  const { tokens } = page as { tokens: { expiresAt: string | null; holder: string }[] }
  const ends = tokens.map(({ holder, expiresAt }) => [holder, expiresAt !== null])
  assert.deepEqual(ends.toSorted(), [
    ['agents/otel', false],
    ['agents/otel', true],
  ])
})
