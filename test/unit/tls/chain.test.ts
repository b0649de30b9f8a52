import assert from 'node:assert/strict'
import { createPrivateKey, X509Certificate } from 'node:crypto'
import { before, suite, test } from 'node:test'
import fc from 'fast-check'
import { chainFor, isSelfSigned } from '../../../src/tls/chain.ts'
import { issueOdd, type Odd } from '../../support/odd-certificates.ts'

suite('a chain of three under a root', () => {
  let inOrder: X509Certificate[]
  let stray: X509Certificate
  let leaf: Odd
  before(async () => {
    const root = await issueOdd({ commonName: 'root', isCa: true })
    const upper = await issueOdd({ commonName: 'upper', isCa: true, issuer: root })
    const lower = await issueOdd({ commonName: 'lower', isCa: true, issuer: upper })
    leaf = await issueOdd({ commonName: 'leaf', issuer: lower })
    // The same name as a link, and another key: names alone make no chain.
    stray = new X509Certificate((await issueOdd({ commonName: 'upper', isCa: true })).cert)
    inOrder = [leaf, lower, upper, root].map(({ cert }) => new X509Certificate(cert))
  })
  const chain = (certificates: readonly X509Certificate[]) =>
    chainFor(createPrivateKey(leaf.key), certificates)

  test('is put in order from any order', () => {
    fc.assert(
      fc.property(fc.shuffledSubarray([0, 1, 2, 3, 4], { minLength: 5 }), (order) => {
        const files = order.flatMap((at) => [...inOrder, stray][at] ?? [])
        const found = chain(files)
        assert.deepEqual(found?.links, inOrder)
        assert.deepEqual(found.strays, [order.indexOf(4) + 1])
        assert.equal(
          found.wasMixed,
          order.filter((at) => at < 4).some((at, i) => at !== i),
        )
      }),
    )
  })

  test('ends where a link is missing', () => {
    const [first, second, , root] = inOrder
    const files = [first, second, root].filter((each) => each !== undefined)
    const found = chain(files)
    assert.deepEqual(found?.links, files.slice(0, 2))
    assert.deepEqual(found.strays, [3])
  })

  test('is none without the certificate of the key', () => {
    assert.equal(chain(inOrder.slice(1)), undefined)
    assert.equal(chain([]), undefined)
  })

  test('roots sign themselves', () => {
    assert.deepEqual(inOrder.map(isSelfSigned), [false, false, false, true])
  })
})
