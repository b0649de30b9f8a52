import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseConfig } from '../../../src/config/config.ts'

const ENV = {
  TOLLGATE_COLLECTOR_GRPC: 'http://collector:4317',
  TOLLGATE_JWT_ISSUERS: 'https://login.example.com/, http://127.0.0.1:8080/realms/main',
  TOLLGATE_JWT_AUDIENCE: 'tollgate, https://otlp.example.com',
}

test('issuers are kept to the letter, and make no sandbox', () => {
  const config = parseConfig(ENV, [], { cwd: '/' })
  assert.deepEqual(config.jwtIssuers, [
    'https://login.example.com/',
    'http://127.0.0.1:8080/realms/main',
  ])
  assert.deepEqual(config.jwtAudience, ['tollgate', 'https://otlp.example.com'])
  assert.equal(config.isSandbox, false)
})

test('what has a default', () => {
  const config = parseConfig(ENV, [], { cwd: '/' })
  assert.deepEqual([...config.jwtAlgorithms], ['ES256', 'ES384', 'RS256', 'PS256', 'EdDSA'])
  assert.equal(config.jwtHolderClaim, 'sub')
  assert.equal(config.jwtScopesClaim, 'scope')
  assert.equal(config.jwtRequireScopes, 'off')
  assert.equal(config.jwtLeewayMs, 30_000)
  assert.deepEqual(config.jwtRequiredClaims, [])
  assert.deepEqual(config.jwtJwks, [])
})

test('pairs may hold further equals signs, and claims names with a namespace', () => {
  const config = parseConfig(
    {
      ...ENV,
      TOLLGATE_JWT_REQUIRED_CLAIMS: 'azp=agents, path=a=b',
      TOLLGATE_JWT_HOLDER_CLAIM: 'https://example.com/team',
      TOLLGATE_JWT_JWKS: 'https://login.example.com/=https://keys.example.com/all?v=2',
    },
    [],
    { cwd: '/' },
  )
  assert.deepEqual(config.jwtRequiredClaims, [
    { name: 'azp', value: 'agents' },
    { name: 'path', value: 'a=b' },
  ])
  assert.equal(config.jwtHolderClaim, 'https://example.com/team')
  assert.deepEqual(config.jwtJwks, [
    { issuer: 'https://login.example.com/', url: 'https://keys.example.com/all?v=2' },
  ])
})

test('no more than sixteen issuers', () => {
  const many = Array.from({ length: 17 }, (_, at) => `https://${at}.example.com`).join()
  const parse = () => parseConfig({ ...ENV, TOLLGATE_JWT_ISSUERS: many }, [], { cwd: '/' })
  assert.throws(parse, /expected 1 to 16 values with commas between/)
})
