/**
 * Ten renewals by ACME in about a minute, from a real Pebble, while four SDKs and the Collector export:
 * nothing is lost, no connection is dropped, new ones get the new certificate. The senders call the
 * gateway by a name that ACME can prove, which they alone know.
 */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { acmeEnv, CHALLENGES, cert, servedBy } from '../support/acme-gateway.ts'
import { startAcmeLoad } from '../support/acme-load.ts'
import { eventually } from '../support/eventually.ts'
import { sumOf } from '../support/exposition.ts'
import { freePorts } from '../support/otelcol.ts'
import { NAME, startPebble } from '../support/pebble.ts'
import { withPrivateHosts } from '../support/private-hosts.ts'
import { startRelay } from '../support/relay.ts'
import type { Gateway } from '../support/spawn-gateway.ts'
import { TOKEN } from '../support/spawn-gateway.ts'
import { hasTools } from '../support/tools.ts'
import { allOnce } from './count.ts'
import { play } from './scene.ts'

const TIMES = 10
const EVERY_MS = 5000

for (const challenge of CHALLENGES) {
  test(`${TIMES} renewals by ${challenge}`, { timeout: 300_000 }, async (t) => {
    if (!hasTools(t, 'pebble', 'pebble-challtestsrv')) return
    const front = await withPrivateHosts(t, NAME)
    if (front === undefined) return
    const folder = mkdtempSync(join(tmpdir(), 'tollgate-acme-renewals-'))
    t.after(() => rmSync(folder, { recursive: true }))
    const until = join(folder, 'over')
    // What the authority opens goes past here, so that its connections are told from those of senders.
    let validations = 0
    const [httpPort = 0] = await freePorts(1)
    const relay = await startRelay(httpPort, () => (validations += 1))
    t.after(() => relay.close())
    const pebble = await startPebble(t, { tlsPort: relay.port })
    const ca = await pebble.root()
    let others = 0
    /** Connections that have ended, without those that were to end. */
    const dropped = async (gateway: Gateway) => {
      const page = await gateway.metrics()
      const open = sumOf(page, 'tollgate_connections')
      return sumOf(page, 'tollgate_connections_total') - open - validations - others
    }
    const served = async (gateway: Gateway) => {
      others += 1
      return await servedBy(gateway.grpc)
    }
    const played = await play(t, {
      env: acmeEnv(pebble, challenge, {
        TOLLGATE_HTTP_LISTEN: `127.0.0.1:${httpPort}`,
        TOLLGATE_TOKENS: `tests=${TOKEN}`,
      }),
      load: { items: 3000, seconds: 300, until },
      host: { name: NAME, front },
      hasAgents: true,
      // What the senders trust.
      prepare: async (folder) => writeFileSync(join(folder, 'test-ca.pem'), ca),
      ready: (gateway) => gateway.logged('certificate_issued', 1),
      meanwhile: async (_, gateway) => {
        const load = startAcmeLoad(gateway, ca)
        try {
          const seen = new Set([await served(gateway)])
          for (let round = 1; round <= TIMES; round += 1) {
            const beganMs = performance.now()
            const before = load.acknowledged
            const { code, stderr } = await cert(gateway, 'renew', '--force')
            assert.equal(code, 0, stderr)
            seen.add(await served(gateway))
            assert.equal(seen.size, round + 1, 'what a new connection gets after the command')
            await eventually(() => load.acknowledged > before, 'exports on new connections')
            await sleep(Math.max(0, beganMs + EVERY_MS - performance.now()))
          }
          assert.deepEqual(await load.stop(), [])
          others += load.acknowledged
          await eventually(
            async () => (await dropped(gateway)) >= 0,
            'the end of our own connections',
          )
          assert.equal(await dropped(gateway), 0, 'connections dropped')
          const page = await gateway.metrics()
          assert.equal(sumOf(page, 'tollgate_connections_refused_total'), 0)
          assert.ok(validations > 0 === (challenge === 'tls-alpn-01'), `${validations} validations`)
        } finally {
          await load.stop()
          writeFileSync(until, '')
        }
      },
    })
    if (played === undefined) return
    assert.deepEqual(Object.keys(played.outcomes), ['accepted'])
    for (const { title, tallies, logged } of played.results) {
      const { sent } = tallies.spans
      assert.ok(sent > 100, `${title} sent ${sent}`)
      assert.deepEqual(tallies, allOnce(sent), `${title}: ${logged.join('\n')}`)
    }
  })
}
