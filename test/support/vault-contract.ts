/**
 * What the code that speaks to Vault relies on. The stand-in and the real server must both pass, so
 * the quick tests with the stand-in tell something about Vault.
 */
import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import type { TokenInPlain } from '../../src/secrets/delivery.ts'
import { type Place, parsePlace } from '../../src/secrets/place.ts'
import { SourceFault } from '../../src/secrets/source-fault.ts'
import { VaultClient, type VaultLogin, type VaultSettings } from '../../src/secrets/vault/client.ts'
import { VaultDelivery } from '../../src/secrets/vault/delivery.ts'
import { VaultSource } from '../../src/secrets/vault/source.ts'
import { VaultTruth } from '../../src/secrets/vault/truth.ts'
import { eventually } from './eventually.ts'
import { AGENT_POLICY, GATEWAY_POLICY, ROTATE_POLICY } from './vault-policies.ts'
import type { VaultServer } from './vault-server.ts'

type Check = (server: VaultServer, t: TestContext) => Promise<void>

/** A set as operators write it. */
export const SET = { tokens: [{ id: 'a1', holder: 'checkout', sha256: 'ab'.repeat(32) }] }

/** A client that is closed when the test ends. */
export function clientFor(
  t: TestContext,
  server: { readonly address: string },
  login: VaultLogin,
  more: Partial<VaultSettings> = {},
): VaultClient {
  const client = new VaultClient({ address: server.address, login, ...more })
  t.after(() => client.close())
  return client
}

export function placeOf(text: string): Place {
  const place = parsePlace(text)
  assert.ok(place !== undefined, text)
  return place
}

/** The fault a promise ends with. It names its place and holds none of `secrets`. */
export async function faultOf(
  promise: Promise<unknown>,
  ...secrets: readonly string[]
): Promise<SourceFault> {
  const thrown: unknown = await promise.then(
    () => assert.fail('nothing was thrown'),
    (error: unknown) => error,
  )
  assert.ok(thrown instanceof SourceFault, String(thrown))
  assert.ok(thrown.message.startsWith(`${thrown.place}: `), thrown.message)
  for (const secret of secrets) assert.ok(!thrown.message.includes(secret), thrown.message)
  return thrown
}

/** A policy that lets its holder do this below one path of `secret/`. */
function policy(path: string, ...capabilities: readonly string[]): string {
  const list = capabilities.map((name) => `"${name}"`).join(', ')
  return `path "secret/data/${path}" {\n  capabilities = [${list}]\n}\n`
}

const root = (server: VaultServer): VaultLogin => ({ kind: 'token', token: server.rootToken })

async function readText(source: VaultSource): Promise<unknown> {
  const [version] = await source.read()
  return version?.text === undefined ? undefined : JSON.parse(version.text)
}

