/**
 * The wall clock steps, as on a machine that finds its time server late: tokens are judged by the
 * new time, and nothing else notices.
 */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { assertAccepted, assertRefusedWith } from '../support/answers.ts'
import { WAYS } from '../support/client.ts'
import { sumOf } from '../support/exposition.ts'
import { startGateway, TOKEN } from '../support/gateway.ts'

const HOUR_MS = 3_600_000
const YEAR_MS = 365 * 24 * HOUR_MS
const UNKNOWN = 'no-such-token-0123456789'

/** Steps the clock of this process, gateway included; it is put right when the test ends. */
function stepWallClock(t: TestContext, byMs: number): void {
  const now = Date.now.bind(Date)
  t.mock.method(Date, 'now', () => now() + byMs)
}

for (const [direction, byMs] of [
  ['forwards', YEAR_MS],
  ['backwards', -YEAR_MS],
] as const) {
  for (const way of WAYS) {
    test(`${way}: a budget that is used up stays so, a year ${direction}`, async (t) => {
      const gateway = await startGateway(t, { env: { HOLD: 'off', RATE: '1/h', BURST: '2' } })
      const client = gateway.connect(way)
      assertAccepted(await client.send())
      stepWallClock(t, byMs)
      assertAccepted(await client.send())
      assertRefusedWith(await client.send(), 429, 8)
      await gateway.assertInvariant()
    })

    test(`${way}: a call that waits goes on in its time, a year ${direction}`, async (t) => {
      const gateway = await startGateway(t, { env: { HOLD: '10s', RATE: '1/s', BURST: '1' } })
      const client = gateway.connect(way)
      assertAccepted(await client.send())
      const held = client.send({ headers: way === 'gRPC' ? { 'grpc-timeout': '9S' } : {} })
      await gateway.until((page) => sumOf(page, 'tollgate_held') === 1, 'a call that waits')
      stepWallClock(t, byMs)
      assertAccepted(await held)
    })
  }

  test(`a ban holds, a year ${direction}`, async (t) => {
    const gateway = await startGateway(t, {
      env: { BAN_EXEMPT: 'none', BAN_STRIKES: '2', BAN_TIME: '1h' },
    })
    const attacker = gateway.connect('gRPC', { localAddress: '127.0.0.2' })
    assertRefusedWith(await attacker.send({ token: UNKNOWN }), 401, 16)
    assertRefusedWith(await attacker.send({ token: UNKNOWN }), 401, 16)
    stepWallClock(t, byMs)
    assertRefusedWith(await attacker.send({ token: UNKNOWN }), 403, 7)
    const again = gateway.connect('gRPC', { localAddress: '127.0.0.2' })
    await assert.rejects(again.send())
    assertAccepted(await gateway.connect('gRPC').send())
    await gateway.assertInvariant()
  })
}

test('strikes within the window count, whatever the wall clock says in between', async (t) => {
  const gateway = await startGateway(t, {
    env: { BAN_EXEMPT: 'none', BAN_STRIKES: '2', BAN_WINDOW: '60s' },
  })
  const attacker = gateway.connect('gRPC', { localAddress: '127.0.0.2' })
  assertRefusedWith(await attacker.send({ token: UNKNOWN }), 401, 16)
  stepWallClock(t, YEAR_MS)
  assertRefusedWith(await attacker.send({ token: UNKNOWN }), 401, 16)
  assertRefusedWith(await attacker.send({ token: UNKNOWN }), 403, 7)
})

test('tokens are judged by the wall clock', async (t) => {
  const expires = new Date(Date.now() + HOUR_MS).toISOString()
  const gateway = await startGateway(t, {
    tokens: [
      { token: TOKEN },
      { token: 'short-lived-token-0123456789', expiresAt: expires },
      { token: 'later-on-token-0123456789', notBefore: expires },
    ],
  })
  const client = gateway.connect('gRPC')
  assertAccepted(await client.send({ token: 'short-lived-token-0123456789' }))
  assertRefusedWith(await client.send({ token: 'later-on-token-0123456789' }), 401, 16)
  stepWallClock(t, 2 * HOUR_MS)
  assertRefusedWith(await client.send({ token: 'short-lived-token-0123456789' }), 401, 16)
  assertAccepted(await client.send({ token: 'later-on-token-0123456789' }))
  assertAccepted(await client.send())
})
