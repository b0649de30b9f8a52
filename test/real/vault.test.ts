/** Vault as a place for tokens, against the real server: the contract, and Toxiproxy in between. */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { VaultLogin, VaultSettings } from '../../src/secrets/vault/client.ts'
import { VaultSource } from '../../src/secrets/vault/source.ts'
import { VaultTruth } from '../../src/secrets/vault/truth.ts'
import { eventually } from '../support/eventually.ts'
import { hasTools } from '../support/tools.ts'
import { type Relay, startToxiproxy, type Toxiproxy } from '../support/toxiproxy.ts'
import { CONTRACT, clientFor, faultOf, placeOf, SET } from '../support/vault-contract.ts'
import { startVault, startVaultWithTls } from '../support/vault-real.ts'
import type { VaultServer } from '../support/vault-server.ts'

test('the contract holds on a real Vault', async (t) => {
  if (!hasTools(t, 'vault')) return
  const server = await startVault(t)
  for (const [title, check] of Object.entries(CONTRACT)) {
    await t.test(title, (inner) => check(server, inner))
  }
})

interface Way {
  readonly server: VaultServer
  readonly relay: Relay
  /** A client that reaches the server by the relay. */
  readonly clientOf: (
    login?: VaultLogin,
    more?: Partial<VaultSettings>,
  ) => ReturnType<typeof clientFor>
}

type OnTheWay = (way: Way, t: TestContext) => Promise<void>

const LARGE = placeOf('vault:secret/way/large')

/** A set that needs many packets, so that half of it can arrive. */
const LARGE_SET = {
  tokens: Array.from({ length: 5000 }, (_, index) => ({ holder: 'agent', id: `token-${index}` })),
}

async function read(source: VaultSource): Promise<unknown> {
  const [version] = await source.read()
  return JSON.parse(version?.text ?? '')
}

