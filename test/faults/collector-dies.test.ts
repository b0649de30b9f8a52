/** The collector's process dies: what it may have seen is not sent twice, what it has not seen waits. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { assertAccepted, assertComeBack } from '../support/answers.ts'
import { frame, WAYS } from '../support/client.ts'
import { startCollector } from '../support/collector.ts'
import { startGateway } from '../support/gateway.ts'

const LARGE_BYTES = 1024 * 1024

for (const way of WAYS) {
  for (const speaks of ['grpc', 'http'] as const) {
    test(`${way} to ${speaks}: it dies with the message read and no answer given`, async (t) => {
      const gateway = await startGateway(t, { speaks })
      const client = gateway.connect(way)
      gateway.collector.script({ kind: 'die' })
      assertComeBack(await client.send({ message: Buffer.from('once') }))
      assert.equal(gateway.collector.reached.length, 1, 'it may have taken it')
      assertAccepted(await client.send())
      assert.deepEqual(await gateway.outcomes(), { collector_unavailable: 1, accepted: 1 })
    })

    test(`${way} to ${speaks}: it dies in the middle of a body`, async (t) => {
      const gateway = await startGateway(t, { speaks })
      const { grpcPort, httpPort } = gateway.collector
      const client = gateway.connect(way)
      const call = client.open({}, LARGE_BYTES)
      const bytes = Buffer.alloc(LARGE_BYTES)
      const sent = way === 'gRPC' ? frame(bytes) : bytes
      call.write(sent.subarray(0, LARGE_BYTES / 2)).catch(() => {})
      await gateway.collector.until(() => (gateway.collector.reached[0]?.bytes().length ?? 0) > 0)
      await gateway.collector.die()
      assertComeBack(await call.answer)
      call.cancel()
      const next = client.send({ message: Buffer.from('next') })
      const successor = await startCollector({ grpcPort, httpPort })
      t.after(() => successor.die())
      assertAccepted(await next)
      assert.equal(successor.reached.length, 1)
      await gateway.assertInvariant()
    })
  }

  test(`${way}: fifty calls under way when it dies each end once`, async (t) => {
    const gateway = await startGateway(t, { speaks: 'grpc' })
    const { collector } = gateway
    collector.behave({ kind: 'stall' })
    const clients = Array.from({ length: way === 'HTTP/1.1' ? 50 : 1 }, () => gateway.connect(way))
    const calls = Array.from({ length: 50 }, (_, index) =>
      (clients[index % clients.length] ?? gateway.connect(way)).send(),
    )
    await collector.hasReached(50)
    for (const session of collector.sessions) session.destroy()
    for (const answer of await Promise.all(calls)) assertComeBack(answer)
    assert.equal(collector.reached.length, 50)
    assert.deepEqual(await gateway.outcomes(), { collector_unavailable: 50 })
  })

  test(`${way}: calls that find it dead wait for its return`, async (t) => {
    const gateway = await startGateway(t, { speaks: 'grpc' })
    const { grpcPort, httpPort } = gateway.collector
    await gateway.collector.die()
    await gateway.until((page) => page.get('tollgate_collector_up')?.[0]?.value === 0, 'it away')
    const calls = Array.from({ length: 5 }, () => gateway.connect(way).send())
    await gateway.until((page) => page.get('tollgate_held')?.[0]?.value === 5, 'five that wait')
    const successor = await startCollector({ grpcPort, httpPort })
    t.after(() => successor.die())
    for (const answer of await Promise.all(calls)) assertAccepted(answer)
    assert.equal(successor.reached.length, 5)
  })
}
