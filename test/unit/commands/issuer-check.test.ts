import assert from 'node:assert/strict'
import { test } from 'node:test'
import { lookAtIssuers } from '../../../src/commands/issuer-check.ts'
import { startOidcServer } from '../../support/oidc-server.ts'
import { signingKey } from '../../support/signing.ts'

test('each issuer is asked for its keys', async (t) => {
  const provider = await startOidcServer([await signingKey('a'), await signingKey('b')])
  t.after(() => provider[Symbol.asyncDispose]())
  const { issuer } = provider
  const config = { jwtIssuers: [issuer, `${issuer}/`], jwtJwks: [] }
  assert.deepEqual(await lookAtIssuers(config), [
    { isGood: true, words: `issuer ${issuer}: 2 keys` },
    {
      isGood: false,
      words: `issuer ${issuer}/: ${issuer}/.well-known/openid-configuration is of the issuer "${issuer}"; expected "${issuer}/"`,
    },
  ])
  const given = [{ issuer: `${issuer}/`, url: `${issuer}/jwks` }]
  assert.deepEqual(await lookAtIssuers({ jwtIssuers: [`${issuer}/`], jwtJwks: given }), [
    { isGood: true, words: `issuer ${issuer}/: 2 keys` },
  ])
  await provider.goAway()
  const [away] = await lookAtIssuers({ jwtIssuers: [issuer], jwtJwks: [] })
  assert.equal(away?.isGood, false)
  assert.match(away.words, /ECONNREFUSED/)
})
