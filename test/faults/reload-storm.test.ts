/** SIGHUP fifty times while calls go through: none of them notices. */
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { assertAccepted } from '../support/answers.ts'
import { Client, WAYS } from '../support/client.ts'
import { startCollector } from '../support/collector.ts'
import { eventually } from '../support/eventually.ts'
import { spawnGateway, TOKEN } from '../support/spawn-gateway.ts'

const RELOADS = 50

test('reload after reload, with calls on every way', async (t) => {
  const collector = await startCollector()
  t.after(() => collector.die())
  await using gateway = await spawnGateway({
    collector: { grpc: `127.0.0.1:${collector.grpcPort}` },
    env: { TOLLGATE_AUDIT_LOG: 'audit.log', TOLLGATE_RATE: 'off' },
  })
  const caPem = await readFile(gateway.certificate, 'utf8')
  const clients = WAYS.map((way) => {
    const address = way === 'gRPC' ? gateway.grpc : gateway.http
    return new Client({ way, address, caPem, token: TOKEN })
  })
  t.after(() => {
    for (const client of clients) client.close()
  })
  let isOver = false
  let calls = 0
  const load = Promise.all(
    clients.map(async (client) => {
      while (!isOver) {
        assertAccepted(await client.send({ message: Buffer.alloc(1000) }))
        calls += 1
      }
    }),
  )
  load.catch(() => {})
  const reloads = () => gateway.log().filter(({ event }) => event === 'reload').length
  for (let count = 0; count < RELOADS; count += 1) {
    const before = calls
    process.kill(gateway.pid, 'SIGHUP')
    await eventually(() => calls > before, 'a call after the signal')
  }
  // Signals that come while one is pending are one signal.
  await eventually(() => reloads() >= RELOADS / 2, 'the reloads')
  isOver = true
  await load
  assert.deepEqual(await gateway.outcomes(), { accepted: calls })
  assert.equal(collector.reached.length, calls)
  assert.ok(!gateway.log().some(({ level }) => level === 'error'), gateway.output())
  await gateway.assertInvariant()
  await readFile(join(gateway.folder, 'audit.log'))
})
