/** What can be told wrong about Vault before it is asked: settings and places. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parsePlace } from '../../../../src/secrets/place.ts'
import { SourceFault } from '../../../../src/secrets/source-fault.ts'
import { VaultClient, type VaultSettings } from '../../../../src/secrets/vault/client.ts'
import { VaultDelivery } from '../../../../src/secrets/vault/delivery.ts'
import { VaultSource } from '../../../../src/secrets/vault/source.ts'
import { VaultTruth } from '../../../../src/secrets/vault/truth.ts'
import { issueCa } from '../../../../src/tls/issue.ts'

const SETTINGS: VaultSettings = {
  address: 'https://vault.example:8200',
  login: { kind: 'token', token: 'hvs.secret-4711' },
}

/** A setting that is refused: it is named, and nothing secret is. */
function refuses(more: Partial<VaultSettings>, message: RegExp): void {
  assert.throws(
    () => new VaultClient({ ...SETTINGS, ...more }),
    (error: unknown) => {
      assert.ok(error instanceof SourceFault)
      assert.match(error.message, message)
      assert.ok(!error.message.includes('4711'), error.message)
      assert.equal(error.isTemporary, false)
      return true
    },
  )
}

test('an address is http or https, and names nobody', () => {
  const addresses = [
    'vault.example:8200',
    '',
    'ftp://vault.example',
    'https://user:4711@vault.example',
    'https://vault.example/?token=4711',
    'https://vault.example/#4711',
  ]
  for (const address of addresses)
    refuses({ address }, /the address is not one; write it like https:/)
})

test('credentials that were copied with too much are told by name', () => {
  const cases: readonly [VaultSettings['login'], RegExp][] = [
    [{ kind: 'token', token: 'hvs.4711\n' }, /^Vault: the token has blanks, line breaks/],
    [{ kind: 'token', token: ' ' }, /^Vault: the token is empty/],
    [{ kind: 'approle', roleId: '', secretId: '4711' }, /^Vault: the role id is empty/],
    [{ kind: 'approle', roleId: 'r', secretId: '4711 4711' }, /^Vault: the secret id has blanks/],
    [{ kind: 'approle', roleId: 'r', wrappedSecretId: '' }, /^Vault: the wrapping token is empty/],
    [{ kind: 'jwt', role: '', file: '/run/jwt' }, /^Vault: the role is empty/],
  ]
  for (const [login, message] of cases) refuses({ login }, message)
  refuses({ namespace: 'team a' }, /^Vault: the namespace has blanks/)
})

test('a CA that is no certificate is told before it is trusted in vain', async () => {
  const broken = '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n'
  for (const ca of ['', '/etc/ssl/ca.pem', broken]) {
    refuses({ ca }, /the CA is no certificate in PEM; look at the file in TOLLGATE_VAULT_CA/)
  }
  const { cert } = await issueCa('Test CA', Date.now())
  assert.ok(new VaultClient({ ...SETTINGS, ca: `# the first\n${cert}${cert}` }))
})

test('a path in front of the address is kept, and a slash at its end is not', () => {
  const client = new VaultClient({ ...SETTINGS, address: 'https://vault.example/behind/' })
  assert.equal(client.address, 'https://vault.example/behind')
})

test('places without a mount and a path in it, and sets in one field, are refused', () => {
  const client = new VaultClient(SETTINGS)
  const refused = (
    text: string,
    of: typeof VaultSource | typeof VaultDelivery,
    message: RegExp,
  ) => {
    const place = parsePlace(text)
    assert.ok(place !== undefined)
    assert.throws(() => new of(client, place), { name: 'SourceFault', message })
  }
  for (const text of ['vault:secret', 'vault:secret/', 'vault:a//b', 'vault:a/../b', 'file:/a/b']) {
    refused(text, VaultSource, /is no place in Vault; write the mount and the path/)
    refused(text, VaultDelivery, /is no place in Vault; write the mount and the path/)
  }
  refused('vault:secret/tokens#set', VaultSource, /takes the whole secret; leave out #set/)
})

test('what is written is a JSON object, at a version that was read', async () => {
  const place = parsePlace('vault:secret/otel/tokens')
  assert.ok(place !== undefined)
  const truth = new VaultTruth(new VaultClient(SETTINGS), place)
  for (const text of ['', '[]', 'null', '"tokens"', '{"tokens":']) {
    await assert.rejects(truth.write(text, '0'), /a secret in Vault is a JSON object/)
  }
  for (const version of ['', 'one', '-1', '1.5']) {
    await assert.rejects(truth.write('{}', version), TypeError)
  }
  await truth.close()
})