const ON_THE_WAY: Readonly<Record<string, OnTheWay>> = {
  async 'slow answers within the time limit are waited for'({ relay, clientOf }) {
    await relay.spoil('latency', { latency: 300, jitter: 100 })
    assert.deepEqual(await read(new VaultSource(clientOf(), LARGE)), LARGE_SET)
  },

  async 'answers that do not come are given up, and the next read is whole'({ relay, clientOf }) {
    const source = new VaultSource(clientOf(undefined, { timeoutMs: 2000 }), LARGE)
    assert.deepEqual(await read(source), LARGE_SET)
    await relay.spoil('timeout', { timeout: 0 })
    const fault = await faultOf(source.read())
    assert.match(fault.message, /in 2000 ms/)
    assert.equal(fault.isTemporary, true)
    await relay.mend()
    assert.deepEqual(await read(source), LARGE_SET)
  },

  async 'connections that are reset are told as lost'({ relay, clientOf }) {
    const source = new VaultSource(clientOf(), LARGE)
    await relay.spoil('reset_peer', { timeout: 0 })
    const fault = await faultOf(source.read())
    assert.match(fault.message, /closed the connection before its answer was whole/)
    assert.equal(fault.isTemporary, true)
    await relay.mend()
    assert.deepEqual(await read(source), LARGE_SET)
  },

  async 'half of an answer is no set'({ relay, clientOf }) {
    const source = new VaultSource(clientOf(), LARGE)
    await relay.spoil('limit_data', { bytes: 50_000 })
    const fault = await faultOf(source.read())
    assert.match(fault.message, /closed the connection before its answer was whole/)
    assert.equal(fault.isTemporary, true)
    await relay.mend()
    assert.deepEqual(await read(source), LARGE_SET)
  },

  async 'a server that is away is told, and the token still counts when it is back'({
    server,
    relay,
    clientOf,
  }) {
    await server.writePolicy('way', 'path "secret/data/way/*" {\n  capabilities = ["read"]\n}\n')
    const { roleId, newSecretId } = await server.makeAppRole({ policies: ['way'] })
    const login = { kind: 'approle', roleId, secretId: await newSecretId() } as const
    const source = new VaultSource(clientOf(login), LARGE)
    assert.deepEqual(await read(source), LARGE_SET)
    await relay.setAway(true)
    const fault = await faultOf(source.read(), login.secretId)
    assert.match(fault.message, /connection refused|closed the connection/)
    assert.equal(fault.isTemporary, true)
    await relay.setAway(false)
    assert.deepEqual(await read(source), LARGE_SET)
    assert.equal((await server.tokensWith('way')).length, 1)
  },

  async 'a server that is away until the token has ended is logged in to anew'({
    server,
    relay,
    clientOf,
  }) {
    await server.writePolicy('brief', 'path "secret/data/way/*" {\n  capabilities = ["read"]\n}\n')
    const { roleId, newSecretId } = await server.makeAppRole({ policies: ['brief'], ttlSeconds: 2 })
    const login = { kind: 'approle', roleId, secretId: await newSecretId() } as const
    const source = new VaultSource(clientOf(login), LARGE)
    assert.deepEqual(await read(source), LARGE_SET)
    await relay.setAway(true)
    await eventually(async () => (await server.tokensWith('brief')).length === 0, 'its end')
    await faultOf(source.read())
    await relay.setAway(false)
    assert.deepEqual(await read(source), LARGE_SET)
    assert.equal((await server.tokensWith('brief')).length, 1)
  },

  async 'a write whose answer is lost is written once, however often it is tried'(
    { server, relay, clientOf },
    t,
  ) {
    const place = placeOf('vault:secret/way/written')
    const truth = new VaultTruth(clientOf(undefined, { timeoutMs: 2000 }), place)
    const { version } = await truth.readCurrent()
    await relay.spoil('timeout', { timeout: 0 })
    const lost = await faultOf(truth.write(JSON.stringify(SET), version))
    assert.equal(lost.isTemporary, true)
    const direct = clientFor(t, server, { kind: 'token', token: server.rootToken })
    const written = await eventually(async () => {
      const [found] = await new VaultSource(direct, place).read()
      return found?.version === '1' && found.text
    }, 'the set that was written')
    assert.deepEqual(JSON.parse(written), SET)
    await relay.mend()
    assert.equal(await truth.write(JSON.stringify(SET), version), false)
    assert.equal((await truth.readCurrent()).version, '1')
  },
}

test('a bad way to a real Vault', async (t) => {
  if (!hasTools(t, 'vault', 'toxiproxy-server')) return
  const server = await startVault(t)
  const toxiproxy: Toxiproxy = await startToxiproxy(t)
  await server.put('way/large', LARGE_SET)
  for (const [title, check] of Object.entries(ON_THE_WAY)) {
    await t.test(title, async (inner) => {
      const relay = await toxiproxy.relayTo(new URL(server.address).host)
      const root = { kind: 'token', token: server.rootToken } as const
      const address = `http://${relay.address}`
      const clientOf = (login: VaultLogin = root, more: Partial<VaultSettings> = {}) =>
        clientFor(inner, { address }, login, more)
      await check({ server, relay, clientOf }, inner)
    })
  }
})

test('a real Vault with TLS is trusted by the CA that is named, and by no other', async (t) => {
  if (!hasTools(t, 'vault')) return
  const { address, caPem } = await startVaultWithTls(t)
  const login = { kind: 'token', token: 'hvs.of-somebody-else' } as const
  const read = (ca?: string) =>
    new VaultSource(clientFor(t, { address }, login, { ca }), LARGE).read()
  assert.match(
    (await faultOf(read())).message,
    /signed by nobody trusted here; .*TOLLGATE_VAULT_CA/,
  )
  assert.match((await faultOf(read(caPem))).message, /does not know the token it was shown \(403\)/)
  const plainly = address.replace('https:', 'http:')
  const fault = await faultOf(
    new VaultSource(clientFor(t, { address: plainly }, login), LARGE).read(),
  )
  assert.match(fault.message, /speaks TLS and was asked without \(status 400\); write .* https:/)
})
