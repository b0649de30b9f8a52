import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { suite, test } from 'node:test'
import { issueCa, issueServer } from '../../../src/tls/issue.ts'
import { isFor, NameIndex, namesOf, subjectOf } from '../../../src/tls/names.ts'

const CA = await issueCa('names CA', Date.now())
const certificate = async (...names: string[]) =>
  new X509Certificate((await issueServer(CA, names, Date.now())).cert)

suite('the names of a certificate', () => {
  test('host names, wildcards and addresses', async () => {
    const many = await certificate('otlp.test', '*.wild.test', '192.0.2.1', '2001:db8::1')
    assert.deepEqual(
      ['otlp.test', 'OTLP.test', 'a.wild.test', '192.0.2.1', '2001:db8::1'].map((name) =>
        isFor(many, name),
      ),
      [true, true, true, true, true],
    )
    assert.deepEqual(
      ['wild.test', 'a.b.wild.test', 'x.otlp.test', '192.0.2.2'].map((name) => isFor(many, name)),
      [false, false, false, false],
    )
    assert.equal(namesOf(many)[0], 'DNS:otlp.test')
    assert.equal(subjectOf(many), 'otlp.test')
  })

  test('the subject counts for nothing where there are no names', () => {
    const ca = new X509Certificate(CA.cert)
    assert.equal(isFor(ca, 'names CA'), false)
    assert.deepEqual(namesOf(ca), [])
    assert.equal(subjectOf(ca), 'names CA')
  })
})

suite('finding a certificate by name', () => {
  const index = new NameIndex<string>()
  index.add(['DNS:*.example.test', 'IP Address:192.0.2.1'], 'wildcard')
  index.add(['DNS:otlp.example.test', 'DNS:other.test'], 'exact')
  index.add(['DNS:OTHER.test', 'DNS:*.example.test'], 'late')

  for (const [name, found] of [
    ['otlp.example.test', 'exact'],
    ['OTLP.Example.Test', 'exact'],
    ['otlp.example.test.', 'exact'],
    ['web.example.test', 'wildcard'],
    ['a.b.example.test', undefined],
    ['example.test', undefined],
    ['other.test', 'exact'],
    ['192.0.2.1', undefined],
    ['*.example.test', 'wildcard'],
    ['test', undefined],
    ['', undefined],
    ['__proto__', undefined],
  ] as const) {
    test(`${JSON.stringify(name)}: ${found ?? 'none'}`, () => assert.equal(index.find(name), found))
  }
})
