/** A million addresses: what is remembered of them is bounded by the sizes of the tables. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { peerFromAddress } from '../../src/edge/peer.ts'
import type { Peer } from '../../src/pipeline/arrival.ts'
import type { Token } from '../../src/pipeline/ports.ts'
import { Bans } from '../../src/stores/bans.ts'
import { Budgets } from '../../src/stores/budgets.ts'
import { assertAccepted } from '../support/answers.ts'
import { WAYS } from '../support/client.ts'
import { sumOf } from '../support/exposition.ts'
import { startGateway } from '../support/gateway.ts'
import { openTcp } from '../support/raw-socket.ts'

const PEERS = 1_000_000
const MAX_KEYS = 100_000
/** Six tables of that size; half a kilobyte an entry is plenty. */
const MAX_HEAP_BYTES = 6 * MAX_KEYS * 512
const RATE = { perSecond: 100, burst: 200 }

function peerOf(index: number): Peer {
  const key = `${10 + (index >>> 24)}.${(index >>> 16) & 255}.${(index >>> 8) & 255}.${index & 255}`
  return { key, address: key }
}

/** What is in use, garbage apart. */
function heapBytes(): number {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  collect()
  return process.memoryUsage().heapUsed
}

test('budgets and bans of a million addresses, each coming once a millisecond', () => {
  const budgets = new Budgets({ peer: { requests: RATE, bytes: RATE, inFlight: 10 } })
  const bans = new Bans({
    strikes: 2,
    windowMs: 60_000,
    banMs: 3_600_000,
    exempt: () => false,
    peerOf: peerFromAddress,
  })
  const token: Token = {
    id: 'test',
    holder: 'test',
    scopes: undefined,
    limits: { requests: undefined, bytes: undefined, inFlight: undefined },
  }
  const before = heapBytes()
  for (let index = 0; index < PEERS; index += 1) {
    const peer = peerOf(index)
    budgets.take(peer, undefined, index)
    budgets.chargeBytes(peer, undefined, 1000, index)
    budgets.release(peer, undefined)
    bans.strike(peer, index)
    if (index % 2 === 0) bans.strike(peer, index)
    if (index % 10 === 0) bans.vouch(peer, token, index)
  }
  for (const { table, size } of [...budgets.tables(), ...bans.tables()])
    assert.ok(size <= MAX_KEYS, `${table}: ${size}`)
  assert.deepEqual(budgets.inFlight, { peers: 0, tokens: 0 })
  const growth = heapBytes() - before
  assert.ok(growth < MAX_HEAP_BYTES, `${growth} bytes`)
  assert.equal(bans.isBanned(peerOf(PEERS - 2), PEERS), true, 'the newest ban is in force')
})

test('thousands of addresses behind one trusted proxy', async (t) => {
  const gateway = await startGateway(t, {
    env: {
      CLIENT_ADDRESS: 'proxy-protocol',
      TRUSTED_PROXIES: '127.0.0.1',
      BAN_EXEMPT: 'none',
      BAN_STRIKES: '1',
    },
  })
  const proxied = (address: string) => ({
    prelude: Buffer.from(`PROXY TCP4 ${address} 127.0.0.1 40000 4317\r\n`),
  })
  const count = 3000
  for (let round = 0; round < count; round += 100) {
    await Promise.all(
      Array.from({ length: 100 }, async (_, index) => {
        const socket = await openTcp(gateway.addresses.http)
        const { address } = peerOf(round + index)
        socket.write(proxied(address).prelude)
        socket.end()
        socket.resume()
        await once(socket, 'close')
      }),
    )
  }
  for (const way of WAYS) assertAccepted(await gateway.connect(way, proxied('192.0.2.1')).send())
  const page = await gateway.until(
    (now) => sumOf(now, 'tollgate_connections') === WAYS.length,
    'only the clients left',
  )
  assert.ok(sumOf(page, 'tollgate_connections_total') >= count)
  await gateway.assertInvariant()
})
