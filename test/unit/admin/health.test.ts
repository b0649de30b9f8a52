import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type HealthSources, readiness } from '../../../src/admin/health.ts'

const WALL_MS = Date.UTC(2026, 10, 22)

function well(changes: Partial<HealthSources> = {}): HealthSources {
  return {
    isCollectorUp: () => true,
    tokensLoaded: () => 2,
    certificateNotAfterMs: () => WALL_MS + 1,
    isDraining: () => false,
    ...changes,
  }
}

test('all well is ready', () => {
  const { isReady, conditions } = readiness(well(), WALL_MS)
  assert.equal(isReady, true)
  assert.deepEqual(
    conditions.map(({ words }) => words),
    [
      'the collector can be reached',
      '2 tokens are loaded',
      'the certificate is valid until 2026-11-22T00:00:00.001Z',
      'the gateway is taking requests',
    ],
  )
})

for (const [name, changes, words] of [
  ['collector', { isCollectorUp: () => false }, 'the collector cannot be reached'],
  ['tokens', { tokensLoaded: () => 0 }, 'no token is loaded, so nobody can be let in'],
  [
    'certificate',
    { certificateNotAfterMs: () => WALL_MS },
    'the certificate expired on 2026-11-22T00:00:00.000Z',
  ],
  ['not_draining', { isDraining: () => true }, 'the gateway is stopping'],
] as const)
  test(`not ready: ${words}`, () => {
    const { isReady, conditions } = readiness(well(changes), WALL_MS)
    assert.equal(isReady, false)
    const unmet = conditions.filter(({ isMet }) => !isMet)
    assert.deepEqual(unmet, [{ name, isMet: false, words }])
  })

test('with TLS off no certificate is missed', () => {
  const { isReady } = readiness(well({ certificateNotAfterMs: () => undefined }), WALL_MS)
  assert.equal(isReady, true)
})

test('a place of tokens that is away is told, and no reason to take no requests', () => {
  const tokenSources = () => [
    { place: 'file:/tokens.json', problem: undefined },
    { place: 'vault:secret/otel', problem: 'vault:secret/otel: it is sealed; unseal it' },
    { place: 'aws:otel', problem: '2 problems\n  one\n  two' },
  ]
  const trouble = 'vault:secret/otel: it is sealed; unseal it; aws:otel: 2 problems'
  const { isReady, conditions } = readiness(well({ tokenSources }), WALL_MS)
  assert.equal(isReady, true)
  const { words } = conditions.find(({ name }) => name === 'tokens') ?? {}
  assert.equal(words, `2 tokens are loaded; ${trouble}`)
  const without = readiness(well({ tokenSources, tokensLoaded: () => 0 }), WALL_MS)
  assert.equal(without.isReady, false)
  assert.equal(
    without.conditions.find(({ name }) => name === 'tokens')?.words,
    `no token is loaded, so nobody can be let in; ${trouble}`,
  )
})

test('an issuer of JWTs lets somebody in without any token of the set', () => {
  const sources = { tokensLoaded: () => 0, issuersKnown: () => 1 }
  const { isReady, conditions } = readiness(well(sources), WALL_MS)
  assert.equal(isReady, true)
  const { words } = conditions.find(({ name }) => name === 'tokens') ?? {}
  assert.equal(words, '0 tokens are loaded; one issuer of JWTs is known')
})