const logins: Readonly<Record<string, Check>> = {
  async 'a token that was given reads the set'(server, t) {
    await server.put('given/tokens', SET)
    const source = new VaultSource(
      clientFor(t, server, root(server)),
      placeOf('vault:secret/given/tokens'),
    )
    const [version] = await source.read()
    assert.deepEqual(JSON.parse(version?.text ?? ''), SET)
    assert.equal(version?.version, '1')
  },

  async 'a token that Vault does not know is named as such'(server, t) {
    const token = 'hvs.nobody-has-made-this-one'
    const source = new VaultSource(
      clientFor(t, server, { kind: 'token', token }),
      placeOf('vault:secret/x/y'),
    )
    const fault = await faultOf(source.read(), token)
    assert.match(fault.message, /does not know the token .*\(403\).*give a new one/)
    assert.equal(fault.isTemporary, false)
  },

  async 'a given token that is revoked is told, and one that is closed is not revoked'(server, t) {
    await server.put('mine/tokens', SET)
    await server.writePolicy('mine', policy('mine/tokens', 'read'))
    const token = await server.makeToken(['mine'])
    const source = new VaultSource(
      clientFor(t, server, { kind: 'token', token }),
      placeOf('vault:secret/mine/tokens'),
    )
    await source.read()
    await source.close()
    const [live] = await server.tokensWith('mine')
    assert.ok(live !== undefined)
    const again = new VaultSource(
      clientFor(t, server, { kind: 'token', token }),
      placeOf('vault:secret/mine/tokens'),
    )
    await again.read()
    await server.revoke(live.accessor)
    assert.match((await faultOf(again.read(), token)).message, /does not know the token/)
  },

  async 'many reads at once log in once by AppRole, and closing revokes that token'(server, t) {
    await server.put('once/tokens', SET)
    await server.writePolicy('once', policy('once/tokens', 'read'))
    const { roleId, newSecretId } = await server.makeAppRole({ policies: ['once'] })
    const client = clientFor(t, server, { kind: 'approle', roleId, secretId: await newSecretId() })
    const sources = [1, 2, 3].map(
      () => new VaultSource(client, placeOf('vault:secret/once/tokens')),
    )
    const sets = await Promise.all(
      sources.flatMap((source) => [readText(source), readText(source)]),
    )
    assert.deepEqual(
      sets,
      sets.map(() => SET),
    )
    assert.equal((await server.tokensWith('once')).length, 1)
    await sources[0]?.close()
    await sources[0]?.close()
    await sources[1]?.close()
    assert.equal((await server.tokensWith('once')).length, 1, 'one of them is still in use')
    await sources[2]?.close()
    assert.equal((await server.tokensWith('once')).length, 0)
  },

  async 'a wrong role id, a wrong secret id and one used up are told without either'(server, t) {
    await server.writePolicy('few', policy('few/tokens', 'read'))
    await server.put('few/tokens', SET)
    const { roleId, newSecretId } = await server.makeAppRole({ policies: ['few'], secretIdUses: 1 })
    const secretId = await newSecretId()
    const sourceOf = (login: VaultLogin) =>
      new VaultSource(clientFor(t, server, login), placeOf('vault:secret/few/tokens'))
    const wrongRole = { kind: 'approle', roleId: 'no-such-role-id', secretId } as const
    const wrongSecret = { kind: 'approle', roleId, secretId: 'no-such-secret-id' } as const
    for (const login of [wrongRole, wrongSecret]) {
      const fault = await faultOf(sourceOf(login).read(), login.roleId, login.secretId)
      assert.match(
        fault.message,
        /AppRole login at auth\/approle \(400\): the role id or the secret id is wrong, expired or used up/,
      )
      assert.equal(fault.isTemporary, false)
    }
    const source = sourceOf({ kind: 'approle', roleId, secretId })
    await source.read()
    const [live] = await server.tokensWith('few')
    await server.revoke(live?.accessor ?? '')
    const fault = await faultOf(source.read(), roleId, secretId)
    assert.match(
      fault.message,
      /the secret id worked before: its uses are used up.*secret_id_num_uses=0/,
    )
  },

  async 'a wrapped secret id is unwrapped once; a second time is told as a theft may be'(
    server,
    t,
  ) {
    await server.put('wrapped/tokens', SET)
    await server.writePolicy('wrapped', policy('wrapped/tokens', 'read'))
    const { roleId, newWrappedSecretId } = await server.makeAppRole({ policies: ['wrapped'] })
    const wrappedSecretId = await newWrappedSecretId()
    const sourceOf = (wrapped: string) =>
      new VaultSource(
        clientFor(t, server, { kind: 'approle', roleId, wrappedSecretId: wrapped }),
        placeOf('vault:secret/wrapped/tokens'),
      )
    const source = sourceOf(wrappedSecretId)
    assert.deepEqual(await readText(source), SET)
    const [live] = await server.tokensWith('wrapped')
    await server.revoke(live?.accessor ?? '')
    assert.deepEqual(await readText(source), SET, 'the secret id is kept for the next login')
    const used = await faultOf(sourceOf(wrappedSecretId).read(), wrappedSecretId)
    assert.match(used.message, /wrapping token has been used.*treat the secret id as stolen/)
    assert.equal(used.isTemporary, false)
    const other = await server.wrapOther()
    const foreign = await faultOf(sourceOf(other).read(), other)
    assert.match(foreign.message, /does not hold a secret id of this AppRole.*exchanged on its way/)
  },

  async 'a JWT is read from its file at each login'(server, t) {
    const folder = await mkdtemp(join(tmpdir(), 'tollgate-jwt-'))
    t.after(() => rm(folder, { recursive: true }))
    const file = join(folder, 'token')
    await server.put('jwt/tokens', SET)
    await server.writePolicy('jwt', policy('jwt/tokens', 'read'))
    const { role, sign } = await server.makeJwtRole(['jwt'])
    const source = new VaultSource(
      clientFor(t, server, { kind: 'jwt', role, file }),
      placeOf('vault:secret/jwt/tokens'),
    )
    const attempt = async (text: string, problem: RegExp) => {
      await writeFile(file, text)
      const fault = await faultOf(source.read(), ...(text === '' ? [] : [text]))
      assert.match(fault.message, problem)
    }
    assert.match((await faultOf(source.read())).message, /the file with the JWT, .* is not there/)
    await attempt('', /is empty/)
    await attempt('not a token', /holds no JWT/)
    const past = Math.floor(Date.now() / 1000) - 3600
    await attempt(
      await sign({ exp: past, iat: past - 60 }),
      /login at auth\/jwt \(400\): the JWT has expired/,
    )
    await attempt(await sign({ aud: 'somebody else' }), /the JWT is for another audience/)
    await attempt(
      await sign({ iss: 'https://elsewhere.example' }),
      /the JWT is from another issuer/,
    )
    const forged = (await sign()).replace(/[^.]+$/, 'A'.repeat(86))
    await attempt(forged, /the signature of the JWT is not by a key that Vault trusts/)
    await writeFile(file, `${await sign()}\n`)
    assert.deepEqual(await readText(source), SET)
    await writeFile(file, `${await sign({ sub: 'the next one' })}\n`)
    for (const { accessor } of await server.tokensWith('jwt')) await server.revoke(accessor)
    assert.deepEqual(await readText(source), SET)
    const nobody = { kind: 'jwt', role: 'nobody', file } as const
    const stranger = new VaultSource(
      clientFor(t, server, nobody),
      placeOf('vault:secret/jwt/tokens'),
    )
    assert.match((await faultOf(stranger.read())).message, /there is no role nobody/)
  },

  async 'a login where no such method is enabled is told'(server, t) {
    const login = {
      kind: 'approle',
      roleId: 'the-role-id',
      secretId: 'the-secret-id',
      mount: 'elsewhere',
    } as const
    const source = new VaultSource(clientFor(t, server, login), placeOf('vault:secret/x/y'))
    const fault = await faultOf(source.read(), 'the-role-id', 'the-secret-id')
    assert.match(fault.message, /AppRole login at auth\/elsewhere \(40[034]\).*vault auth list/)
  },
}

