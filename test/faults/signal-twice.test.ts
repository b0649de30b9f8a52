/** A second SIGTERM or SIGINT stops at once what the first was waiting for. */
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'
import { Client } from '../support/client.ts'
import { startCollector } from '../support/collector.ts'
import { eventually } from '../support/eventually.ts'
import { spawnGateway, TOKEN } from '../support/spawn-gateway.ts'

for (const [first, second, parent] of [
  ['SIGTERM', 'SIGTERM', 'off'],
  ['SIGINT', 'SIGINT', 'off'],
  ['SIGTERM', 'SIGINT', 'off'],
  ['SIGTERM', 'SIGTERM', 'on'],
  ['SIGINT', 'SIGINT', 'on'],
] as const) {
  test(`${first}, then ${second}, TOLLGATE_PARENT=${parent}`, async (t) => {
    const collector = await startCollector()
    t.after(() => collector.die())
    await using gateway = await spawnGateway({
      collector: { grpc: `127.0.0.1:${collector.grpcPort}` },
      env: { TOLLGATE_DRAIN_TIME: '1h', TOLLGATE_PARENT: parent },
    })
    const caPem = await readFile(gateway.certificate, 'utf8')
    const client = new Client({ way: 'gRPC', address: gateway.grpc, caPem, token: TOKEN })
    t.after(() => client.close())
    collector.behave({ kind: 'stall' })
    const call = client.send()
    call.catch(() => {})
    await collector.hasReached(1)
    process.kill(gateway.pid, first)
    await eventually(
      () => gateway.log().some(({ event }) => event === 'draining'),
      'the drain under way',
    )
    assert.equal((await fetch(`http://${gateway.admin}/readyz`)).status, 503)
    process.kill(gateway.pid, second)
    const { code, signal } = await gateway.exit()
    assert.deepEqual({ code, signal }, { code: 1, signal: null }, gateway.output())
    assert.match(gateway.output(), /again: stopped at once/)
    await assert.rejects(call, 'nobody was told that it was taken')
  })
}
