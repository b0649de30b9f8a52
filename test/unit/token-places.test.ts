import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { parseConfig } from '../../src/config/config.ts'
import { digestOf } from '../../src/stores/token-secret.ts'
import { contentFrom, placeSettingsOf, tokenPlacesOf } from '../../src/token-places.ts'

const ADDRESS = 'https://vault.example:8200'
const TOKEN = 'a-token-of-the-tests-0123456789abcdef'
const OTHER = 'another-token-of-the-tests-0123456789'

function configOf(env: Readonly<Record<string, string>>) {
  const variables = Object.entries(env).map(([name, value]) => [`TOLLGATE_${name}`, value])
  const all = { TOLLGATE_COLLECTOR_GRPC: 'http://c:4317', ...Object.fromEntries(variables) }
  return parseConfig(all, [], { cwd: '/etc' })
}

const setOf = (...entries: (readonly [id: string, token: string])[]) =>
  JSON.stringify({
    tokens: entries.map(([id, token]) => ({ id, holder: 'h', sha256: digestOf(token) })),
  })

test('places: the old options first, each place once, a # in a file name is no field', () => {
  const config = configOf({
    TOKENS: `agents=${TOKEN}`,
    TOKENS_FILE: 'tokens#1.json',
    TOKENS_SOURCE: 'aws:otel, env, file:/etc/other.json, file:other2.json',
  })
  assert.deepEqual(
    tokenPlacesOf(config).map(({ text, path, field }) => [text, path, field]),
    [
      ['env', '', undefined],
      ['file:/etc/tokens#1.json', '/etc/tokens#1.json', undefined],
      ['aws:otel', 'otel', undefined],
      ['file:/etc/other.json', '/etc/other.json', undefined],
      ['file:/etc/other2.json', '/etc/other2.json', undefined],
    ],
  )
  const twice = configOf({ TOKENS_FILE: 'a.json', TOKENS_SOURCE: 'file:a.json' })
  assert.equal(tokenPlacesOf(twice).length, 1)
})

test('logins to Vault', async () => {
  const loginOf = async (env: Readonly<Record<string, string>>) =>
    (await placeSettingsOf(configOf({ VAULT_ADDR: `${ADDRESS}/`, ...env }))).vault?.login
  assert.deepEqual(await loginOf({ VAULT_TOKEN: 't' }), { kind: 'token', token: 't' })
  const role = { kind: 'approle', roleId: 'r', mount: undefined }
  assert.deepEqual(await loginOf({ VAULT_ROLE_ID: 'r', VAULT_SECRET_ID: 's' }), {
    ...role,
    secretId: 's',
  })
  assert.deepEqual(
    await loginOf({ VAULT_ROLE_ID: 'r', VAULT_WRAPPED_SECRET_ID: 'w', VAULT_AUTH_MOUNT: 'm' }),
    { ...role, wrappedSecretId: 'w', mount: 'm' },
  )
  assert.deepEqual(await loginOf({ VAULT_JWT_FILE: 'jwt', VAULT_JWT_ROLE: 'r' }), {
    kind: 'jwt',
    role: 'r',
    file: '/etc/jwt',
    mount: undefined,
  })
})

test('how Vault is reached', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'tollgate-places-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  const path = join(folder, 'ca.pem')
  const env = { VAULT_ADDR: ADDRESS, VAULT_TOKEN: 't', VAULT_CA: path, VAULT_NAMESPACE: 'team/a' }
  await assert.rejects(placeSettingsOf(configOf(env)), /cannot read .*ca\.pem: no such file/)
  await writeFile(path, 'PEM')
  const { vault } = await placeSettingsOf(configOf(env))
  assert.equal(vault?.address, ADDRESS)
  assert.equal(vault?.ca, 'PEM')
  assert.equal(vault?.namespace, 'team/a')
  assert.equal((await placeSettingsOf(configOf({}))).vault, undefined)
})

const PLACE = { scheme: 'aws', path: 'otel', field: undefined, text: 'aws:otel' } as const

test('what several versions have in common is taken from the first', () => {
  const current = setOf(['a', TOKEN])
  const pending = setOf(['other-id', TOKEN], ['b', OTHER])
  const { set, texts, flaws } = contentFrom(
    [
      { text: current, version: '2' },
      { text: pending, version: '3' },
    ],
    PLACE,
  )
  assert.deepEqual(set.records.map(({ id }) => id).toSorted(), ['a', 'b'])
  assert.deepEqual([texts.length, flaws], [2, []])
})

test('an ARN is a holder by the name in it', () => {
  const path = 'arn:aws:secretsmanager:eu-central-1:123456789012:secret:otel/agents-AbCdEf'
  const { set } = contentFrom([{ text: TOKEN, version: '1' }], {
    ...PLACE,
    path,
    text: `aws:${path}`,
  })
  assert.equal(set.records[0]?.holder, 'otel/agents')
})

test('nothing there yet is a problem', () => {
  assert.throws(() => contentFrom([{ text: undefined, version: '0' }], PLACE), {
    message: 'aws:otel: there is nothing there yet; expected a token set or a token',
  })
})