const leases: Readonly<Record<string, Check>> = {
  async 'a token is renewed before it ends, and goes on being the same'(server, t) {
    await server.put('renew/tokens', SET)
    await server.writePolicy('renew', policy('renew/tokens', 'read'))
    const { roleId, newSecretId } = await server.makeAppRole({
      policies: ['renew'],
      ttlSeconds: server.shortTtlSeconds,
    })
    const login = { kind: 'approle', roleId, secretId: await newSecretId() } as const
    const source = new VaultSource(
      clientFor(t, server, login),
      placeOf('vault:secret/renew/tokens'),
    )
    await source.read()
    const [first] = await server.tokensWith('renew')
    const renewed = await eventually(
      async () => (await server.tokensWith('renew')).find((token) => token.isRenewed),
      'the renewal',
    )
    assert.equal(renewed.accessor, first?.accessor)
    assert.deepEqual(await readText(source), SET)
    assert.equal((await server.tokensWith('renew')).length, 1)
  },

  async 'a token that was given is renewed as well'(server, t) {
    await server.put('kept/tokens', SET)
    await server.writePolicy('kept', policy('kept/tokens', 'read'))
    const token = await server.makeToken(['kept'], server.shortTtlSeconds)
    const source = new VaultSource(
      clientFor(t, server, { kind: 'token', token }),
      placeOf('vault:secret/kept/tokens'),
    )
    await source.read()
    await eventually(
      async () => (await server.tokensWith('kept')).some(({ isRenewed }) => isRenewed),
      'the renewal',
    )
    assert.deepEqual(await readText(source), SET)
  },

  async 'a token that was given and has come to its greatest age is told'(server, t) {
    await server.put('aged/tokens', SET)
    await server.writePolicy('aged', policy('aged/tokens', 'read'))
    const token = await server.makeToken(['aged'], 2, 2)
    const source = new VaultSource(
      clientFor(t, server, { kind: 'token', token }),
      placeOf('vault:secret/aged/tokens'),
    )
    await source.read()
    await eventually(async () => (await server.tokensWith('aged')).length === 0, 'its end')
    assert.match((await faultOf(source.read(), token)).message, /does not know the token .*\(403\)/)
  },

  async 'a token at its greatest age is replaced before it ends'(server, t) {
    await server.put('old/tokens', SET)
    await server.writePolicy('old', policy('old/tokens', 'read'))
    const { roleId, newSecretId } = await server.makeAppRole({
      policies: ['old'],
      ttlSeconds: server.shortTtlSeconds,
      maxTtlSeconds: server.shortTtlSeconds,
    })
    const login = { kind: 'approle', roleId, secretId: await newSecretId() } as const
    const source = new VaultSource(clientFor(t, server, login), placeOf('vault:secret/old/tokens'))
    await source.read()
    const [first] = await server.tokensWith('old')
    await eventually(
      async () =>
        (await server.tokensWith('old')).some(({ accessor }) => accessor !== first?.accessor),
      'a token of a new login',
    )
    assert.deepEqual(await readText(source), SET)
  },

  async 'without the default policy a token works, and is replaced as it cannot be renewed'(
    server,
    t,
  ) {
    await server.put('bare/tokens', SET)
    await server.writePolicy('bare', policy('bare/tokens', 'create', 'read', 'update'))
    const { roleId, newSecretId } = await server.makeAppRole({
      policies: ['bare'],
      ttlSeconds: server.shortTtlSeconds,
      hasDefaultPolicy: false,
    })
    const secretId = await newSecretId()
    const client = clientFor(t, server, { kind: 'approle', roleId, secretId })
    const source = new VaultSource(client, placeOf('vault:secret/bare/tokens'))
    assert.deepEqual(await readText(source), SET)
    const delivery = new VaultDelivery(client, placeOf('vault:secret/bare/tokens'))
    assert.match(await delivery.check(), /^would add the field token/)
    const [first] = await server.tokensWith('bare')
    await eventually(
      async () =>
        (await server.tokensWith('bare')).some(({ accessor }) => accessor !== first?.accessor),
      'a token of a new login',
    )
    assert.deepEqual(await readText(source), SET)
    const denied = new VaultSource(client, placeOf('vault:secret/elsewhere/tokens'))
    assert.match(
      (await faultOf(denied.read())).message,
      /permission denied to read it \(403\); add/,
    )
  },

  async 'batch tokens are as good, and one that has ended is followed by the next'(server, t) {
    await server.put('batch/tokens', SET)
    await server.writePolicy('batch', policy('batch/tokens', 'read'))
    const { roleId, newSecretId } = await server.makeAppRole({
      policies: ['batch'],
      ttlSeconds: 1,
      isBatch: true,
    })
    const secretId = await newSecretId()
    const client = clientFor(t, server, { kind: 'approle', roleId, secretId })
    const source = new VaultSource(client, placeOf('vault:secret/batch/tokens'))
    assert.deepEqual(await readText(source), SET)
    await pause(1500)
    assert.deepEqual(await readText(source), SET)
  },

  async 'a revoked token is replaced by one new login'(server, t) {
    await server.put('revoked/tokens', SET)
    await server.writePolicy('revoked', policy('revoked/tokens', 'read'))
    const { roleId, newSecretId } = await server.makeAppRole({ policies: ['revoked'] })
    const login = { kind: 'approle', roleId, secretId: await newSecretId() } as const
    const source = new VaultSource(
      clientFor(t, server, login),
      placeOf('vault:secret/revoked/tokens'),
    )
    await source.read()
    const [first] = await server.tokensWith('revoked')
    await server.revoke(first?.accessor ?? '')
    const sets = await Promise.all([readText(source), readText(source), readText(source)])
    assert.deepEqual(sets, [SET, SET, SET])
    const live = await server.tokensWith('revoked')
    assert.equal(live.length, 1)
    assert.notEqual(live[0]?.accessor, first?.accessor)
  },
}

