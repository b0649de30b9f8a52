/**
 * What strangers and holders of tokens can make a gateway hold, measured on a process of its own.
 * The numbers printed are those of docs/security.md; the bounds leave room for other machines.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { type AddressInfo, connect as connectTcp, createServer } from 'node:net'
import { type TestContext, test } from 'node:test'
import { Http2Engine } from '../../src/edge/http2-engine.ts'
import { InFlightBytes } from '../../src/edge/in-flight-bytes.ts'
import { eventually } from '../support/eventually.ts'
import { sumOf } from '../support/exposition.ts'
import {
  FLAG,
  FRAME,
  frame,
  grpcFields,
  headerBlock,
  RawHttp2,
  type RawHttp2Options,
} from '../support/raw-http2.ts'
import { openTls } from '../support/raw-socket.ts'
import { type Gateway, spawnGateway, TOKEN } from '../support/spawn-gateway.ts'
import { data, open, request } from './frames.ts'

const CONNECTIONS = 100
const KIB = 1024
const ACK = frame(FRAME.SETTINGS, FLAG.ACK, 0)

/** Makes an attack on so many connections at once and returns what each of them costs the process. */
async function costOf(
  t: TestContext,
  gateway: Gateway,
  attack: (client: RawHttp2, at: number) => Promise<void>,
  options: RawHttp2Options = {},
): Promise<number> {
  const caPem = await readFile(gateway.certificate, 'utf8')
  const { grpc, http, admin } = gateway
  const target = { addresses: { grpc, http, admin }, caPem }
  const connect = async () => new RawHttp2(await openTls(target, 'grpc'), options)
  const before = await residentBytes(gateway.pid)
  const clients: RawHttp2[] = []
  for (let at = 0; at < CONNECTIONS; at += 1) {
    const client = await connect()
    clients.push(client)
    await attack(client, at)
  }
  const after = await residentBytes(gateway.pid)
  for (const client of clients) client.close()
  await eventually(
    async () => sumOf(await gateway.metrics(), 'tollgate_connections') === 0,
    'the connections gone',
  )
  const each = Math.max(0, Math.round((after - before) / CONNECTIONS / KIB))
  t.diagnostic(`${each} KiB for a connection`)
  return each
}

async function residentBytes(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) * KIB
}

/** A gateway whose collector is away, so that what it is sent has to wait. */
async function startLonely(t: TestContext, env: Record<string, string> = {}): Promise<Gateway> {
  const gateway = await spawnGateway({
    collector: { grpc: '127.0.0.1:1' },
    env: { TOLLGATE_RATE: 'off', TOLLGATE_IN_FLIGHT: 'off', ...env },
  })
  t.after(() => gateway[Symbol.asyncDispose]())
  // The first connections pay for the code that they run.
  await costOf(t, gateway, (client) => client.ping())
  return gateway
}

test('strangers: what a connection of theirs can make us hold', { timeout: 60_000 }, async (t) => {
  if (process.platform !== 'linux') return t.skip('SKIP: /proc is needed')
  const gateway = await startLonely(t)
  await t.test('idle', async (t) => {
    const each = await costOf(t, gateway, (client) => client.ping())
    assert.ok(each < 150, `${each} KiB`)
  })
  await t.test('header tables, remembered blocks and an unfinished one', async (t) => {
    const each = await costOf(t, gateway, async (client, at) => {
      await client.ping()
      const table = Buffer.concat([
        Buffer.from([0x82, 0x84, 0x87, 0x40, 1]),
        Buffer.from('x'),
        Buffer.from([0x7f, 0xa1, 0x1e]),
        Buffer.alloc(4000, String(at)),
      ])
      const whole = FLAG.END_HEADERS | FLAG.END_STREAM
      const frames = [frame(FRAME.HEADERS, whole, 1, table)]
      for (let block = 0; block < 20; block += 1) {
        const fields = Array.from({ length: 50 }, (_, field) => [`${block}-${field}`, `${at}`])
        const fixed = { ':method': 'GET', ':scheme': 'https', ':path': '/' }
        const bytes = headerBlock({ ...fixed, ...Object.fromEntries(fields) })
        frames.push(frame(FRAME.HEADERS, whole, 3 + block * 2, bytes))
      }
      const rest = Buffer.alloc(15_000)
      frames.push(frame(FRAME.HEADERS, 0, 99, rest), frame(FRAME.CONTINUATION, 0, 99, rest))
      await client.write(...frames)
      await eventually(() => client.isOver || client.of(41).length > 0, 'answers')
    })
    assert.ok(each < 400, `${each} KiB`)
  })
  await t.test('refusals that are not read', async (t) => {
    const attack = async (client: RawHttp2) => {
      const bad = headerBlock(grpcFields('no-such-token-0123456789'))
      const batch = Array.from({ length: 2000 }, (_, at) => request(1 + at * 2, bad))
      await client.write(ACK, ...batch.slice(0, 200))
      for (let at = 200; at < 2000; at += 200) {
        // Written without waiting: nobody may read it.
        client.socket.write(Buffer.concat(batch.slice(at, at + 200)))
      }
    }
    const each = await costOf(t, gateway, attack, { isDeaf: true })
    assert.ok(each < 800, `${each} KiB`)
  })
})

