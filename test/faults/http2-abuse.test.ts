/**
 * HTTP/2 used as a weapon, in frames written by hand. Each time: the gateway's process lives, what
 * it keeps stays small, and another client is served during and after.
 */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { assertAccepted } from '../support/answers.ts'
import { frame as grpcFrame } from '../support/client.ts'
import { eventually } from '../support/eventually.ts'
import { sumOf } from '../support/exposition.ts'
import { collectGarbage } from '../support/garbage.ts'
import {
  startGateway,
  type TestGateway,
  type TestGatewayOptions,
  TOKEN,
} from '../support/gateway.ts'
import {
  FLAG,
  FRAME,
  frame,
  grpcFields,
  headerBlock,
  RawHttp2,
  type RawHttp2Options,
  SETTING,
} from '../support/raw-http2.ts'
import { openTls } from '../support/raw-socket.ts'

const ENHANCE_YOUR_CALM = 11
const REFUSED_STREAM = 7
/** What the heap may grow by, the test's own part included. */
const GROWTH_BYTES = 64 * 1024 * 1024
/** If all of them were answered, some 100 MB would wait for a client that does not read. */
const MANY = 300_000
const GOOD = headerBlock(grpcFields(TOKEN))
const BAD = headerBlock(grpcFields('no-such-token-0123456789'))

/** Runs an attack beside a client that goes on being served, and looks at what it left behind. */
async function underAttack(
  t: TestContext,
  attack: (gateway: TestGateway, open: (options?: RawHttp2Options) => Promise<RawHttp2>) => unknown,
  options: TestGatewayOptions = {},
): Promise<void> {
  const gateway = await startGateway(t, {
    ...options,
    env: { RATE: '10000/s', BURST: '10000', ...options.env },
  })
  const bystander = gateway.connect('gRPC')
  assertAccepted(await bystander.send())
  const before = await memoryBytes()
  const attackers: RawHttp2[] = []
  const open = async (settings: RawHttp2Options = {}) => {
    const attacker = new RawHttp2(await openTls(gateway, 'grpc'), settings)
    attackers.push(attacker)
    return attacker
  }
  const attacking = attack(gateway, open)
  assertAccepted(await bystander.send())
  await attacking
  assertAccepted(await bystander.send())
  const growth = (await memoryBytes()) - before
  assert.ok(growth < GROWTH_BYTES, `memory grew by ${growth} bytes`)
  t.diagnostic(`memory grew by ${growth} bytes`)
  for (const attacker of attackers) attacker.close()
  await gateway.until((page) => sumOf(page, 'tollgate_in_flight') === 0, 'the end of every call')
  await gateway.assertInvariant()
}

