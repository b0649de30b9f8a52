/** A gateway that hangs while it serves, and one that was merely stopped for a while with its parent. */
import assert from 'node:assert/strict'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, type TestContext, test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { assertAccepted } from '../support/answers.ts'
import { Client } from '../support/client.ts'
import { startCollector } from '../support/collector.ts'
import { eventually } from '../support/eventually.ts'
import { type Gateway, spawnGateway, TOKEN } from '../support/spawn-gateway.ts'

/** Longer than half a minute and two ticks. */
const LONG_MS = 45_000

/** With a parent, and a gateway that never turns its event loop again once it gets SIGWINCH. */
async function start(t: TestContext): Promise<Gateway> {
  const collector = await startCollector()
  t.after(() => collector.die())
  const gateway = await spawnGateway({
    collector: { grpc: `127.0.0.1:${collector.grpcPort}` },
    prepare: (folder) =>
      writeFile(join(folder, 'hang.mjs'), "process.on('SIGWINCH', () => { for (;;); })\n"),
    env: { TOLLGATE_PARENT: 'on', NODE_OPTIONS: '--import ./hang.mjs' },
  })
  t.after(() => gateway[Symbol.asyncDispose]())
  return gateway
}

const children = (gateway: Gateway) =>
  gateway.log().flatMap(({ event, pid }) => (event === 'start' ? [Number(pid)] : []))

async function send(t: TestContext, gateway: Gateway) {
  const caPem = await readFile(gateway.certificate, 'utf8')
  const client = new Client({ way: 'gRPC', address: gateway.grpc, caPem, token: TOKEN })
  t.after(() => client.close())
  return await client.send()
}

describe('with a parent', { concurrency: true }, () => {
  test('a gateway whose event loop hangs is killed after half a minute, and another serves', async (t) => {
    const gateway = await start(t)
    assertAccepted(await send(t, gateway))
    const [child] = children(gateway)
    assert.ok(child !== undefined)
    process.kill(child, 'SIGWINCH')
    await pause(15_000)
    assert.deepEqual(children(gateway), [child], 'it may yet come back')
    // Its connections wait in the kernel's queue meanwhile.
    const waiting = send(t, gateway)
    await pause(15_000)
    await eventually(() => children(gateway).length === 2, 'another gateway')
    assertAccepted(await waiting)
    const said = gateway.log().filter(({ event }) => event === 'gateway_ended')
    assert.deepEqual(
      said.map(({ level, child: pid }) => [level, pid]),
      [
        ['error', child],
        ['error', child],
      ],
    )
    assert.match(String(said[0]?.msg), /has not answered for 30 s and is killed/)
    assert.match(String(said[1]?.msg), /killed by SIGKILL\. Starting it again now/)
  })

  test('a machine that stands still and goes on has the gateway it had', async (t) => {
    const gateway = await start(t)
    assertAccepted(await send(t, gateway))
    const [child] = children(gateway)
    assert.ok(child !== undefined)
    const both = [gateway.pid, child]
    try {
      for (const pid of both) process.kill(pid, 'SIGSTOP')
      await pause(LONG_MS)
    } finally {
      for (const pid of both) process.kill(pid, 'SIGCONT')
    }
    assertAccepted(await send(t, gateway))
    // Two more questions and answers.
    await pause(11_000)
    assertAccepted(await send(t, gateway))
    assert.deepEqual(children(gateway), [child])
    assert.ok(!gateway.log().some(({ event }) => event === 'gateway_ended'))
  })
})
