/** Answers that the client asks for and does not take, or takes a byte at a time. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { FLAG, FRAME, frame, SETTING } from '../support/raw-http2.ts'
import { arrived, type Engine, type Pair, startEngine } from './engine.ts'
import { CODE, ping, request, windowUpdate } from './frames.ts'

const ANSWER_BYTES = 100_000
const ANSWER = Buffer.alloc(ANSWER_BYTES, 'x')
const WIDE = 2 ** 31 - 1
/** Who does not read acknowledges blindly. */
const SETTINGS_ACK = frame(FRAME.SETTINGS, FLAG.ACK, 0)

const startLargeAnswers = (t: Parameters<typeof startEngine>[0]) =>
  startEngine(t, (stream) => stream.answer(200, { 'content-type': 'text/plain' }, ANSWER))

async function ask({ client }: Pair, count: number): Promise<void> {
  for (let id = 1; id < count * 2; id += 2) await client.write(request(id))
  await client.ping()
}

/** Does something each second, until so many have passed. */
async function each(engine: Engine, pair: Pair, seconds: number, act: () => Promise<void>) {
  for (let second = 0; second < seconds; second += 1) {
    await act()
    await arrived(pair)
    engine.pass(1)
  }
}

test('a window of zero: the answers are given up, and the connection is not', async (t) => {
  const engine = await startLargeAnswers(t)
  const pair = await engine.connect({ settings: [[SETTING.INITIAL_WINDOW_SIZE, 0]] })
  await ask(pair, 10)
  assert.equal(engine.heldBytes, 10 * ANSWER_BYTES)
  engine.pass(30)
  assert.equal(pair.server.streams.size, 10)
  engine.pass(1)
  assert.equal(pair.server.streams.size, 0)
  assert.equal(engine.heldBytes, 0)
  assert.deepEqual(engine.misuse, Array<string>(10).fill('stalled_reading'))
  await pair.client.ping()
  const resets = pair.client.frames.filter(({ type }) => type === FRAME.RST_STREAM)
  assert.deepEqual(
    resets.map(({ payload }) => payload.readUInt32BE(0)),
    Array<number>(10).fill(CODE.CANCEL),
  )
})

test('windows opened a byte a second: no progress', async (t) => {
  const engine = await startLargeAnswers(t)
  const pair = await engine.connect({ settings: [[SETTING.INITIAL_WINDOW_SIZE, 0]] })
  await ask(pair, 10)
  await each(engine, pair, 31, async () => {
    for (let id = 1; id < 20; id += 2) await pair.client.write(windowUpdate(id, 1))
  })
  assert.equal(pair.server.streams.size, 0)
  assert.equal(engine.heldBytes, 0)
  assert.equal(engine.misuse.length, 10)
})

test('a connection window opened a byte a second ends the connection', async (t) => {
  const engine = await startLargeAnswers(t)
  const pair = await engine.connect({ settings: [[SETTING.INITIAL_WINDOW_SIZE, WIDE]] })
  await ask(pair, 10)
  assert.ok(engine.heldBytes >= 9 * ANSWER_BYTES)
  await each(engine, pair, 33, () => pair.client.write(windowUpdate(0, 1), ping()))
  assert.deepEqual(engine.misuse, ['stalled_reading'])
  assert.equal(await pair.client.ended(), CODE.ENHANCE_YOUR_CALM)
  assert.equal(engine.heldBytes, 0)
})

test('a socket that is never read: what waits is bounded, and the connection ends', async (t) => {
  const engine = await startLargeAnswers(t)
  const pair = await engine.connect({
    isDeaf: true,
    settings: [[SETTING.INITIAL_WINDOW_SIZE, WIDE]],
  })
  const { client, server } = pair
  await client.write(SETTINGS_ACK, windowUpdate(0, WIDE - 65_535))
  // 25 MB, which no kernel takes.
  for (let id = 1; id < 500; id += 2) await client.write(request(id))
  await arrived(pair)
  const { pendingBytes } = server.outbox
  assert.ok(pendingBytes > 0 && pendingBytes < 1024 * 1024, `${pendingBytes} bytes`)
  assert.ok(engine.heldBytes > 0)
  engine.pass(29)
  assert.deepEqual(engine.misuse, [])
  engine.pass(4)
  assert.deepEqual(engine.misuse, ['stalled_reading'])
  assert.equal(server.isClosed, true)
  assert.equal(engine.heldBytes, 0)
})

test('requests whose answers nobody reads are not read either', async (t) => {
  const engine = await startEngine(t, (stream) =>
    stream.answer(200, { 'x-long': 'x'.repeat(1000) }),
  )
  const pair = await engine.connect({ isDeaf: true })
  await pair.client.write(SETTINGS_ACK)
  let most = 0
  let asked = 0
  for (let id = 1; id < 60_001 && asked < 30_000; id += 200) {
    const batch = Array.from({ length: 100 }, (_, at) => request(id + at * 2))
    const written = pair.client.write(...batch)
    asked += 100
    // Once it is not read, the kernel's buffers fill up and writing takes for ever.
    const isStuck = await Promise.race([written.then(() => false), lookAgain()])
    most = Math.max(most, pair.server.outbox.pendingBytes)
    if (isStuck) break
  }
  assert.ok(asked < 30_000, 'it was held back')
  assert.ok(most < 512 * 1024, `${most} bytes waited`)
  engine.pass(32)
  assert.deepEqual(engine.misuse, ['stalled_reading'])
})

/** Resolves with true when nothing has moved for half a second. */
function lookAgain(): Promise<true> {
  return new Promise((resolve) => setTimeout(() => resolve(true), 500).unref())
}

test('a slow client that takes what it can is served to the end', async (t) => {
  const engine = await startLargeAnswers(t)
  const pair = await engine.connect({ settings: [[SETTING.INITIAL_WINDOW_SIZE, 0]] })
  await ask(pair, 1)
  // A kilobyte a second, in pieces of ten seconds.
  for (let round = 0; round * 10_240 < ANSWER_BYTES; round += 1) {
    await pair.client.write(windowUpdate(1, 10_240), windowUpdate(0, 10_240))
    await pair.client.ping()
    engine.pass(10)
  }
  assert.deepEqual(engine.misuse, [])
  const bytes = pair.client.of(1, FRAME.DATA).reduce((sum, { payload }) => sum + payload.length, 0)
  assert.equal(bytes, ANSWER_BYTES)
  assert.equal(engine.heldBytes, 0)
})
