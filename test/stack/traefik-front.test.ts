/**
 * Both ways behind Dokploy's Traefik, as the files in docker/dokploy/ set them up: a real Traefik with
 * exactly these files, real exporters in front and a real collector behind. Only the name and the
 * addresses of the gateway are replaced. Labels are read by Traefik's own Docker provider, from a
 * stand-in for Docker's API (test/support/docker-containers.ts).
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { allOnce, tally } from '../real/count.ts'
import { KINDS, startSender, titleOf } from '../real/senders/run.ts'
import { eventually } from '../support/eventually.ts'
import { sumOf } from '../support/exposition.ts'
import { startOtelcol } from '../support/otelcol.ts'
import { startRelay } from '../support/relay.ts'
import { spawnGateway } from '../support/spawn-gateway.ts'
import { hasTools } from '../support/tools.ts'
import { startTraefik, type Traefik } from '../support/traefik.ts'
import {
  clientOf,
  FORGER,
  FORMS,
  frontOf,
  GUESSER,
  HONEST,
  routed,
  type Scene,
  serviceOf,
  settingsOf,
  statusOf,
  WAYS,
} from './front-scene.ts'

/** Java takes the longest to start, and has nothing here that Go has not. */
const SENT = KINDS.filter(({ language }) => language !== 'java')
const LOAD = { items: 20, seconds: 1 }
const STRIKES = 5

for (const way of WAYS) {
  for (const form of FORMS) {
    test(`behind Traefik: ${way}, as ${form}`, async (t) => {
      if (!hasTools(t, 'traefik', 'otelcol', 'openssl', 'python-sender', 'go-sender')) return
      await using backend = await startOtelcol()
      const service = await serviceOf(way, 'localhost')
      await using gateway = await spawnGateway({
        collector: { grpc: backend.grpc, http: backend.http },
        asksCertificate: way === 'passthrough',
        env: {
          ...settingsOf(service),
          TOLLGATE_TRUSTED_PROXIES: '127.0.0.1',
          TOLLGATE_TOKENS: HONEST.map(({ holder, token }) => `${holder}=${token}`).join(','),
          // Here everybody is on loopback.
          TOLLGATE_BAN_EXEMPT: 'none',
        },
      })
      const traefik = await startTraefik(t, frontOf(way, form, service, gateway))
      await routed(traefik, way)
      await eventually(async () => (await traefik.rawData()).routers?.['domain@file'], 'the Domain')
      const scene: Scene = { t, way, gateway, traefik }

      await t.test('what exporters send arrives, each item once', async (t) => {
        const runs = HONEST.flatMap((honest) => SENT.map((kind) => ({ honest, kind })))
        const relays = new Map(
          await Promise.all(
            HONEST.map(
              async ({ address }) =>
                [address, await startRelay(traefik.websecure, undefined, address)] as const,
            ),
          ),
        )
        t.after(() => Promise.all([...relays.values()].map((relay) => relay.close())))
        const reports = await Promise.all(
          runs.map(({ honest, kind }) => {
            const target = {
              endpoint: `https://localhost:${relays.get(honest.address)?.port}`,
              token: honest.token,
              certificate: gateway.certificate,
              ...(way === 'passthrough'
                ? { clientCertificate: gateway.clientCertificate, clientKey: gateway.clientKey }
                : {}),
            }
            return startSender(kind, target, LOAD).done
          }),
        )
        await gateway.assertInvariant()
        assert.deepEqual(Object.keys(await gateway.outcomes()), ['accepted'])
        await backend.stop()
        for (const [index, { kind, honest }] of runs.entries()) {
          const report = reports[index]
          assert.ok(report !== undefined)
          const what = `${titleOf(kind)} from ${honest.address}: ${report.logged.join('\n')}`
          assert.deepEqual(
            tally(await backend.received(report.run), report.sent),
            allOnce(LOAD.items),
            what,
          )
          assert.deepEqual(report.logged, [], what)
        }
        await backend.start()
      })
      await t.test('the gateway sees the clients, not Traefik', () => addressesAreSeen(scene))
      await t.test('who guesses is banned, alone', () => guesserIsBanned(scene))
      await t.test('an address cannot be forged', () => addressIsNotForged(scene))
      if (way === 'passthrough')
        await t.test('client certificates are asked for', () => certificateIsAsked(scene))
      await t.test('plain HTTP is refused, not redirected', () => plainIsRefused(traefik))
      await gateway.assertInvariant()
    })
  }
}

