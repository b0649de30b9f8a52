/** Bodies that nobody asked for, or that hold more than they may. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { assertAccepted } from '../support/answers.ts'
import { eventually } from '../support/eventually.ts'
import { sumOf } from '../support/exposition.ts'
import { collectGarbage } from '../support/garbage.ts'
import { TOKEN } from '../support/gateway.ts'
import { FRAME, grpcFields, headerBlock, type RawHttp2 } from '../support/raw-http2.ts'
import { arrived, startEngine } from './engine.ts'
import { BAD, CODE, data, GOOD, open } from './frames.ts'
import { refusals, underAttack } from './scene.ts'

const PIECE = Buffer.alloc(16_384)
const STREAM_WINDOW_BYTES = 256 * 1024
const CONNECTION_WINDOW_BYTES = 1024 * 1024
const HELD = { IN_FLIGHT: '1', HOLD: '5m' }

async function upload(attacker: RawHttp2, streamId: number, bytes: number): Promise<void> {
  for (let sent = 0; sent < bytes && !attacker.isOver; sent += PIECE.length)
    await attacker.write(data(streamId, PIECE))
}

test('an upload that goes on after it was refused ends the connection', async (t) => {
  await underAttack(t, async ({ open: connect, refused, gateway }) => {
    const attacker = await connect()
    await attacker.write(open(1, BAD))
    await attacker.ping()
    // What may have been on its way is dropped without a word.
    await upload(attacker, 1, STREAM_WINDOW_BYTES - PIECE.length)
    await attacker.ping(2)
    assert.equal(attacker.isOver, false)
    const updates = attacker.of(1, FRAME.WINDOW_UPDATE)
    assert.equal(updates.length, 0, 'no window for what nobody reads')
    await upload(attacker, 1, 1024 * 1024)
    assert.equal(await attacker.ended(), CODE.FLOW_CONTROL_ERROR)
    assert.equal(await refused('protocol_error'), 1)
    assert.equal(sumOf(await gateway.metrics(), 'tollgate_received_bytes_total'), 0)
  })
})

test('more than the window of a stream that waits resets it', async (t) => {
  await underAttack(
    t,
    async ({ open: connect, gateway, bystander }) => {
      gateway.collector.script({ kind: 'slow' })
      const first = bystander.send()
      await gateway.collector.hasReached(2)
      const attacker = await connect()
      await attacker.write(open(1, GOOD))
      await upload(attacker, 1, STREAM_WINDOW_BYTES)
      await attacker.ping()
      const held = sumOf(await gateway.metrics(), 'tollgate_in_flight_bytes')
      assert.ok(held >= STREAM_WINDOW_BYTES, `${held} bytes are counted while nobody reads them`)
      await attacker.write(data(1, Buffer.alloc(1)))
      await attacker.ping(2)
      const [reset] = attacker.of(1, FRAME.RST_STREAM)
      assert.equal(reset?.payload.readUInt32BE(0), CODE.FLOW_CONTROL_ERROR)
      gateway.collector.resumeReading()
      assertAccepted(await first)
    },
    { env: HELD },
  )
})

test('more than the window of the connection ends it', async (t) => {
  await underAttack(
    t,
    async ({ open: connect, gateway, bystander, refused }) => {
      gateway.collector.script({ kind: 'slow' })
      const first = bystander.send()
      await gateway.collector.hasReached(2)
      const attacker = await connect()
      for (let id = 1; id < 11; id += 2) {
        await attacker.write(open(id, GOOD))
        await upload(attacker, id, STREAM_WINDOW_BYTES)
      }
      assert.equal(await attacker.ended(), CODE.FLOW_CONTROL_ERROR)
      assert.equal(await refused('protocol_error'), 1)
      gateway.collector.resumeReading()
      assertAccepted(await first)
    },
    { env: HELD },
  )
})

test('small pieces do not keep the large chunks they came in', async (t) => {
  const engine = await startEngine(t, () => {})
  const pair = await engine.connect()
  await pair.client.write(open(1, GOOD))
  await arrived(pair)
  const filler = unknown(Buffer.alloc(15_000))
  collectGarbage()
  const before = process.memoryUsage().arrayBuffers
  for (let count = 0; count < 600; count += 1) {
    await pair.client.write(data(1, Buffer.alloc(100)), filler)
    await arrived(pair)
    // Patience is not what is tested here.
    if (count % 10 === 0) engine.pass(1)
  }
  assert.deepEqual(engine.misuse, [])
  assert.equal(engine.heldBytes, 60_000)
  collectGarbage()
  const growth = process.memoryUsage().arrayBuffers - before
  assert.ok(growth < 2 * 1024 * 1024, `${growth} bytes for 60 kB that came in 9 MB`)
})

function unknown(payload: Buffer): Buffer {
  const header = Buffer.alloc(9)
  header.writeUIntBE(payload.length, 0, 3)
  header.writeUInt8(0xbe, 3)
  return Buffer.concat([header, payload])
}

test('memory that is short is taken from the peer that holds the most', async (t) => {
  const tokens = [{ token: TOKEN, id: 'a', limits: { inFlight: 1 } }]
  await underAttack(
    t,
    async ({ open: connect, gateway, bystander, refused }) => {
      gateway.collector.script({ kind: 'slow' })
      const first = bystander.send()
      await gateway.collector.hasReached(2)
      const honest = await connect()
      await honest.write(open(1, GOOD), data(1, Buffer.alloc(200_000).subarray(0, 16_384)))
      await honest.ping()
      // Four connections of a megabyte each, from somewhere else, where there is room for two.
      const attackers: RawHttp2[] = []
      for (let count = 0; count < 4; count += 1) {
        const attacker = await connect({}, '127.0.0.2')
        attackers.push(attacker)
        for (let id = 1; id < 9; id += 2) {
          await attacker.write(open(id, GOOD))
          await upload(attacker, id, CONNECTION_WINDOW_BYTES / 4)
        }
      }
      await gateway.until((page) => refusals(page, 'memory') >= 1, 'somebody who had to go')
      const page = await gateway.metrics()
      const held = sumOf(page, 'tollgate_in_flight_bytes')
      assert.ok(held <= 2 * 1024 * 1024, `${held} bytes held`)
      assert.equal(await refused('memory'), attackers.filter(({ isOver }) => isOver).length)
      await honest.ping(2)
      assert.equal(honest.isOver, false, 'who holds little stays')
      for (const attacker of attackers) attacker.close()
      // The honest one and the bystander's second.
      await gateway.until((now) => sumOf(now, 'tollgate_held') === 2, 'the others still waiting')
      gateway.collector.resumeReading()
      assertAccepted(await first)
    },
    { env: { HOLD: '5m', MAX_IN_FLIGHT_BYTES: '2MiB', MAX_BODY: '1MiB' }, tokens },
  )
})

test('a health check that never says what it asks is answered, and its stream ends', async (t) => {
  await underAttack(t, async ({ open: connect }) => {
    const attacker = await connect()
    const fields = { ...grpcFields(undefined), ':path': '/grpc.health.v1.Health/Check' }
    await attacker.write(open(1, headerBlock(fields)), data(1, Buffer.alloc(1)))
    const [answer] = await eventually(() => {
      const frames = attacker.of(1, FRAME.HEADERS)
      return frames.length > 0 ? frames : undefined
    }, 'an answer')
    // DEADLINE_EXCEEDED.
    assert.match(answer?.payload.toString('latin1') ?? '', /grpc-status.4$/)
  })
})
