/** Real processes that hang, that are slow, and that are stopped. */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { startGatewayProcess } from '../../../src/parent/gateway-process.ts'
import { Heartbeat } from '../../../src/parent/heartbeat.ts'
import { eventually } from '../../support/eventually.ts'

/** Answers, and does what the test says besides. */
const program = (work: string) => `
  process.on('message', ({ kind }) => kind === 'ping' && process.send({ kind: 'alive' }))
  const block = (ms) => { for (const end = Date.now() + ms; Date.now() < end; ) {} }
  ${work}
`

const EVERY_MS = 100
const PATIENCE_TICKS = 20

function start(t: TestContext, work: string) {
  const seen = { answers: 0, silentMs: 0 }
  const ended = Promise.withResolvers<void>()
  const child = startGatewayProcess(
    { node: process.execPath, args: ['-e', program(work)], env: process.env },
    [],
    {
      onReport({ kind }) {
        if (kind !== 'alive') return
        seen.answers += 1
        heartbeat.answered()
      },
      onEnd: () => ended.resolve(),
    },
  )
  const heartbeat = new Heartbeat({
    gateway: child,
    everyMs: EVERY_MS,
    patienceTicks: PATIENCE_TICKS,
    onSilent: (silentMs) => (seen.silentMs += silentMs),
  })
  // Nothing else keeps this process up: the heartbeat alone must not.
  const awake = setInterval(() => {}, 1000)
  t.after(async () => {
    clearInterval(awake)
    heartbeat.stop()
    child.kill()
    await ended.promise
  })
  return { child, seen }
}

test('one whose event loop hangs is silent, and that is told once', async (t) => {
  const { seen } = start(t, 'setTimeout(() => block(1e9), 500)')
  await eventually(() => seen.answers > 0, 'an answer')
  await eventually(() => seen.silentMs > 0, 'silence')
  await new Promise((resolve) => setTimeout(resolve, 5 * EVERY_MS))
  assert.equal(seen.silentMs, EVERY_MS * PATIENCE_TICKS)
})

test('one that is busy and turns its loop now and then is alive', async (t) => {
  const { seen } = start(t, 'const on = () => { block(300); setImmediate(on) }; on()')
  await eventually(() => seen.answers >= 8, 'answers')
  assert.equal(seen.silentMs, 0)
})

test('one that somebody has stopped is left alone, and answers when it goes on', async (t) => {
  const { child, seen } = start(t, '')
  await eventually(() => seen.answers > 0, 'an answer')
  process.kill(child.pid, 'SIGSTOP')
  await eventually(() => child.isStopped(), 'the stop')
  const before = seen.answers
  await new Promise((resolve) => setTimeout(resolve, EVERY_MS * (PATIENCE_TICKS + 10)))
  assert.equal(seen.silentMs, 0)
  process.kill(child.pid, 'SIGCONT')
  await eventually(() => seen.answers > before + 1, 'more answers')
  assert.ok(!child.isStopped())
  assert.equal(seen.silentMs, 0)
})
