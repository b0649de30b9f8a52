/** What is kept over a restart: the account, the record of attempts, the certificate. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { accountOf, accountsFrom, accountsText, entryFor } from '../../../src/acme/account-file.ts'
import { AcmeFault } from '../../../src/acme/acme-fault.ts'
import {
  assertOrdered,
  certificateText,
  isFor,
  keptFrom,
} from '../../../src/acme/certificate-file.ts'
import { NO_RECORD, recordFrom, recordText } from '../../../src/acme/record.ts'
import { issueCa, issueServer } from '../../../src/tls/issue.ts'

const DIRECTORY = 'https://acme.example.test/directory'

test('an account is found again by its directory, and others stay', () => {
  const first = entryFor([], DIRECTORY)
  assert.equal(accountOf(first), undefined, 'no directory has seen it')
  const text = accountsText([], { ...first, url: 'https://acme.example.test/account/1' })
  const accounts = accountsFrom(text, 'account.json')
  const other = entryFor(accounts, 'https://other.example.test/')
  assert.notDeepEqual(other.jwk, first.jwk)
  const both = accountsFrom(accountsText(accounts, other), 'account.json')
  assert.equal(both.length, 2)
  const again = entryFor(both, DIRECTORY)
  assert.deepEqual(again.jwk, first.jwk)
  assert.equal(accountOf(again)?.url, 'https://acme.example.test/account/1')
})

for (const text of [
  '',
  '{',
  '{}',
  '{"accounts":[{"directory":"d","jwk":{"kty":"EC","d":"geheim"}}]}',
]) {
  test(`accounts that are damaged are told of without quoting them: ${text.slice(0, 20)}`, () => {
    assert.throws(
      () => accountsFrom(text, '/state/account.json'),
      (error) => {
        assert.ok(error instanceof AcmeFault)
        assert.equal(error.kind, 'local')
        assert.match(error.message, /^\/state\/account\.json is damaged; .*remove it/)
        assert.doesNotMatch(error.message, /geheim/)
        return true
      },
    )
  })
}

test('a record is read as it was written', () => {
  const record = {
    ...NO_RECORD,
    asked: 'this',
    failures: 3,
    lastFailure: { atMs: 5, kind: 'validation', words: 'no' } as const,
    waitUntilMs: 7,
    failuresMs: [1, 2],
    window: { startMs: 1, endMs: 2 },
    renewAtMs: 9.5,
  }
  assert.deepEqual(recordFrom(recordText(record)), record)
  assert.deepEqual(recordFrom(recordText(NO_RECORD)), NO_RECORD)
})

for (const text of [
  '',
  '[]',
  '{}',
  '{"version":1,"failuresMs":3}',
  '{"version":1,"waitUntilMs":"x"}',
]) {
  test(`what is no record is not taken for one: ${text}`, () => {
    assert.throws(() => recordFrom(text), Error)
  })
}

test('a certificate is known by its directory and names, and nothing else is one', async () => {
  const ca = await issueCa('a CA', Date.now())
  const { cert, key } = await issueServer(ca, ['b.example.test', 'a.example.test'], Date.now())
  const text = certificateText(DIRECTORY, { key, chain: cert })
  const kept = keptFrom(text)
  assert.equal(kept?.directory, DIRECTORY)
  assert.ok(isFor(kept.leaf, ['a.example.test', 'b.example.test']))
  assert.ok(!isFor(kept.leaf, ['a.example.test']), 'one name less is another certificate')
  assert.ok(!isFor(kept.leaf, ['a.example.test', 'c.example.test']))
  assert.equal(keptFrom(`${key}${cert}`), undefined, 'a certificate that stands in')
  assert.equal(keptFrom(undefined), undefined)
  assert.equal(
    keptFrom(
      `ACME-Directory: ${DIRECTORY}\n-----BEGIN CERTIFICATE-----\nxx\n-----END CERTIFICATE-----`,
    ),
    undefined,
  )
})

test('what an authority sends is looked at before it is put in place', async () => {
  const nowMs = Date.now()
  const ca = await issueCa('a CA', nowMs)
  const names = ['a.example.test']
  const one = await issueServer(ca, names, nowMs)
  const other = await issueServer(ca, names, nowMs)
  const look = (chain: string, key: string, wanted: readonly string[], wallMs: number) => () =>
    assertOrdered(certificateText(DIRECTORY, { key, chain }), key, wanted, wallMs)
  look(one.cert, one.key, names, nowMs)()
  assert.throws(look(one.cert, other.key, names, nowMs), /another key/)
  assert.throws(
    look(one.cert, one.key, ['b.example.test'], nowMs),
    /for DNS:a\.example\.test; expected one for b\./,
  )
  assert.throws(look(one.cert, one.key, names, nowMs + 400 * 86_400_000), /clock/)
  assert.throws(look('<html>', one.key, names, nowMs), /no certificate/)
})
