/** The collector says GOAWAY: what it took is answered, what it disowned is sent again once, elsewhere. */
import assert from 'node:assert/strict'
import { constants } from 'node:http2'
import { test } from 'node:test'
import { assertAccepted, assertComeBack } from '../support/answers.ts'
import { WAYS } from '../support/client.ts'
import { startGateway } from '../support/gateway.ts'

for (const way of WAYS) {
  test(`${way}: a call in flight ends, the next takes a new connection`, async (t) => {
    const gateway = await startGateway(t, { speaks: 'grpc' })
    const client = gateway.connect(way)
    gateway.collector.script({ kind: 'goaway', takesThis: true })
    assertAccepted(await client.send())
    assertAccepted(await client.send())
    assert.equal(gateway.collector.connections, 2)
    assert.equal(gateway.collector.reached.length, 2)
    await gateway.assertInvariant()
  })

  test(`${way}: a call it disowns is sent again, once`, async (t) => {
    const gateway = await startGateway(t, { speaks: 'grpc' })
    const client = gateway.connect(way)
    assertAccepted(await client.send())
    gateway.collector.script({ kind: 'goaway', takesThis: false })
    assertAccepted(await client.send({ message: Buffer.from('again') }))
    const { reached, connections } = gateway.collector
    assert.equal(connections, 2)
    assert.equal(reached.length, 3, 'taken, disowned, taken')
    assert.equal(reached.filter(({ isComplete }) => isComplete).length, 2)
    assert.deepEqual(await gateway.outcomes(), { accepted: 2 })
    await gateway.assertInvariant()
  })
}

test('GOAWAY in the middle of twenty calls: each is taken exactly once', async (t) => {
  const gateway = await startGateway(t, { speaks: 'grpc' })
  const { collector } = gateway
  const client = gateway.connect('gRPC')
  assertAccepted(await client.send({ message: Buffer.from('first') }))
  for (let index = 0; index < 10; index += 1) collector.script({ kind: 'ok', delayMs: 100 })
  collector.script({ kind: 'goaway', takesThis: false })
  // These have reached it as well, and it leaves them alone as it said.
  for (let index = 11; index < 20; index += 1) collector.script({ kind: 'slow' })
  const names = Array.from({ length: 20 }, (_, index) => `call ${index}`)
  const answers = await Promise.all(
    names.map((name) => client.send({ message: Buffer.from(name) })),
  )
  for (const answer of answers) assertAccepted(answer)
  const taken = collector.reached
    .filter(({ isComplete }) => isComplete)
    .map(({ bytes }) => String(bytes().subarray(5)))
  assert.deepEqual(taken.sort(), ['first', ...names].sort())
  assert.deepEqual(await gateway.outcomes(), { accepted: 21 })
  await gateway.assertInvariant()
})

test('GOAWAY with an error that takes nothing back: the call is not sent again', async (t) => {
  const gateway = await startGateway(t, { speaks: 'grpc' })
  const { collector } = gateway
  const client = gateway.connect('gRPC')
  collector.behave({ kind: 'stall' })
  const call = client.send()
  await collector.hasReached(1)
  collector.behave({ kind: 'ok' })
  for (const session of collector.sessions) {
    session.goaway(constants.NGHTTP2_INTERNAL_ERROR, 1)
    session.destroy()
  }
  assertComeBack(await call)
  assert.equal(collector.reached.length, 1)
  assertAccepted(await client.send())
})
