import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { claimsFlaw, timeFlaw, tokenOf, validityOf } from '../../../src/oidc/claims.ts'
import { jwtFrom, readJwt } from '../../../src/oidc/jwt.ts'
import { forge } from '../../support/signing.ts'
import { ISSUER, NO_LIMITS, rulesOf } from './world.ts'

const NOW = 1_800_000_000_000
const EXP = NOW / 1000 + 300
const GOOD = { aud: 'tollgate', sub: 'shop', exp: EXP }

describe('a JWT is recognized by its shape', () => {
  it('three parts in base64url behind Bearer', () => {
    const text = forge({ alg: 'ES256' }, {}, 'c2ln')
    assert.equal(jwtFrom(`Bearer ${text}`), text)
    assert.equal(jwtFrom(`bearer   ${text}\n`), text)
  })

  const none = {
    'another scheme': `Basic ${forge({ alg: 'ES256' }, {}, 'c2ln')}`,
    'a token of ours': `Bearer tg_abcdefgh_${'x'.repeat(49)}`,
    'without its signature': `Bearer ${forge({ alg: 'ES256' }, {}, '')}`,
    'five parts: encrypted': 'Bearer eyJhbGci.e30.e30.e30.e30',
    'two parts': 'Bearer eyJhbGci.e30',
    'a header that is no object': `Bearer ${forge('[1]', {}, 'c2ln')}`,
    'padding and other letters': 'Bearer eyJhbGci.e30=.c2ln',
  }
  for (const [what, header] of Object.entries(none))
    it(`not: ${what}`, () => assert.equal(jwtFrom(header), undefined))
})

describe('a JWT that cannot be an access token', () => {
  const header = { alg: 'ES256', kid: 'key-1' }
  const bad: Readonly<Record<string, string>> = {
    'a header that is not JSON': forge('{"alg"', {}, 'c2ln'),
    'claims that are not JSON': forge(header, '{"sub":', 'c2ln'),
    'claims in a list': forge(header, [GOOD], 'c2ln'),
    'no algorithm': forge({ kid: 'key-1' }, GOOD, 'c2ln'),
    'an algorithm that is no text': forge({ alg: ['ES256'] }, GOOD, 'c2ln'),
    'a kid that is no text': forge({ alg: 'ES256', kid: { $ne: '' } }, GOOD, 'c2ln'),
    'a kid of 257 letters': forge({ alg: 'ES256', kid: 'k'.repeat(257) }, GOOD, 'c2ln'),
    'a critical extension': forge({ ...header, crit: ['b64'], b64: false }, GOOD, 'c2ln'),
    'a logout token': forge({ ...header, typ: 'logout+jwt' }, GOOD, 'c2ln'),
    'a DPoP proof': forge({ ...header, typ: 'dpop+jwt' }, GOOD, 'c2ln'),
    'bound to a key of its sender': forge(header, { ...GOOD, cnf: { jkt: 'x' } }, 'c2ln'),
    'nested without end': forge(header, '['.repeat(6000), 'c2ln'),
  }
  for (const [what, text] of Object.entries(bad))
    it(what, () => assert.equal(readJwt(text), 'malformed'))

  it('all types of access tokens are taken', () => {
    for (const typ of [undefined, 'JWT', 'jwt', 'at+jwt', 'AT+JWT', 'application/at+jwt'])
      assert.equal(typeof readJwt(forge({ ...header, typ }, GOOD, 'c2ln')), 'object', typ)
  })
})

