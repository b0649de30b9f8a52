/**
 * Four SDKs, gRPC and HTTP, while the certificate is renewed ten times in a minute: by files that are
 * written over, by a symlink, by an acme.json that is written over; and while the CAs of client
 * certificates are swapped. Nothing is lost, no connection is dropped, and what is new counts for the
 * next connection.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { request } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect } from 'node:tls'
import { type Issued, issueCa, issueServer } from '../../src/tls/issue.ts'
import { acmeJson } from '../support/acme-json.ts'
import { testCa } from '../support/certs.ts'
import { issueClient } from '../support/client-certs.ts'
import { sumOf } from '../support/exposition.ts'
import type { Gateway } from '../support/spawn-gateway.ts'
import { allOnce } from './count.ts'
import { type Played, play } from './scene.ts'
import type { Load } from './senders/run.ts'

const TIMES = 10
const EVERY_MS = 5500
/** Ten items a second, for longer than it takes; they stop when it is over. */
const LOAD: Load = { items: 3000, seconds: 300 }
const NAMES = ['localhost', '127.0.0.1', '::1']

/** A way in which certificates come. */
interface Way {
  /** Variables that name the files; paths start at the gateway's folder. */
  readonly env: Readonly<Record<string, string>>
  put(folder: string, pair: Issued, round: number): Promise<void> | void
}

const WAYS: Readonly<Record<string, Way>> = {
  'files written over, the key first or the certificate first': {
    env: { TOLLGATE_TLS_CERT: 'new.pem', TOLLGATE_TLS_KEY: 'new.key' },
    async put(folder, { cert, key }, round) {
      const writes = [
        () => writeFileSync(join(folder, 'new.pem'), cert),
        () => writeFileSync(join(folder, 'new.key'), key),
      ]
      const [first, second] = round % 2 === 0 ? writes : writes.toReversed()
      first?.()
      // Longer than the gateway gathers events, so that it sees the half: it must not take it.
      if (round > 0) await sleep(1000)
      second?.()
    },
  },
  'a symlink': {
    env: { TOLLGATE_TLS_CERT: 'volume/tls.crt', TOLLGATE_TLS_KEY: 'volume/tls.key' },
    put(folder, { cert, key }, round) {
      const at = (name: string) => join(folder, 'volume', name)
      mkdirSync(at(`..${round}`), { recursive: true })
      writeFileSync(at(`..${round}/tls.crt`), cert)
      writeFileSync(at(`..${round}/tls.key`), key)
      symlinkSync(`..${round}`, at('..new'))
      renameSync(at('..new'), at('..data'))
      if (round > 0) return
      for (const name of ['tls.crt', 'tls.key']) symlinkSync(`..data/${name}`, at(name))
    },
  },
  'an acme.json': {
    env: {
      TOLLGATE_TLS_CERT: '',
      TOLLGATE_TLS_KEY: '',
      TOLLGATE_TLS_ACME_JSON: 'acme.json',
      TOLLGATE_TLS_DOMAIN: 'localhost',
    },
    async put(folder, { cert, key }, round) {
      const text = acmeJson({ letsencrypt: [{ names: NAMES, cert, key }] })
      const path = join(folder, 'acme.json')
      if (round > 0) {
        // As Traefik does it: truncated and written, here with a pause for others to look.
        writeFileSync(path, text.slice(0, text.length / 2))
        await sleep(500)
      }
      writeFileSync(path, text)
    },
  },
}

