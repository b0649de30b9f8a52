/** The collector is not there, or says no: nobody is told that it said yes, and nothing is sent twice. */
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'
import { assertAccepted, assertComeBack } from '../support/answers.ts'
import { Client, WAYS } from '../support/client.ts'
import { startCollector } from '../support/collector.ts'
import { eventually } from '../support/eventually.ts'
import { startGateway } from '../support/gateway.ts'
import { freePorts } from '../support/otelcol.ts'
import { spawnGateway, TOKEN } from '../support/spawn-gateway.ts'

test('connection refused from the start: calls wait, are asked back, and pass when it comes', async (t) => {
  const [grpcPort = 0, httpPort = 0] = await freePorts(2)
  await using gateway = await spawnGateway({
    collector: { grpc: `127.0.0.1:${grpcPort}`, http: `127.0.0.1:${httpPort}` },
    env: { TOLLGATE_HOLD: '300ms' },
  })
  const caPem = await readFile(gateway.certificate, 'utf8')
  const clients = WAYS.map((way) => {
    const address = way === 'gRPC' ? gateway.grpc : gateway.http
    return new Client({ way, address, caPem, token: TOKEN })
  })
  t.after(() => {
    for (const client of clients) client.close()
  })
  for (const client of clients) assertComeBack(await client.send())
  const down = await eventually(
    () => gateway.log().find(({ event }) => event === 'collector_down'),
    'the collector said to be down',
  )
  assert.match(String(down.msg), /connection refused/)
  assert.equal((await fetch(`http://${gateway.admin}/readyz`)).status, 503)

  const collector = await startCollector({ grpcPort, httpPort })
  t.after(() => collector.die())
  await eventually(
    async () => (await fetch(`http://${gateway.admin}/readyz`)).status === 200,
    'it to be ready',
  )
  for (const client of clients) assertAccepted(await client.send())
  assert.deepEqual(await gateway.outcomes(), { collector_unavailable: 3, accepted: 3 })
  await gateway.assertInvariant()
})

for (const way of WAYS) {
  test(`${way}: each gRPC status is passed on once, as a refusal`, async (t) => {
    const gateway = await startGateway(t, { speaks: 'grpc' })
    const client = gateway.connect(way)
    const codes = Array.from({ length: 16 }, (_, index) => index + 1)
    for (const status of codes) {
      gateway.collector.behave({ kind: 'refuse', status, message: `no (${status})` })
      const answer = await client.send()
      if (way === 'gRPC') {
        assert.equal(answer.grpcStatus, status)
        assert.equal(answer.grpcMessage, `no (${status})`)
      } else assert.ok(answer.httpStatus >= 400, `HTTP ${answer.httpStatus} for ${status}`)
    }
    assert.equal(gateway.collector.reached.length, codes.length)
    assert.deepEqual(await gateway.outcomes(), { collector_refused: codes.length })
    await gateway.assertInvariant()
  })

  test(`${way}: each HTTP status is passed on once, as a refusal`, async (t) => {
    const gateway = await startGateway(t, { speaks: 'http' })
    const client = gateway.connect(way)
    const statuses = [400, 401, 403, 404, 405, 408, 413, 415, 429, 500, 501, 502, 503, 504]
    for (const httpStatus of statuses) {
      gateway.collector.behave({ kind: 'refuse', httpStatus })
      const answer = await client.send()
      if (way === 'gRPC') assert.notEqual(answer.grpcStatus, 0)
      else assert.equal(answer.httpStatus, httpStatus)
    }
    assert.equal(gateway.collector.reached.length, statuses.length)
    assert.deepEqual(await gateway.outcomes(), { collector_refused: statuses.length })
    await gateway.assertInvariant()
  })
}
