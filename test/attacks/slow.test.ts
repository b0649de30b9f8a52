/** Connections that are held open by doing next to nothing. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { FLAG, FRAME, frame, PREFACE } from '../support/raw-http2.ts'
import { arrived, type Pair, startEngine } from './engine.ts'
import { CODE, GOOD, ping, request } from './frames.ts'

const HELLO = Buffer.concat([PREFACE, frame(FRAME.SETTINGS, 0, 0)])

/** What each client says before it falls silent. */
const SILENCES: Readonly<Record<string, Buffer>> = {
  nothing: Buffer.alloc(0),
  'half a preface': PREFACE.subarray(0, 20),
  'a preface without SETTINGS': PREFACE,
  'SETTINGS, and no ACK of ours': HELLO,
  'a request, and no ACK of ours': Buffer.concat([HELLO, request(1)]),
}

for (const [what, bytes] of Object.entries(SILENCES)) {
  test(`a client that says ${what} is cut off`, async (t) => {
    const engine = await startEngine(t)
    const pair = await engine.connect({ isMute: true })
    await pair.client.write(bytes)
    await arrived(pair)
    engine.pass(10)
    assert.deepEqual(engine.misuse, [])
    engine.pass(1)
    assert.deepEqual(engine.misuse, ['no_hello'])
    assert.equal(await pair.client.ended(), CODE.SETTINGS_TIMEOUT)
  })
}

test('a client that speaks before its SETTINGS is cut off at once', async (t) => {
  const engine = await startEngine(t)
  const { client } = await engine.connect({ isMute: true })
  await client.write(PREFACE, request(1))
  assert.equal(await client.ended(), CODE.PROTOCOL_ERROR)
  assert.deepEqual(engine.misuse, ['protocol_error'])
})

/** Writes a byte of `bytes` each second until so many are out. */
async function trickle(pair: Pair, bytes: Buffer, seconds: number, pass: () => void) {
  for (let at = 0; at < seconds && !pair.client.isOver; at += 1) {
    await pair.client.write(bytes.subarray(at, at + 1))
    await arrived(pair)
    pass()
  }
}

for (const [what, bytes] of Object.entries({
  'a HEADERS frame': frame(FRAME.HEADERS, FLAG.END_HEADERS | FLAG.END_STREAM, 1, GOOD),
  'a SETTINGS frame': frame(FRAME.SETTINGS, 0, 0, Buffer.alloc(600)),
  'an unknown frame': frame(0xbe, 0, 0, Buffer.alloc(600)),
})) {
  test(`${what} that arrives a byte a second is cut off, other streams or not`, async (t) => {
    const engine = await startEngine(t)
    const pair = await engine.connect()
    // An open stream must not be a licence.
    await pair.client.write(frame(FRAME.HEADERS, FLAG.END_HEADERS, 99, GOOD))
    await pair.client.ping()
    await trickle(pair, bytes, 11, () => engine.pass(1))
    assert.deepEqual(engine.misuse, [])
    await trickle(pair, bytes.subarray(11), 1, () => engine.pass(1))
    assert.deepEqual(engine.misuse, ['slow_headers'])
    assert.equal(await pair.client.ended(), CODE.ENHANCE_YOUR_CALM)
  })
}

test('a header block that gets a frame every other second is cut off', async (t) => {
  const engine = await startEngine(t)
  const pair = await engine.connect()
  await pair.client.ping()
  await pair.client.write(frame(FRAME.HEADERS, 0, 1, GOOD))
  await arrived(pair)
  for (let count = 0; count < 5; count += 1) {
    engine.pass(2)
    await pair.client.write(frame(FRAME.CONTINUATION, 0, 1, Buffer.alloc(0)))
    await arrived(pair)
  }
  assert.deepEqual(engine.misuse, [])
  engine.pass(2)
  assert.deepEqual(engine.misuse, ['slow_headers'])
  assert.equal(await pair.client.ended(), CODE.ENHANCE_YOUR_CALM)
})

test('many header blocks, one under way at each look, are no slow one', async (t) => {
  const engine = await startEngine(t)
  const pair = await engine.connect()
  await pair.client.ping()
  const half = GOOD.length >> 1
  for (let id = 1; id < 61; id += 2) {
    await pair.client.write(frame(FRAME.HEADERS, FLAG.END_STREAM, id, GOOD.subarray(0, half)))
    await arrived(pair)
    engine.pass(1)
    await pair.client.write(frame(FRAME.CONTINUATION, FLAG.END_HEADERS, id, GOOD.subarray(half)))
    await arrived(pair)
  }
  assert.deepEqual(engine.misuse, [])
})

for (const [what, isPinging] of [
  ['silent', false],
  ['pinging', true],
] as const) {
  test(`an idle connection, ${what}, is told to leave after its time`, async (t) => {
    const engine = await startEngine(t)
    const pair = await engine.connect()
    await pair.client.write(request(1))
    await pair.client.ping()
    for (let minute = 0; minute < 5; minute += 1) {
      if (isPinging) await pair.client.write(ping())
      await arrived(pair)
      engine.pass(60)
    }
    assert.deepEqual(engine.misuse, [])
    engine.pass(1)
    assert.deepEqual(engine.misuse, ['idle'])
    assert.equal(await pair.client.ended(), CODE.NO_ERROR)
  })
}

test('a connection made ahead of its first request is idle, not slow', async (t) => {
  const engine = await startEngine(t)
  const pair = await engine.connect()
  await pair.client.ping()
  engine.pass(299)
  await pair.client.write(request(1))
  await pair.client.ping()
  engine.pass(299)
  assert.deepEqual(engine.misuse, [])
  assert.equal(pair.client.isOver, false)
})

test('half a socket: a client that ends its side has ended its requests', async (t) => {
  const engine = await startEngine(t)
  const { client, server } = await engine.connect()
  await client.write(frame(FRAME.HEADERS, FLAG.END_HEADERS, 1, GOOD))
  await client.ping()
  assert.equal(server.streams.size, 1)
  client.socket.end()
  await client.ended()
  assert.equal(server.streams.size, 0)
  assert.equal(server.isClosed, true)
})
