/** More connections than there is room for: those that are in go on, the rest is turned away cheaply. */
import assert from 'node:assert/strict'
import type { Socket } from 'node:net'
import { test } from 'node:test'
import { assertAccepted } from '../support/answers.ts'
import { WAYS } from '../support/client.ts'
import { eventually } from '../support/eventually.ts'
import { sumOf } from '../support/exposition.ts'
import { startGateway } from '../support/gateway.ts'
import { openTcp } from '../support/raw-socket.ts'

const MAX = 20
const FLOOD = 500

async function flood(address: string, localAddress?: string): Promise<Socket[]> {
  return await Promise.all(
    Array.from({ length: FLOOD }, () => openTcp(address, localAddress).catch(() => undefined)),
  ).then((sockets) => sockets.filter((socket) => socket !== undefined))
}

test('TOLLGATE_MAX_CONNECTIONS: clients that are in are served all the while', async (t) => {
  const gateway = await startGateway(t, { env: { MAX_CONNECTIONS: String(MAX) } })
  const inside = WAYS.map((way) => gateway.connect(way))
  for (const client of inside) assertAccepted(await client.send())
  const sockets = await flood(gateway.addresses.grpc)
  const page = await gateway.until(
    (now) =>
      sumOf(now, 'tollgate_connections_refused_total', { reason: 'full' }) ===
      FLOOD - (MAX - inside.length),
    'the rest turned away',
  )
  assert.equal(sumOf(page, 'tollgate_connections'), MAX)
  for (const client of inside) assertAccepted(await client.send())
  const outside = gateway.connect('gRPC')
  await assert.rejects(outside.send())
  for (const socket of sockets) socket.destroy()
  await gateway.until((now) => sumOf(now, 'tollgate_connections') === inside.length, 'room again')
  assertAccepted(await gateway.connect('HTTP/1.1').send())
  await gateway.assertInvariant()
})

test('TOLLGATE_MAX_CONNECTIONS_PER_PEER: one address does not take the room of the others', async (t) => {
  const gateway = await startGateway(t, { env: { MAX_CONNECTIONS_PER_PEER: String(MAX) } })
  const sockets = await flood(gateway.addresses.http, '127.0.0.2')
  await gateway.until(
    (now) =>
      sumOf(now, 'tollgate_connections_refused_total', { reason: 'peer_full' }) === FLOOD - MAX,
    'the rest turned away',
  )
  for (const way of WAYS) assertAccepted(await gateway.connect(way).send())
  for (const socket of sockets) socket.destroy()
})

test('connections that come and go leave nothing behind', async (t) => {
  const gateway = await startGateway(t)
  for (let round = 0; round < 5; round += 1) {
    const sockets = await flood(gateway.addresses.grpc, '127.0.0.3')
    for (const socket of sockets) socket.resetAndDestroy()
  }
  await eventually(
    async () => sumOf(await gateway.metrics(), 'tollgate_connections') === 0,
    'all of them gone',
  )
  assertAccepted(await gateway.connect('gRPC').send())
})
