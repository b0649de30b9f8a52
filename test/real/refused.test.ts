/**
 * What four SDKs do with their data when they are refused, and what waiting instead saves. Each test
 * prints a table: items that arrived of those sent, and what the SDK logged.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { runToEnd } from '../support/child.ts'
import type { Otelcol } from '../support/otelcol.ts'
import type { Gateway } from '../support/spawn-gateway.ts'
import { hasTools, tool } from '../support/tools.ts'
import { allOnce, COUNTED } from './count.ts'
import { play, type Result } from './scene.ts'
import { KINDS, type Load } from './senders/run.ts'

/** Items that did not arrive, all signals together. */
function lost({ tallies }: Result): number {
  return COUNTED.reduce((sum, signal) => sum + tallies[signal].sent - tallies[signal].arrived, 0)
}

function assertAllOnce(results: readonly Result[], sent: number): void {
  for (const { title, tallies, logged } of results)
    assert.deepEqual(tallies, allOnce(sent), `${title}: ${logged.join('\n')}`)
}

/** The JavaScript HTTP exporters try again for as long as they may. */
function assertPatientLoseNothing(results: readonly Result[]): void {
  for (const result of results.filter(({ title }) => title.startsWith('js http')))
    assert.equal(lost(result), 0, `${result.title}: ${result.logged.join('\n')}`)
}

/** The JavaScript gRPC exporters never try again. */
function assertHastyLose(results: readonly Result[]): void {
  const hasty = results.find(({ title }) => title === 'js grpc')
  assert.ok(hasty !== undefined && lost(hasty) > 0, 'js grpc lost nothing')
  assert.ok(hasty.logged.length > 0, 'js grpc logged nothing')
}

function assertNothingTwice(results: readonly Result[]): void {
  for (const { title, tallies } of results)
    for (const signal of COUNTED) assert.equal(tallies[signal].duplicates, 0, `${title} ${signal}`)
}

const SHORT: Load = { items: 40, seconds: 1 }

test('401: an unknown token loses everything, and every SDK says so', async (t) => {
  const played = await play(t, { env: {}, load: SHORT, isStranger: true })
  if (played === undefined) return
  for (const result of played.results) {
    assert.equal(lost(result), 3 * SHORT.items, result.title)
    assert.ok(result.logged.length > 0, `${result.title} logged nothing`)
  }
  assert.deepEqual(Object.keys(played.outcomes), ['token_unknown'])
})

test('403: a token for traces alone delivers them and loses the rest', async (t) => {
  const played = await play(t, { env: {}, load: SHORT, token: { scopes: ['traces'] } })
  if (played === undefined) return
  for (const { title, tallies, logged } of played.results) {
    const arrived = COUNTED.map((signal) => tallies[signal].arrived)
    assert.deepEqual(arrived, [SHORT.items, 0, 0], title)
    assert.ok(logged.length > 0, `${title} logged nothing`)
  }
  assert.deepEqual(Object.keys(played.outcomes).sort(), ['accepted', 'scope_denied'])
})

test('413: a batch over the limit is lost, and every SDK says so', async (t) => {
  const load = { items: 300, seconds: 0.1 }
  const played = await play(t, { env: { TOLLGATE_MAX_BODY: '4KiB' }, load })
  if (played === undefined) return
  for (const result of played.results) {
    assert.ok(lost(result) > 0, result.title)
    assert.ok(result.logged.length > 0, `${result.title} logged nothing`)
  }
  assertNothingTwice(played.results)
  assert.ok((played.outcomes.too_large ?? 0) >= KINDS.length)
})

const OVER: Load = { items: 80, seconds: 4 }
const TIGHT = { TOLLGATE_TOKEN_RATE: '2/s', TOLLGATE_TOKEN_BURST: '2' }

test('429: over its rate and refused at once', async (t) => {
  const played = await play(t, { env: { ...TIGHT, TOLLGATE_HOLD: 'off' }, load: OVER })
  if (played === undefined) return
  assertNothingTwice(played.results)
  assert.ok((played.outcomes.rate_limited ?? 0) > 0)
  assertHastyLose(played.results)
  assertPatientLoseNothing(played.results)
})

test('429 avoided: over its rate and made to wait, nobody loses anything', async (t) => {
  const played = await play(t, { env: TIGHT, load: OVER })
  if (played === undefined) return
  assertAllOnce(played.results, OVER.items)
})

const LONG: Load = { items: 160, seconds: 8 }

async function restartCollector(awayMs: number, backend: Otelcol): Promise<void> {
  await sleep(1000)
  await backend.stop()
  await sleep(awayMs)
  await backend.start()
}

test('503: the collector away for three seconds, refused at once', async (t) => {
  const played = await play(t, {
    env: { TOLLGATE_HOLD: 'off' },
    load: LONG,
    meanwhile: (backend) => restartCollector(3000, backend),
  })
  if (played === undefined) return
  assert.ok((played.outcomes.collector_unavailable ?? 0) > 0)
  assertHastyLose(played.results)
  assertPatientLoseNothing(played.results)
})

test('503 avoided: the collector away for five seconds and waited for, nobody loses anything', async (t) => {
  const played = await play(t, {
    env: {},
    load: LONG,
    meanwhile: (backend) => restartCollector(5000, backend),
  })
  if (played === undefined) return
  assertAllOnce(played.results, LONG.items)
})

test('a new certificate and new tokens are taken in while they send, and nobody loses anything', async (t) => {
  const played = await play(t, {
    env: {},
    load: OVER,
    meanwhile: async (_, gateway, tokens) => {
      await sleep(1000)
      for (let times = 2; times <= 3; times += 1) {
        await gateway.renewCertificate()
        await gateway.logged('certificate_loaded', times)
        await tokens.add(`newcomer-${times}`)
        await gateway.logged('tokens_loaded', times)
      }
    },
  })
  if (played === undefined) return
  assertAllOnce(played.results, OVER.items)
})

test('a restart of the gateway, its ports closed meanwhile', async (t) => {
  const played = await play(t, {
    env: {},
    load: LONG,
    meanwhile: async (_, gateway) => {
      await sleep(1000)
      await gateway.stop()
      await gateway.start()
    },
  })
  if (played === undefined) return
  assertNothingTwice(played.results)
  assertPatientLoseNothing(played.results)
})

test('a stranger is banned while the agents at the same address go on', async (t) => {
  if (!hasTools(t, 'curl')) return
  const answers: string[] = []
  const played = await play(t, {
    // As on the internet: here everybody comes from the loopback address, which is exempt as shipped.
    env: { TOLLGATE_BAN_EXEMPT: 'none' },
    load: OVER,
    meanwhile: async (_, gateway) => {
      await sleep(2000)
      for (let tries = 0; tries < 25; tries += 1) answers.push(await knock(gateway))
    },
  })
  if (played === undefined) return
  assertAllOnce(played.results, OVER.items)
  assert.deepEqual(answers, [...Array(5).fill('401'), ...Array(20).fill('403')])
  assert.deepEqual([played.outcomes.token_unknown, played.outcomes.banned], [5, 20])
})

/** The status that a wrong token is answered with. */
async function knock({ http, certificate }: Gateway): Promise<string> {
  const { stdout } = await runToEnd(tool('curl'), [
    ...[
      '--silent',
      '--output',
      '/dev/null',
      '--write-out',
      '%{http_code}',
      '--cacert',
      certificate,
    ],
    ...['-H', 'Authorization: Bearer wrong', '-H', 'Content-Type: application/json'],
    ...['--data', '{}', `${http.replace(/^.*:/, 'https://localhost:')}/v1/traces`],
  ])
  return stdout
}