const secrets: Readonly<Record<string, Check>> = {
  async 'a set is created, replaced and kept from who has read an older one'(server, t) {
    const truth = new VaultTruth(
      clientFor(t, server, root(server)),
      placeOf('vault:secret/cas/tokens'),
    )
    const nothing = await truth.readCurrent()
    assert.deepEqual(nothing, { text: undefined, version: '0' })
    assert.equal(await truth.write(JSON.stringify(SET), nothing.version), true)
    assert.equal(await truth.write(JSON.stringify({ tokens: [] }), nothing.version), false)
    const first = await truth.readCurrent()
    assert.equal(first.version, '1')
    assert.deepEqual(JSON.parse(first.text ?? ''), SET)
    const writes = await Promise.all(
      ['b', 'c', 'd'].map((id) => truth.write(JSON.stringify({ tokens: [{ id }] }), first.version)),
    )
    assert.equal(writes.filter(Boolean).length, 1, 'one of three at once')
    const second = await truth.readCurrent()
    assert.equal(second.version, '2')
    const [winner] = ['b', 'c', 'd'].filter((_, index) => writes[index])
    assert.deepEqual(JSON.parse(second.text ?? ''), { tokens: [{ id: winner }] })
  },

  async 'ten thousand tokens come back as they were written, and one more is told as too many'(
    server,
    t,
  ) {
    const tokens = Array.from({ length: 10_000 }, (_, index) => ({
      holder: `agent-${index}`,
      id: `token-${index}`,
      sha256: index.toString(16).padStart(64, '0'),
    }))
    const truth = new VaultTruth(
      clientFor(t, server, root(server)),
      placeOf('vault:secret/many/tokens'),
    )
    assert.equal(await truth.write(JSON.stringify({ tokens }), '0'), true)
    assert.deepEqual(JSON.parse((await truth.readCurrent()).text ?? ''), { tokens })
    const oneMore = JSON.stringify({ tokens: [...tokens, { id: 'one-more' }] })
    const fault = await faultOf(truth.write(oneMore, '1'), 'one-more')
    assert.match(fault.message, /the set is too large for Vault \(500\).*10,000 entries in a list/)
    assert.equal(fault.isTemporary, false)
    assert.equal((await truth.readCurrent()).version, '1')
  },

  async 'a deleted set and a destroyed one are told, with the way back'(server, t) {
    const truth = new VaultTruth(
      clientFor(t, server, root(server)),
      placeOf('vault:secret/gone/tokens'),
    )
    await server.put('gone/tokens', SET)
    await server.put('gone/tokens', SET)
    await server.deleteNewest('gone/tokens')
    const deleted = await faultOf(truth.readCurrent())
    assert.match(
      deleted.message,
      /version 2 was deleted on \d{4}-.*\(404\).*vault kv undelete -mount=secret -versions=2 gone\/tokens/,
    )
    assert.equal(deleted.isTemporary, false)
    await server.destroyNewest('gone/tokens')
    assert.match(
      (await faultOf(truth.readCurrent())).message,
      /version 2 was destroyed \(404\).*rollback/,
    )
  },

  async 'mounts are found, however long, and what is no KV version 2 is told'(server, t) {
    await server.mountKv('team/kv', 2)
    await server.mountKv('old-kv', 1)
    const client = clientFor(t, server, root(server))
    const truth = new VaultTruth(client, placeOf('vault:team/kv/otel/tokens'))
    assert.equal(await truth.write(JSON.stringify(SET), '0'), true)
    const source = new VaultSource(client, placeOf('vault:/team/kv/otel/tokens/'))
    assert.deepEqual(await readText(source), SET)
    const read = async (place: string) =>
      (await faultOf(new VaultSource(client, placeOf(place)).read())).message
    assert.match(
      await read('vault:old-kv/otel/tokens'),
      /the mount old-kv is KV version 1.*enable-versioning old-kv/,
    )
    assert.match(await read('vault:cubbyhole/otel'), /the mount cubbyhole is a cubbyhole engine/)
    assert.match(await read('vault:team/kv'), /names a mount and no path in it/)
    assert.match(
      await read('vault:nowhere/otel/tokens'),
      /no KV version 2 engine at nowhere\/ \(404\)/,
    )
    assert.match(
      await read('vault:secret/data/otel/tokens'),
      /leave data\/ out: vault:secret\/otel\/tokens/,
    )
  },

  async 'names with spaces and signs are kept'(server, t) {
    const client = clientFor(t, server, root(server))
    const truth = new VaultTruth(client, placeOf('vault:secret/a b/ü+%41?x'))
    assert.equal(await truth.write(JSON.stringify(SET), '0'), true)
    assert.deepEqual(JSON.parse((await truth.readCurrent()).text ?? ''), SET)
  },

  async 'a sealed Vault is temporary, and it goes on once unsealed'(server, t) {
    await server.put('sealed/tokens', SET)
    const source = new VaultSource(
      clientFor(t, server, root(server)),
      placeOf('vault:secret/sealed/tokens'),
    )
    await source.read()
    await server.seal()
    const fault = await faultOf(source.read(), server.rootToken)
    assert.match(fault.message, /is sealed \(503\); unseal it/)
    assert.equal(fault.isTemporary, true)
    await server.unseal()
    assert.deepEqual(await readText(source), SET)
  },
}

