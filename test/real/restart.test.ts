/**
 * Four SDKs, gRPC and HTTP, while the gateway behind them is replaced and while it is killed. The
 * ports stay open: its parent holds them. Each test prints a table of what arrived.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Gateway } from '../support/spawn-gateway.ts'
import { allOnce, COUNTED } from './count.ts'
import { play, type Result } from './scene.ts'
import type { Load } from './senders/run.ts'

const LONG: Load = { items: 160, seconds: 8 }
const WITH_PARENT = { TOLLGATE_PARENT: 'on' }

/** The process of the gateway that was started last. */
function currentOf(gateway: Gateway): number {
  return Number(gateway.log().findLast(({ event }) => event === 'start')?.pid)
}

function lost({ tallies }: Result): number {
  return COUNTED.reduce((sum, signal) => sum + tallies[signal].sent - tallies[signal].arrived, 0)
}

/**
 * They do not try again what broke off. Java's HTTP client does so or not by how the connection ends:
 * a call that is cut off by its end and not by a reset is "CANCEL" to it, which nobody repeats.
 */
const HASTY = new Set(['js grpc', 'go http/protobuf', 'java grpc', 'java http/protobuf'])

/** What the SDKs say of a port where nobody listens, each in its words. */
const REFUSED = /ECONNREFUSED|[Cc]onnection refused|Failed to connect/

test('replaced three times while they send: nothing is lost, nobody is refused or says a word', async (t) => {
  const played = await play(t, {
    env: WITH_PARENT,
    load: LONG,
    meanwhile: async (_, gateway) => {
      for (const times of [1, 2, 3]) {
        await sleep(1000)
        process.kill(gateway.pid, 'SIGUSR2')
        await gateway.logged('listening', times + 1)
      }
    },
  })
  if (played === undefined) return
  for (const { title, tallies, logged } of played.results) {
    assert.deepEqual(tallies, allOnce(LONG.items), `${title}: ${logged.join('\n')}`)
    assert.doesNotMatch(logged.join('\n'), REFUSED, title)
  }
})

test('killed while they send: only what was under way at that moment can be lost', async (t) => {
  const played = await play(t, {
    env: WITH_PARENT,
    load: LONG,
    meanwhile: async (_, gateway) => {
      await sleep(2000)
      process.kill(currentOf(gateway), 'SIGKILL')
      await gateway.logged('listening', 2)
    },
  })
  if (played === undefined) return
  for (const result of played.results) {
    const { title, logged } = result
    assert.doesNotMatch(logged.join('\n'), REFUSED, title)
    if (!HASTY.has(title)) assert.equal(lost(result), 0, `${title}: ${logged.join('\n')}`)
  }
})

test('killed while a call of each of them waits: those that try again lose nothing', async (t) => {
  const played = await play(t, {
    env: WITH_PARENT,
    load: LONG,
    meanwhile: async (backend, gateway) => {
      await sleep(1000)
      await backend.stop()
      await sleep(1500)
      process.kill(currentOf(gateway), 'SIGKILL')
      await gateway.logged('listening', 2)
      await backend.start()
    },
  })
  if (played === undefined) return
  for (const result of played.results) {
    const { title, tallies, logged } = result
    assert.doesNotMatch(logged.join('\n'), REFUSED, title)
    if (!HASTY.has(title)) assert.equal(lost(result), 0, `${title}: ${logged.join('\n')}`)
    else {
      // The call that broke off, and the application is told. What came after it has arrived.
      if (lost(result) > 0) assert.ok(logged.length > 0, `${title} lost in silence`)
      for (const signal of COUNTED) assert.ok(tallies[signal].arrived > LONG.items / 2, title)
    }
  }
})