test('holders of a token: bodies that wait share one bound', { timeout: 60_000 }, async (t) => {
  if (process.platform !== 'linux') return t.skip('SKIP: /proc is needed')
  const env = {
    TOLLGATE_HOLD: '5m',
    TOLLGATE_MAX_HELD: '10000',
    TOLLGATE_MAX_IN_FLIGHT_BYTES: '64MiB',
  }
  const gateway = await startLonely(t, env)
  const good = headerBlock(grpcFields(TOKEN))
  const piece = Buffer.alloc(16_000)
  const each = await costOf(t, gateway, async (client) => {
    for (let id = 1; id < 9; id += 2) {
      await client.write(open(id, good))
      for (let sent = 0; sent < 250_000; sent += piece.length) await client.write(data(id, piece))
    }
    // Whoever holds the most goes: this one or another.
    await client.ping()
  })
  const page = await gateway.metrics()
  const reason = { reason: 'memory' }
  assert.ok(sumOf(page, 'tollgate_connections_refused_total', reason) >= CONNECTIONS - 70)
  assert.equal(sumOf(page, 'tollgate_in_flight_bytes'), 0)
  // A hundred megabytes were sent.
  assert.ok(each * CONNECTIONS < 160 * KIB, `${each * CONNECTIONS} KiB for 64 MiB`)
})

test('answers that wait in sockets share one bound', async (t) => {
  const misuse: string[] = []
  const engine = new Http2Engine({
    maxStreams: 250,
    headerTimeoutMs: 10_000,
    idleTimeoutMs: 60_000,
    nowMs: () => performance.now(),
    inFlightBytes: new InFlightBytes(64 * KIB * KIB),
    maxUnsentBytes: 512 * KIB,
    onCall: (call) => call.answer(200, { 'x-long': 'x'.repeat(1000) }),
    onMisuse: (reason) => misuse.push(reason),
  })
  const server = createServer((socket) => {
    const { remoteAddress: address = '' } = socket
    engine.take(socket, { port: 'grpc', peer: { address, key: address } })
  })
  t.after(() => {
    server.close()
    engine.destroy()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const connect = async (localAddress: string, isDeaf: boolean) => {
    const socket = connectTcp({ port, host: '127.0.0.1', localAddress })
    await once(socket, 'connect')
    const client = new RawHttp2(socket, { isDeaf })
    t.after(() => client.close())
    return client
  }
  const honest = await connect('127.0.0.1', false)
  await honest.ping()
  const attackers: RawHttp2[] = []
  for (let count = 0; count < 12; count += 1) {
    const attacker = await connect('127.0.0.2', true)
    attackers.push(attacker)
    attacker.socket.write(ACK)
    for (let id = 1; id < 16_001; id += 2) attacker.socket.write(request(id))
  }
  await eventually(() => misuse.length > 0, 'somebody who had to go')
  assert.ok(
    misuse.every((reason) => reason === 'memory'),
    misuse.join(),
  )
  assert.ok(engine.size >= 2, 'not all had to')
  await honest.ping(2)
  assert.equal(honest.isOver, false)
})