for (const [title, way] of Object.entries(WAYS)) {
  test(`renewed ten times by ${title}`, { timeout: 300_000 }, async (t) => {
    const ca = await testCa()
    const issue = () => issueServer(ca, NAMES, Date.now())
    let served = 0
    const folder = mkdtempSync(join(tmpdir(), 'tollgate-renewals-'))
    t.after(() => rmSync(folder, { recursive: true }))
    const until = join(folder, 'over')
    const played = await play(t, {
      env: way.env,
      load: { ...LOAD, until },
      prepare: async (folder) => {
        // What the senders trust.
        writeFileSync(join(folder, 'test-ca.pem'), ca.cert)
        await way.put(folder, await issue(), 0)
      },
      meanwhile: async (_, gateway) => {
        try {
          for (let round = 1; round <= TIMES; round += 1) {
            const next = await issue()
            const beganMs = performance.now()
            await way.put(gateway.folder, next, round)
            await gateway.logged('certificate_loaded', round + 1)
            served += Number((await certificateOf(gateway, ca.cert)) === bodyOf(next.cert))
            await sleep(Math.max(0, beganMs + EVERY_MS - performance.now()))
            const now = await gateway.metrics()
            const closed =
              sumOf(now, 'tollgate_connections_total') - sumOf(now, 'tollgate_connections')
            // One each round was this test's own.
            assert.equal(closed - round, 0, `connections dropped in ${round} renewals`)
          }
          const page = await gateway.metrics()
          assert.equal(sumOf(page, 'tollgate_connections_refused_total'), 0)
          assert.equal(
            sumOf(page, 'tollgate_certificate_reloads_total', { outcome: 'swapped' }),
            TIMES,
          )
          assert.equal(sumOf(page, 'tollgate_certificate_last_reload_success'), 1)
        } finally {
          writeFileSync(until, '')
        }
      },
    })
    if (played === undefined) return
    assertAllArrived(played)
    assert.equal(served, TIMES, 'new connections with the new certificate')
  })
}

test('the client CAs swapped ten times', { timeout: 120_000 }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'tollgate-renewals-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const until = join(folder, 'over')
  const played = await play(t, {
    env: {},
    load: { ...LOAD, until },
    asksCertificate: true,
    meanwhile: async (_, gateway) => {
      try {
        // Their own CA stays; beside it stands another one each time.
        const own = readFileSync(gateway.certificate, 'utf8')
        let former: Issued | undefined
        let probes = 0
        for (let round = 1; round <= TIMES; round += 1) {
          const ca = await issueCa(`Agents ${round}`, Date.now())
          const agent = await issueClient(ca)
          writeFileSync(gateway.certificate, own + ca.cert)
          await gateway.logged('certificate_loaded', round + 1)
          assert.equal(await isLetIn(gateway, own, agent), true, `round ${round}: the new CA`)
          probes += 1
          if (former !== undefined) {
            assert.equal(await isLetIn(gateway, own, former), false, `round ${round}: the former`)
            probes += 1
          }
          former = agent
          await sleep(2000)
          const now = await gateway.metrics()
          const closed =
            sumOf(now, 'tollgate_connections_total') - sumOf(now, 'tollgate_connections')
          assert.equal(closed - probes, 0, `connections dropped in ${round} swaps`)
        }
      } finally {
        writeFileSync(until, '')
      }
    },
  })
  if (played !== undefined) assertAllArrived(played)
})

function assertAllArrived({ results }: Played): void {
  for (const { title, tallies, logged } of results) {
    const { sent } = tallies.spans
    assert.ok(sent > 100, `${title} sent ${sent}`)
    assert.deepEqual(tallies, allOnce(sent), `${title}: ${logged.join('\n')}`)
  }
}

/** Whether a new connection that shows this certificate comes as far as an answer. */
function isLetIn({ http }: Gateway, ca: string, { cert, key }: Issued): Promise<boolean> {
  const { hostname, port } = new URL(`http://${http}`)
  const options = { host: hostname, port, servername: 'localhost', ca, cert, key, agent: false }
  return new Promise((resolve) => {
    const call = request({ ...options, method: 'POST', path: '/v1/traces' }, (response) => {
      response.resume()
      resolve(true)
    })
    call.once('error', () => resolve(false))
    call.end()
  })
}

/** What a new connection is shown, in base64. */
async function certificateOf({ grpc }: Gateway, ca: string): Promise<string> {
  const { hostname, port } = new URL(`http://${grpc}`)
  const socket = connect({ host: hostname, port: Number(port), servername: 'localhost', ca })
  await once(socket, 'secureConnect')
  const shown = socket.getPeerCertificate().raw.toString('base64')
  // Tickets are on their way: what is cut off now would count as a failed handshake.
  socket.end()
  await once(socket.resume(), 'close')
  return shown
}

function bodyOf(pem: string): string {
  return pem.replace(/-----[A-Z ]+-----|\s/g, '')
}
