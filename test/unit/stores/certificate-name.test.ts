import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { CLIENT_CERTIFICATE } from '../../../src/stores/certificate-name.ts'
import { parseTokenSet, TokenSetError } from '../../../src/stores/token-set.ts'

const HEX = 'AB'.repeat(32)
const DIGEST = '0'.repeat(64)

suite('how a token set names client certificates', () => {
  for (const [value, name] of [
    [{ san: 'Agent-7.Example.com' }, 'dns:agent-7.example.com'],
    [{ san: 'spiffe://example.com/Agent/7' }, 'uri:spiffe://example.com/Agent/7'],
    [{ san: 'urn:uuid:f81d4fae' }, 'uri:urn:uuid:f81d4fae'],
    [{ san: 'Seven@Example.com' }, 'email:Seven@example.com'],
    [{ cn: 'Agent 7' }, 'cn:Agent 7'],
    [{ sha256: HEX }, `sha256:${HEX.toLowerCase()}`],
    [{ sha256: HEX.replace(/..(?!$)/g, '$&:') }, `sha256:${HEX.toLowerCase()}`],
  ] as const)
    test(JSON.stringify(value), () => assert.equal(CLIENT_CERTIFICATE.read(value), name))

  for (const value of [
    ...['agent', null, [], {}, { san: '' }, { san: 7 }, { cn: ' x' }, { cn: 'a\nb' }],
    ...[{ san: '*.example.com' }, { san: 'a b' }, { sha256: 'ab' }, { dns: 'a' }],
    ...[{ cn: 'x'.repeat(513) }, { san: 'a', cn: 'b' }],
  ])
    test(`not ${JSON.stringify(value).slice(0, 60)}`, () =>
      assert.equal(CLIENT_CERTIFICATE.read(value), undefined))
})

suite('an entry with a client certificate', () => {
  const entry = { id: 'seven', holder: 'agents', clientCertificate: { cn: 'seven' } }
  const parse = (...tokens: object[]) => parseTokenSet(JSON.stringify({ tokens }), 'set')
  const problems = (...tokens: object[]) => {
    try {
      parse(...tokens)
      return []
    } catch (error) {
      assert.ok(error instanceof TokenSetError)
      return error.problems
    }
  }

  test('needs no digest, and has all else that tokens have', () => {
    const [record] = parse({ ...entry, scopes: ['logs'], expiresAt: '2030-01-01' }).records
    assert.equal(record?.clientCertificate, 'cn:seven')
    assert.deepEqual(record?.scopes, new Set(['logs']))
    assert.equal(record?.expiresAtMs, Date.parse('2030-01-01'))
  })

  test('has no digest beside it', () => {
    assert.match(problems({ ...entry, sha256: DIGEST }).join(), /stands beside sha256/)
  })

  test('and without either an entry is nothing', () => {
    const { clientCertificate: _, ...neither } = entry
    assert.match(problems(neither).join(), /sha256: is missing.*or clientCertificate in its place/)
  })

  test('names a certificate that no other entry names', () => {
    assert.deepEqual(problems(entry, { ...entry, id: 'eight' }), [
      'tokens[1].clientCertificate: is the same as in tokens[0]',
    ])
    assert.deepEqual(problems(entry, { ...entry, id: 'eight', clientCertificate: { cn: '8' } }), [])
  })

  test('says what would be right', () => {
    assert.match(
      problems({ ...entry, clientCertificate: { san: '*.example.com' } }).join(),
      /clientCertificate: an object is not a client certificate; expected one of \{"san"/,
    )
  })
})
