/** Whatever a stranger sends as a JWT: nothing throws, and nothing that was changed is believed. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { claimsFlaw, tokenOf } from '../../../src/oidc/claims.ts'
import { jwtFrom, readJwt } from '../../../src/oidc/jwt.ts'
import { Unverified } from '../../../src/pipeline/unverified.ts'
import { forge, signingKey } from '../../support/signing.ts'
import { AUDIENCE, FakeIssuer, ISSUER, JwtWorld, NO_LIMITS, rulesOf } from './world.ts'

const KEY = await signingKey('key-1')

test('any text behind Bearer', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 300 }), (text) => {
      const found = jwtFrom(`Bearer ${text}`)
      if (found !== undefined) readJwt(found)
    }),
  )
})

test('any JSON as header and claims', () => {
  const rules = rulesOf({ requiredClaims: [{ name: 'groups', value: 'agents' }] })
  const claimsLike = fc.record(
    {
      aud: fc.oneof(fc.constant(AUDIENCE), fc.jsonValue()),
      exp: fc.oneof(fc.double(), fc.jsonValue()),
      nbf: fc.oneof(fc.double(), fc.jsonValue()),
      sub: fc.oneof(fc.string({ unit: 'binary' }), fc.jsonValue()),
      scope: fc.oneof(fc.constant('otlp:traces'), fc.jsonValue()),
      groups: fc.oneof(fc.constant('agents'), fc.jsonValue()),
    },
    { requiredKeys: [] },
  )
  const header = fc.oneof(fc.record({ alg: fc.string(), kid: fc.jsonValue() }), fc.jsonValue())
  fc.assert(
    fc.property(header, fc.oneof(claimsLike, fc.jsonValue()), (head, body) => {
      const jwt = readJwt(forge(head, body, 'AAAA'))
      if (typeof jwt === 'string' || claimsFlaw(jwt.claims, rules, 1e12) !== undefined) return
      const { holder } = tokenOf(jwt.claims, ISSUER, rules, NO_LIMITS)
      assert.ok(holder.length > 0 && holder.length <= 128)
      assert.doesNotMatch(holder, /[\p{Cc}\p{Cf}\p{Cs}]/u)
    }),
    { numRuns: 1000 },
  )
})

test('a good JWT with one letter changed', async (t) => {
  const world = new JwtWorld([new FakeIssuer(ISSUER, [KEY])])
  t.after(() => world.close())
  // A changed name of a key would make every other run wait for keys to be read.
  world.now += 5000
  await world.start()
  const good = await world.signed(KEY, { exp: 1e11 })
  const letters = [...'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_']
  // The last letters of a part hold bits that say nothing.
  const fixed = new Set([...good.matchAll(/.(?=\.|$)/g)].map(({ index }) => index))
  await fc.assert(
    fc.asyncProperty(
      fc.nat({ max: good.length - 1 }),
      fc.constantFrom(...letters),
      async (at, letter) => {
        if (fixed.has(at) || good[at] === '.' || good[at] === letter) return
        const said = world.ask(good.slice(0, at) + letter + good.slice(at + 1))
        if (!(said instanceof Unverified)) {
          assert.equal(typeof said, 'string')
          return
        }
        world.now += 5000
        assert.equal(typeof (await said.check()), 'string')
      },
    ),
    { numRuns: 300 },
  )
  assert.equal(world.count('verified'), 0)
  assert.ok(world.count('signature') > 50)
  assert.equal(typeof (await world.judge(good)), 'object', 'it was good all the time')
})