async function addressesAreSeen({ gateway }: Scene): Promise<void> {
  const { tokens } = (await (await fetch(`http://${gateway.admin}/tokens`)).json()) as {
    tokens: { holder: string; lastUse: { address: string } | null }[]
  }
  assert.deepEqual(
    Object.fromEntries(tokens.map(({ holder, lastUse }) => [holder, lastUse?.address])),
    Object.fromEntries(HONEST.map(({ holder, address }) => [holder, address])),
  )
}

async function guesserIsBanned(scene: Scene): Promise<void> {
  const guesser = clientOf(scene, { localAddress: GUESSER })
  for (let strike = 1; strike <= STRIKES; strike += 1)
    assert.equal(await statusOf(guesser, { token: 'guessed-0123456789' }), 401)
  assert.equal(await statusOf(guesser), 403)
  const again = await statusOf(clientOf(scene, { localAddress: GUESSER }))
  // With TLS passed through the gateway shuts the connection before the handshake.
  if (scene.way === 'passthrough') assert.equal(again, 'ECONNRESET')
  else assert.equal(again, 403)
  for (const { address, token } of HONEST)
    assert.equal(await statusOf(clientOf(scene, { localAddress: address, token })), 200)
  assert.deepEqual(await bannedIn(scene), [GUESSER])
}

async function addressIsNotForged(scene: Scene): Promise<void> {
  const [{ address: claimed }] = HONEST
  const headers = { 'x-forwarded-for': claimed, 'x-real-ip': claimed, forwarded: `for=${claimed}` }
  const { gateway, way } = scene
  // Through Traefik: the guesser stays banned, whatever he claims.
  const through = clientOf(scene, { localAddress: GUESSER })
  assert.notEqual(await statusOf(through, { headers }), 200)
  // Past Traefik, from an address that is no proxy of the gateway.
  const before = await gateway.metrics()
  const prelude = way === 'passthrough' ? proxyHeader(claimed, FORGER) : undefined
  const past = clientOf(scene, {
    address: gateway.http,
    localAddress: FORGER,
    ...(prelude === undefined ? { caPem: undefined } : { prelude }),
  })
  if (way === 'passthrough') {
    assert.equal(typeof (await statusOf(past, { headers })), 'string')
    const refused = (page: typeof before) =>
      sumOf(page, 'tollgate_connections_refused_total', { reason: 'handshake' })
    const after = await gateway.metrics()
    assert.equal(refused(after), refused(before) + 1)
    assert.deepEqual(await bannedIn(scene), [GUESSER])
  } else {
    for (let strike = 1; strike <= STRIKES; strike += 1)
      assert.equal(await statusOf(past, { headers, token: 'guessed-0123456789' }), 401)
    assert.deepEqual(await bannedIn(scene), [GUESSER, FORGER])
  }
  const honest = clientOf(scene, { localAddress: claimed })
  assert.equal(await statusOf(honest), 200)
}

/** PROXY protocol, version 2, TCP over IPv4. */
function proxyHeader(source: string, destination: string): Buffer {
  const signature = Buffer.from('0d0a0d0a000d0a515549540a', 'hex')
  const bytesOf = (address: string) => address.split('.').map(Number)
  const addresses = [...bytesOf(source), ...bytesOf(destination), 0x30, 0x39, 0x10, 0xde]
  return Buffer.concat([signature, Buffer.from([0x21, 0x11, 0, addresses.length, ...addresses])])
}

async function certificateIsAsked(scene: Scene): Promise<void> {
  const before = await scene.gateway.metrics()
  const without = clientOf(scene, { tls: { cert: undefined, key: undefined } })
  assert.equal(typeof (await statusOf(without)), 'string')
  const counted = (page: typeof before, result: string) =>
    sumOf(page, 'tollgate_client_certificates_total', { result })
  const after = await scene.gateway.metrics()
  assert.equal(counted(after, 'missing'), counted(before, 'missing') + 1)
  assert.ok(counted(after, 'verified') > 0)
}

async function plainIsRefused({ web }: Traefik): Promise<void> {
  const paths = [
    '/v1/traces',
    '/v1/metrics',
    '/v1development/profiles',
    '/opentelemetry.proto.collector.trace.v1.TraceService/Export',
  ]
  const ask = (path: string, method: string) =>
    fetch(`http://localhost:${web}${path}`, { method, redirect: 'manual' })
  for (const path of paths) assert.equal((await ask(path, 'POST')).status, 418, path)
  // The Domain's own redirect is there, for everything else.
  assert.equal((await ask('/', 'GET')).status, 301)
}

/** Who was banned, in this order. */
async function bannedIn({ gateway }: Scene): Promise<unknown[]> {
  const count = sumOf(await gateway.metrics(), 'tollgate_bans_total')
  await gateway.logged('ban', count)
  return gateway
    .log()
    .filter(({ event }) => event === 'ban')
    .map(({ peer }) => peer)
}