describe('claims', () => {
  const flaw = (claims: Record<string, unknown>, rules = {}) =>
    claimsFlaw({ ...GOOD, ...claims }, rulesOf(rules), NOW)

  it('nothing is wrong with', () => {
    assert.equal(flaw({}), undefined)
    assert.equal(flaw({ aud: ['other', 'tollgate'] }), undefined)
    assert.equal(flaw({ aud: 'b' }, { audiences: ['a', 'b'] }), undefined)
    assert.equal(flaw({ nbf: NOW / 1000 + 30 }), undefined)
    assert.equal(flaw({ exp: NOW / 1000 - 29 }), undefined)
  })

  it('for somebody else', () => {
    for (const aud of [undefined, null, 'other', 'Tollgate', 'tollgate ', [], [['tollgate']], {}])
      assert.equal(flaw({ aud }), 'audience', JSON.stringify(aud))
  })

  it('without a holder or a time that can be read', () => {
    for (const exp of [undefined, null, String(EXP), [EXP], true])
      assert.equal(flaw({ exp }), 'claims', JSON.stringify(exp))
    assert.equal(flaw({ nbf: 'yesterday' }), 'claims')
    for (const sub of [undefined, 1, {}, '', ' ', '\u0000'.repeat(0)])
      assert.equal(flaw({ sub }), 'claims', JSON.stringify(sub))
    assert.equal(flaw({}, { holderClaim: 'client_id' }), 'claims')
    assert.equal(flaw({}, { holderClaim: 'toString' }), 'claims')
  })

  it('that are required', () => {
    const rules = { requiredClaims: [{ name: 'groups', value: 'agents' }] }
    for (const groups of ['agents', ['other', 'agents']])
      assert.equal(flaw({ groups }, rules), undefined)
    for (const groups of [undefined, 'agents2', ['other'], { agents: true }, [['agents']]])
      assert.equal(flaw({ groups }, rules), 'claims', JSON.stringify(groups))
    const verified = { requiredClaims: [{ name: 'email_verified', value: 'true' }] }
    assert.equal(flaw({ email_verified: true }, verified), undefined)
    assert.equal(flaw({ email_verified: false }, verified), 'claims')
  })

  it('past their time, or before it', () => {
    assert.equal(flaw({ exp: NOW / 1000 - 30 }), 'expired')
    assert.equal(flaw({ nbf: NOW / 1000 + 31 }), 'not_yet_valid')
    const validity = validityOf({ exp: EXP }, rulesOf({ leewayMs: 0 }))
    assert.ok(validity !== undefined)
    assert.equal(timeFlaw(validity, EXP * 1000 - 1), undefined)
    assert.equal(timeFlaw(validity, EXP * 1000), 'expired')
  })
})

describe('the token that claims make', () => {
  const token = (claims: Record<string, unknown>, rules = {}) =>
    tokenOf({ ...GOOD, ...claims }, ISSUER, rulesOf(rules), NO_LIMITS)
  const scopes = (claims: Record<string, unknown>, rules = {}) => {
    const made = token(claims, rules).scopes
    return made === undefined ? 'all' : [...made].join(' ')
  }

  it('may export what its scopes say', () => {
    assert.equal(scopes({ scope: 'openid otlp:traces otlp:metrics' }), 'traces metrics')
    assert.equal(scopes({ scp: ['otlp:logs'] }, { scopesClaim: 'scp' }), 'logs')
    assert.equal(scopes({ scope: 'otlp:everything' }), '', 'a scope that is not known is none')
    assert.equal(scopes({ scope: 'otlp:' }), '')
  })

  it('may export all without scopes, or nothing where they are required', () => {
    for (const scope of [undefined, '', 'openid email', 7, { 'otlp:traces': true }, null]) {
      assert.equal(scopes({ scope }), 'all', JSON.stringify(scope))
      assert.equal(scopes({ scope }, { requiresScopes: true }), '', JSON.stringify(scope))
    }
    assert.equal(scopes({ scope: 'otlp:logs' }, { requiresScopes: true }), 'logs')
  })

  it('has a holder that is bounded and can be seen', () => {
    assert.equal(token({ sub: 'Zoë’s 店 🛒' }).holder, 'Zoë’s 店 🛒')
    assert.equal(token({ sub: 'a\nb\u202ec\u0000\ud800' }).holder, 'a\ufffdb\ufffdc\ufffd\ufffd')
    assert.equal(token({ sub: 'x'.repeat(5000) }).holder.length, 128)
    assert.equal(token({ team: 'blue' }, { holderClaim: 'team' }).holder, 'blue')
  })

  it('has an id of issuer and subject, whatever the holder is shown as', () => {
    const ids = new Set([
      token({}).id,
      token({ team: 'blue' }, { holderClaim: 'team' }).id,
      token({ exp: EXP + 1, scope: 'otlp:logs' }).id,
    ])
    assert.equal(ids.size, 1)
    assert.notEqual(token({ sub: 'x'.repeat(200) }).id, token({ sub: 'x'.repeat(201) }).id)
    const elsewhere = tokenOf(GOOD, `${ISSUER}/`, rulesOf(), NO_LIMITS)
    assert.notEqual(elsewhere.id, token({}).id)
  })
})