const grants: Readonly<Record<string, Check>> = {
  async 'the policies of the documentation are enough, and no more than that'(server, t) {
    await server.writePolicy('gateway', GATEWAY_POLICY)
    await server.writePolicy('rotate', ROTATE_POLICY)
    await server.writePolicy('agent', AGENT_POLICY)
    const as = async (name: string) => {
      const { roleId, newSecretId } = await server.makeAppRole({ policies: [name] })
      return clientFor(t, server, { kind: 'approle', roleId, secretId: await newSecretId() })
    }
    const set = placeOf('vault:secret/otel/tokens')
    const field = placeOf('vault:secret/otel/agents/checkout')
    const [gateway, rotate, agent] = [await as('gateway'), await as('rotate'), await as('agent')]
    const truth = new VaultTruth(rotate, set)
    assert.equal(await truth.write(JSON.stringify(SET), '0'), true)
    assert.equal(await truth.write(JSON.stringify(SET), '1'), true)
    assert.deepEqual(await readText(new VaultSource(gateway, set)), SET)
    const delivery = new VaultDelivery(rotate, field)
    await delivery.check()
    await delivery.deliver(plain('the-new-token'))
    assert.deepEqual(await readText(new VaultSource(agent, field)), { token: 'the-new-token' })
    const write = await faultOf(new VaultTruth(gateway, set).write(JSON.stringify(SET), '2'))
    assert.match(
      write.message,
      /permission denied to write it \(403\); add to its policy: path "secret\/data\/otel\/tokens" { capabilities = \["create", "update"\] }/,
    )
    const read = await faultOf(new VaultSource(agent, set).read())
    assert.match(
      read.message,
      /permission denied to read it \(403\); add to its policy: path "secret\/data\/otel\/tokens" { capabilities = \["read"\] }/,
    )
    assert.equal(read.isTemporary, false)
    const check = await faultOf(new VaultDelivery(agent, field).check())
    assert.match(
      check.message,
      /may not create, update there; add to its policy: path "secret\/data\/otel\/agents\/checkout" { capabilities = \["create", "read", "update"\] }/,
    )
  },

  async 'a permission that is missing costs no new login'(server, t) {
    await server.writePolicy('nothing', policy('elsewhere', 'read'))
    const { roleId, newSecretId } = await server.makeAppRole({ policies: ['nothing'] })
    const login = { kind: 'approle', roleId, secretId: await newSecretId() } as const
    const source = new VaultSource(
      clientFor(t, server, login),
      placeOf('vault:secret/forbidden/tokens'),
    )
    await faultOf(source.read())
    await faultOf(source.read())
    assert.equal((await server.tokensWith('nothing')).length, 1)
  },

  async 'a mount that may not be looked up is taken to be the first name'(server, t) {
    await server.put('blind/tokens', SET)
    await server.writePolicy('blind', policy('blind/*', 'read'))
    const token = await server.makeToken(['blind'])
    const client = clientFor(t, server, { kind: 'token', token })
    assert.deepEqual(
      await readText(new VaultSource(client, placeOf('vault:secret/blind/tokens'))),
      SET,
    )
    const fault = await faultOf(new VaultSource(client, placeOf('vault:not/granted/at/all')).read())
    assert.match(
      fault.message,
      /permission denied to read it \(403\); add to its policy: path "not\/data\/granted\/at\/all"/,
    )
  },
}

