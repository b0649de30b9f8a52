/** What is admitted reaches the collector unchanged, and what it answers reaches the client unchanged. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { WAYS } from '../support/client.ts'
import { startGateway } from '../support/gateway.ts'

for (const way of WAYS) {
  test(`${way}: a small message`, async (t) => {
    const gateway = await startGateway(t)
    const client = gateway.connect(way)
    const message = randomBytes(50)
    const answer = await client.send({ message })
    assert.equal(answer.httpStatus, 200)
    if (way === 'gRPC') assert.equal(answer.grpcStatus, 0)
    assert.equal(gateway.collector.reached.length, 1)
    assert.deepEqual(await gateway.outcomes(), { accepted: 1 })
  })
}
