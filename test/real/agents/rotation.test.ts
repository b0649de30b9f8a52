/** Agents whose token comes from a file cross a rotation without a restart, and lose nothing. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { allOnce, COUNTED } from '../count.ts'
import { KINDS, titleOf } from '../senders/run.ts'
import { AGENTS, type Agent, type Fate, nameOf, PATIENT_PYTHON } from './cast.ts'
import { playAgents } from './scene.ts'

/** Traces and logs have gone out with the token several times each. */
const REQUESTS = 8

function lost({ tallies }: Fate): number {
  return COUNTED.reduce((sum, signal) => sum + tallies[signal].sent - tallies[signal].arrived, 0)
}

/** What was made before the revocation arrived, and what was made after the delivery. */
function assertOneGap(arrived: ReadonlyMap<number, number>, sent: number): void {
  const missing = Array.from({ length: sent }, (_, seq) => seq).filter((seq) => !arrived.has(seq))
  const [first = 0] = missing
  assert.deepEqual(
    missing,
    missing.map((_, index) => first + index),
  )
  assert.ok(arrived.has(0) && arrived.has(sent - 1), `missing: ${missing}`)
}

test('a rotation in the right order: whoever reads the file again loses nothing', async (t) => {
  const readers = AGENTS.filter(({ token }) => token !== 'static')
  const fates = await playAgents(t, AGENTS, async (stage) => {
    await stage.untilUsed('old', AGENTS, REQUESTS)
    await stage.admit('valid', 'valid')
    await stage.deliver()
    await stage.untilUsed('new', readers, REQUESTS)
    await stage.admit('revoked', 'valid')
    await stage.untilUsed('new', readers, REQUESTS)
  })
  for (const fate of fates ?? []) {
    await t.test(fate.name, () => {
      if (fate.agent.token === 'static') {
        assert.ok(lost(fate) > 0, 'the token was read again after all')
        assert.ok(fate.logged.length > 0, 'nothing was logged')
        return
      }
      const { sent } = fate.tallies.spans
      assert.deepEqual(fate.tallies, allOnce(sent), fate.logged.join('\n'))
      assert.deepEqual(fate.logged, [])
    })
  }
})

test('the old token revoked before the new one is delivered: lost until then, and no longer', async (t) => {
  const agents = [...AGENTS.filter(({ token }) => token !== 'static'), PATIENT_PYTHON]
  const fates = await playAgents(t, agents, async (stage) => {
    await stage.untilUsed('old', agents, REQUESTS)
    await stage.admit('revoked', 'valid')
    await stage.untilRefused(REQUESTS * agents.length)
    await stage.deliver()
    await stage.untilUsed('new', agents, REQUESTS)
  })
  for (const fate of fates ?? []) {
    await t.test(fate.name, () => {
      for (const signal of COUNTED) assert.equal(fate.tallies[signal].duplicates, 0, signal)
      if (fate.name === nameOf(PATIENT_PYTHON)) {
        assert.equal(lost(fate), 0, fate.logged.join('\n'))
        return
      }
      assert.ok(lost(fate) > 0, 'nothing was lost')
      assertOneGap(fate.spans, fate.tallies.spans.sent)
      assert.ok(fate.logged.length > 0, 'nothing was logged')
    })
  }
})

test('an old token left in OTEL_EXPORTER_OTLP_HEADERS spoils gRPC for two of them', async (t) => {
  const agents = KINDS.map((kind): Agent => {
    const stale = 'Authorization=Bearer%20a-stale-token-0123456789'
    return { kind, token: 'provider', env: { OTEL_EXPORTER_OTLP_HEADERS: stale } }
  })
  const spoilt = agents.filter(({ kind }) => ['python grpc', 'js grpc'].includes(titleOf(kind)))
  const sound = agents.filter((agent) => !spoilt.includes(agent))
  const fates = await playAgents(t, agents, (stage) => stage.untilUsed('old', sound, REQUESTS))
  for (const fate of fates ?? []) {
    await t.test(fate.name, () => {
      const { sent, arrived } = fate.tallies.spans
      assert.equal(arrived, spoilt.includes(fate.agent) ? 0 : sent, fate.logged.join('\n'))
    })
  }
})
