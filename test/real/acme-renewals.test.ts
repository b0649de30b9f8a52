/** Ten renewals by ACME under load: nothing is lost, no connection is dropped, new ones get the new certificate. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CHALLENGES, cert, clientOf, servedBy, startAcmeGateway } from '../support/acme-gateway.ts'
import { startAcmeLoad } from '../support/acme-load.ts'
import { assertAccepted } from '../support/answers.ts'
import { WAYS } from '../support/client.ts'
import { eventually } from '../support/eventually.ts'
import { sumOf } from '../support/exposition.ts'
import { startPebble } from '../support/pebble.ts'
import { hasTools } from '../support/tools.ts'

const TIMES = 10

for (const challenge of CHALLENGES) {
  test(`${TIMES} renewals by ${challenge}`, async (t) => {
    if (!hasTools(t, 'pebble', 'pebble-challtestsrv')) return
    const pebble = await startPebble(t)
    const budget = { TOLLGATE_RATE: 'off', TOLLGATE_BURST: '' }
    await using gateway = await startAcmeGateway(pebble, challenge, budget)
    await gateway.logged('certificate_issued', 1)
    const ca = await pebble.root()
    const live = WAYS.map((way) => clientOf(gateway, way, ca))
    const sendOnEach = async () => {
      for (const client of live) assertAccepted(await client.send())
    }
    await sendOnEach()
    const sockets = live.map(({ socket }) => socket)
    const load = startAcmeLoad(gateway, ca)
    const seen = new Set([await servedBy(gateway.grpc)])
    for (let round = 0; round < TIMES; round += 1) {
      const before = load.acknowledged
      const { code, stderr } = await cert(gateway, 'renew', '--force')
      assert.equal(code, 0, stderr)
      seen.add(await servedBy(gateway.grpc))
      assert.equal(seen.size, round + 2, 'what a new connection gets once the command has answered')
      await sendOnEach()
      await eventually(() => load.acknowledged > before, 'exports that go on')
    }
    assert.deepEqual(await load.stop(), [])
    assert.deepEqual(
      live.map(({ socket }, at) => socket === sockets[at]),
      live.map(() => true),
      'connections that were open before the first renewal',
    )
    const sent = load.acknowledged + live.length * (1 + TIMES)
    for (const client of live) client.close()
    const page = await gateway.metrics()
    assert.equal(sumOf(page, 'tollgate_outcomes_total', { outcome: 'accepted' }), sent)
    assert.equal(sumOf(page, 'tollgate_outcomes_total'), sent)
    assert.equal(sumOf(page, 'tollgate_connections_refused_total'), 0)
    await gateway.assertInvariant()
    t.diagnostic(`${load.acknowledged} exports`)
  })
}