/** What is in use, and not what has only not been collected yet: V8 frees buffers beside the program. */
async function memoryBytes(): Promise<number> {
  for (let round = 0; round < 3; round += 1) {
    collectGarbage()
    await pause(20)
  }
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

test('rapid reset: requests taken back as fast as they are made', async (t) => {
  await underAttack(t, async (gateway, open) => {
    const attacker = await open()
    let sent = 0
    for (let id = 1; !attacker.isOver && id < 40_001; id += 2) {
      await attacker.write(
        frame(FRAME.HEADERS, FLAG.END_HEADERS, id, GOOD),
        frame(FRAME.RST_STREAM, 0, id, Buffer.from([0, 0, 0, 8])),
      )
      sent += 1
    }
    assert.equal(await attacker.ended(), ENHANCE_YOUR_CALM)
    const page = await gateway.metrics()
    assert.ok(sumOf(page, 'tollgate_arrivals_total') < 1000, `${sent} sent`)
    assert.ok(sumOf(page, 'tollgate_connections_refused_total', { reason: 'flood' }) >= 1)
    assert.ok(gateway.collector.reached.length <= 2)
  })
})

const FLOODS = {
  PING: frame(FRAME.PING, 0, 0, Buffer.alloc(8)),
  SETTINGS: frame(FRAME.SETTINGS, 0, 0, Buffer.from([0, 4, 0, 0, 0xff, 0xff])),
  'empty SETTINGS': frame(FRAME.SETTINGS, 0, 0),
  PRIORITY: frame(FRAME.PRIORITY, 0, 1, Buffer.from([0, 0, 0, 0, 1])),
  'WINDOW_UPDATE of one byte': frame(FRAME.WINDOW_UPDATE, 0, 0, Buffer.from([0, 0, 0, 1])),
  'unknown frames': frame(0xbe, 0, 0, Buffer.alloc(100)),
}

for (const [what, bytes] of Object.entries(FLOODS)) {
  for (const isDeaf of [false, true]) {
    test(`${what} flood, ${isDeaf ? 'answers unread' : 'answers read'}`, async (t) => {
      await underAttack(t, async (gateway, open) => {
        const attacker = await open({ isDeaf })
        const batch = Buffer.concat(Array<Buffer>(100).fill(bytes))
        for (let count = 0; !attacker.isOver && count < 1000; count += 1)
          await attacker.write(batch)
        if (!isDeaf) assert.equal(await attacker.ended(), ENHANCE_YOUR_CALM)
        await gateway.until(
          (page) => sumOf(page, 'tollgate_connections_refused_total', { reason: 'flood' }) === 1,
          'the flood ended',
        )
      })
    })
  }
}

test('PUSH_PROMISE, DATA on no stream, and a frame that is too long end the connection', async (t) => {
  await underAttack(t, async (_gateway, open) => {
    for (const bytes of [
      frame(FRAME.PUSH_PROMISE, FLAG.END_HEADERS, 1, Buffer.alloc(10)),
      frame(FRAME.DATA, 0, 0, Buffer.alloc(10)),
      frame(FRAME.DATA, 0, 99, Buffer.alloc(10)),
      frame(FRAME.PING, 0, 0, Buffer.alloc(7)),
      frame(FRAME.HEADERS, FLAG.END_HEADERS, 2, GOOD),
      frame(FRAME.HEADERS, FLAG.END_HEADERS, 1, Buffer.alloc(100, 0xff)),
      Buffer.concat([Buffer.from([0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1]), Buffer.alloc(100_000)]),
    ]) {
      const attacker = await open()
      await attacker.write(bytes)
      assert.notEqual(await attacker.ended(), 0)
    }
  })
})

test('a CONTINUATION flood without end', async (t) => {
  await underAttack(t, async (_gateway, open) => {
    const attacker = await open()
    await attacker.write(frame(FRAME.HEADERS, 0, 1, GOOD))
    const field = headerBlock({ 'x-more': 'x'.repeat(1000) })
    for (let count = 0; !attacker.isOver && count < 20_000; count += 1)
      await attacker.write(frame(FRAME.CONTINUATION, 0, 1, field))
    assert.equal(await attacker.ended(), ENHANCE_YOUR_CALM)
  })
})

test('empty CONTINUATION frames without end', async (t) => {
  await underAttack(t, async (_gateway, open) => {
    const attacker = await open()
    await attacker.write(frame(FRAME.HEADERS, 0, 1, GOOD))
    const batch = Buffer.concat(Array<Buffer>(100).fill(frame(FRAME.CONTINUATION, 0, 1)))
    for (let count = 0; !attacker.isOver && count < 1000; count += 1) await attacker.write(batch)
    assert.equal(await attacker.ended(), ENHANCE_YOUR_CALM)
  })
})

test('header bombs before our SETTINGS are acknowledged, and after', async (t) => {
  await underAttack(t, async (gateway, open) => {
    // 4 kB in the table, then referred to 300 times: over a megabyte of fields in a few hundred bytes.
    const define = Buffer.concat([
      Buffer.from([0x40, 1]),
      Buffer.from('x'),
      Buffer.from([0x7f, 0xa1, 0x1e]),
      Buffer.alloc(4000, 'y'),
    ])
    const bomb = Buffer.concat([GOOD, define, Buffer.alloc(300, 0x80 | 62)])
    for (const keepsSettings of [true, false]) {
      const attacker = await open({ keepsSettings })
      if (!keepsSettings) await attacker.ping()
      for (let id = 1; id < 60; id += 2)
        await attacker.write(frame(FRAME.HEADERS, FLAG.END_HEADERS | FLAG.END_STREAM, id, bomb))
      await eventually(
        () => attacker.isOver || attacker.of(59).length > 0,
        'an answer to the last of them, or the end',
      )
    }
    assert.equal(gateway.collector.reached.length, 2, 'the two of the client beside it')
  })
})

test('answers that may not be sent: a window of zero', async (t) => {
  const settings = [[SETTING.INITIAL_WINDOW_SIZE, 0]] as const
  await underAttack(t, async (gateway, open) => {
    gateway.collector.behave({ kind: 'ok', message: Buffer.alloc(100_000) })
    const attackers = await Promise.all(Array.from({ length: 4 }, () => open({ settings })))
    const body = frame(FRAME.DATA, FLAG.END_STREAM, 0, grpcFrame(Buffer.alloc(0)))
    for (let id = 1; id < 100; id += 2) {
      for (const attacker of attackers) {
        body.writeUInt32BE(id, 5)
        await attacker.write(frame(FRAME.HEADERS, FLAG.END_HEADERS, id, GOOD), Buffer.from(body))
      }
    }
    await gateway.until(
      (page) => sumOf(page, 'tollgate_arrivals_total') >= 200,
      'all of its requests',
    )
    await gateway.until((page) => sumOf(page, 'tollgate_in_flight') <= 1, 'them all answered')
    for (const attacker of attackers) {
      assert.equal(attacker.frames.filter(({ type }) => type === FRAME.DATA).length, 0)
    }
  })
})

test('more streams than allowed are refused, and no more are kept', async (t) => {
  await underAttack(t, async (gateway, open) => {
    const attacker = await open()
    const count = 300
    for (let id = 1; id < count * 2; id += 2)
      await attacker.write(frame(FRAME.HEADERS, FLAG.END_HEADERS, id, GOOD))
    await eventually(
      () => attacker.frames.filter(isRefusal).length === count - 250 || attacker.isOver,
      'the surplus refused',
    )
    const page = await gateway.metrics()
    assert.ok(sumOf(page, 'tollgate_in_flight') <= 251)
    attacker.close()
  })

  function isRefusal({ type, payload }: { type: number; payload: Buffer }): boolean {
    return type === FRAME.RST_STREAM && payload.readUInt32BE(0) === REFUSED_STREAM
  }
})

for (const [what, block] of [
  ['good', GOOD],
  ['refused', BAD],
] as const) {
  test(`${what} requests without end whose answers nobody reads`, async (t) => {
    await underAttack(t, async (gateway, open) => {
      const attacker = await open({ isDeaf: true })
      const body = grpcFrame(Buffer.alloc(0))
      let sent = 0
      let isHeldBack = false
      while (!attacker.isOver && !isHeldBack && sent < MANY) {
        const frames = Array.from({ length: 100 }, (_, index) => {
          const id = (sent + index) * 2 + 1
          return Buffer.concat([
            frame(FRAME.HEADERS, FLAG.END_HEADERS, id, block),
            frame(FRAME.DATA, FLAG.END_STREAM, id, body),
          ])
        })
        sent += frames.length
        isHeldBack = await isStuck(attacker.write(...frames))
      }
      const arrivals = sumOf(await gateway.metrics(), 'tollgate_arrivals_total')
      // What the kernel's buffers take of the answers is not ours to bound.
      assert.ok(arrivals < MANY / 3, `${arrivals} of ${sent} were read`)
      t.diagnostic(`${sent} requests written, ${arrivals} arrived`)
    })
  })
}

/** Whether a write is still waiting after two seconds: the other side no longer reads. */
async function isStuck(written: Promise<void>): Promise<boolean> {
  const waited = new AbortController()
  const { signal } = waited
  try {
    return await Promise.race([
      written.then(() => false),
      pause(2000, true, { signal }).catch(() => true),
    ])
  } finally {
    waited.abort()
  }
}
