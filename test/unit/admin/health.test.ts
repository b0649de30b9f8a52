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
