/** An error of our own: that one call is asked to come back, the log says so, and everybody else goes on. */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { Bans } from '../../src/stores/bans.ts'
import { Budgets } from '../../src/stores/budgets.ts'
import { TokenStore } from '../../src/stores/tokens.ts'
import { assertAccepted, assertComeBack } from '../support/answers.ts'
import { WAYS } from '../support/client.ts'
import { startGateway } from '../support/gateway.ts'

/** What is thrown in, and where: the methods that every request goes through. */
const PLACES = {
  'Bans.isBanned': [Bans.prototype, 'isBanned'],
  'Bans.vouch': [Bans.prototype, 'vouch'],
  'Budgets.waitMs': [Budgets.prototype, 'waitMs'],
  'Budgets.take': [Budgets.prototype, 'take'],
  'TokenStore.verify': [TokenStore.prototype, 'verify'],
  'TokenStore.used': [TokenStore.prototype, 'used'],
} as const

for (const way of WAYS) {
  for (const [place, [prototype, method]] of Object.entries(PLACES)) {
    test(`${way}: ${place} throws`, async (t) => {
      const gateway = await startGateway(t, { allowsInternal: true })
      const client = gateway.connect(way)
      assertAccepted(await client.send())
      const thrower = breakMethod(t, prototype, method)
      assertComeBack(await client.send())
      thrower.mock.restore()
      assertAccepted(await client.send())
      assert.deepEqual(await gateway.outcomes(), { accepted: 2, internal: 1 })
      const [line, ...more] = (await gateway.log()).filter(({ event }) => event === 'internal')
      assert.match(JSON.stringify(line), /a bug, made by a test/)
      assert.equal(line?.level, 'error')
      assert.equal(more.length, 0)
      await gateway.assertInvariant()
    })
  }
}

for (const [place, [prototype, method]] of Object.entries({
  'Bans.isShut, asked of each connection,': [Bans.prototype, 'isShut'],
  'Budgets.peek, asked for the headers of HTTP/1.1,': [Budgets.prototype, 'peek'],
} as const)) {
  test(`${place} throws, and the gateway lives`, async (t) => {
    const gateway = await startGateway(t, { allowsInternal: true })
    const thrower = breakMethod(t, prototype, method)
    for (const way of WAYS)
      await gateway
        .connect(way)
        .send()
        .catch(() => {})
    assert.ok(thrower.mock.callCount() > 0)
    thrower.mock.restore()
    for (const way of WAYS) assertAccepted(await gateway.connect(way).send())
    await gateway.assertInvariant()
  })
}

function breakMethod(t: TestContext, prototype: object, method: string) {
  const methods = prototype as Record<string, () => never>
  return t.mock.method(methods, method, () => {
    throw new Error('a bug, made by a test')
  })
}