const deliveries: Readonly<Record<string, Check>> = {
  async 'a token is delivered into its field, and twice is as good as once'(server, t) {
    const client = clientFor(t, server, root(server))
    const delivery = new VaultDelivery(client, placeOf('vault:secret/agents/one'))
    const truth = new VaultTruth(client, placeOf('vault:secret/agents/one'))
    assert.match(
      await delivery.check(),
      /^would create vault:secret\/agents\/one with the field token$/,
    )
    assert.match(
      await delivery.deliver(plain('first-token')),
      /^wrote the field token of .*\(version 1\)/,
    )
    assert.match(
      await delivery.deliver(plain('first-token')),
      /has it already \(version 1, field token\)/,
    )
    assert.deepEqual(JSON.parse((await truth.readCurrent()).text ?? ''), { token: 'first-token' })
    assert.equal((await truth.readCurrent()).version, '1')
    assert.match(await delivery.check(), /^would replace the field token of .* \(version 1 now\)$/)
    await delivery.deliver(plain('second-token'))
    assert.equal((await truth.readCurrent()).version, '2')
  },

  async 'other fields stay, also those that others write at the same time'(server, t) {
    await server.put('agents/many', { region: 'eu', nested: { a: [1] } })
    const names = ['web', 'api', 'job', 'constructor']
    const client = clientFor(t, server, root(server))
    const to = (name: string) =>
      new VaultDelivery(client, placeOf(`vault:secret/agents/many#${name}`))
    assert.match(
      await to('web').check(),
      /^would add the field web of .* \(version 1 now\) and keep its 2 other fields$/,
    )
    const done = await Promise.all(names.map((name) => to(name).deliver(plain(`for-${name}`))))
    for (const sentence of done) assert.ok(!sentence.includes('for-'), sentence)
    const text = await readText(new VaultSource(client, placeOf('vault:secret/agents/many')))
    assert.deepEqual(text, {
      region: 'eu',
      nested: { a: [1] },
      ...Object.fromEntries(names.map((name) => [name, `for-${name}`])),
    })
  },

  async 'a deleted secret is written anew'(server, t) {
    await server.put('agents/deleted', { token: 'old' })
    await server.deleteNewest('agents/deleted')
    const client = clientFor(t, server, root(server))
    const delivery = new VaultDelivery(client, placeOf('vault:secret/agents/deleted'))
    assert.match(await delivery.check(), /^would create .* \(version 1 was deleted\)$/)
    assert.match(await delivery.deliver(plain('new')), /\(version 2\)/)
  },
}

/** What both servers must pass, by title. The order is that of the list. */
export const CONTRACT: Readonly<Record<string, Check>> = {
  ...logins,
  ...leases,
  ...secrets,
  ...grants,
  ...deliveries,
}

export function plain(token: string): TokenInPlain {
  return { id: 'a1', holder: 'checkout', token }
}
