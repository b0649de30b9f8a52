/** Streams that are opened to be ended: by the client (CVE-2023-44487) or by mistakes of the client's that make us do it (CVE-2025-8671). */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { sumOf } from '../support/exposition.ts'
import { TOKEN } from '../support/gateway.ts'
import { FLAG, FRAME, frame, grpcFields, headerBlock, type RawHttp2 } from '../support/raw-http2.ts'
import { BAD, CODE, data, GOOD, open, openWithPriority, reset, windowUpdate } from './frames.ts'
import { type Scene, underAttack } from './scene.ts'

const SHORT = headerBlock(grpcFields(TOKEN, { 'content-length': '3' }))
const MALFORMED = headerBlock(grpcFields(TOKEN, { connection: 'close' }))
const EMPTY = Buffer.alloc(0)

/** What is sent on each stream, and at most how many streams pass before the end. */
const ATTACKS: Readonly<Record<string, readonly [(id: number) => Buffer, most: number]>> = {
  'rapid reset': [(id) => Buffer.concat([open(id), reset(id)]), 110],
  'window update of zero': [(id) => Buffer.concat([open(id), windowUpdate(id, 0)]), 60],
  'window overflow': [(id) => Buffer.concat([open(id), windowUpdate(id, 2 ** 31 - 1)]), 60],
  'DATA behind the end': [
    (id) => Buffer.concat([open(id), data(id, EMPTY, true), data(id, EMPTY)]),
    60,
  ],
  'HEADERS behind the end': [
    (id) =>
      Buffer.concat([
        open(id),
        data(id, Buffer.alloc(5), true),
        frame(FRAME.HEADERS, FLAG.END_HEADERS | FLAG.END_STREAM, id, EMPTY),
      ]),
    60,
  ],
  'a stream that depends on itself': [(id) => openWithPriority(id, id), 60],
  'more than the content-length': [
    (id) => Buffer.concat([open(id, SHORT), data(id, Buffer.alloc(10))]),
    60,
  ],
  'less than the content-length': [
    (id) => Buffer.concat([open(id, SHORT), data(id, Buffer.alloc(1), true)]),
    60,
  ],
  'malformed header fields': [(id) => open(id, MALFORMED), 60],
  'trailers without an end': [(id) => Buffer.concat([open(id), open(id, GOOD)]), 60],
}

for (const [what, [streamOf, most]] of Object.entries(ATTACKS)) {
  test(`${what}, stream after stream, ends the connection`, async (t) => {
    await underAttack(t, async (scene) => {
      const attacker = await scene.open()
      await untilOver(attacker, streamOf)
      assert.equal(await attacker.ended(), CODE.ENHANCE_YOUR_CALM)
      await assertCutShort(scene, most)
    })
  })
}

async function untilOver(attacker: RawHttp2, streamOf: (id: number) => Buffer): Promise<void> {
  for (let id = 1; id < 4001 && !attacker.isOver; id += 200) {
    const streams = Array.from({ length: 100 }, (_, at) => streamOf(id + at * 2))
    await attacker.write(...streams)
  }
}

async function assertCutShort({ gateway, refused }: Scene, most: number): Promise<void> {
  assert.equal(await refused('flood'), 1)
  const page = await gateway.metrics()
  const arrived = sumOf(page, 'tollgate_arrivals_total')
  assert.ok(arrived <= most, `${arrived} requests arrived`)
}

test('rapid reset without a token is answered each time, until it bans', async (t) => {
  const env = { BAN_EXEMPT: 'none', BAN_STRIKES: '5' }
  const act = async ({ open: connect, gateway }: Scene) => {
    const attacker = await connect({}, '127.0.0.2')
    await untilOver(attacker, (id) => Buffer.concat([open(id, BAD), reset(id)]))
    // A ban ends the connection behind the answer that tells of it, what has come by then as a flood.
    const code = await attacker.ended()
    assert.ok(code === CODE.NO_ERROR || code === CODE.ENHANCE_YOUR_CALM, `code ${code}`)
    const { banned = 0, token_unknown: unknown } = await gateway.outcomes()
    assert.equal(unknown, 5)
    assert.ok(banned <= 1, `${banned} more were answered`)
  }
  await underAttack(t, act, { env })
})

test('stream after stream beyond the limit ends the connection', async (t) => {
  await underAttack(
    t,
    async ({ open: connect, gateway, refused }) => {
      const attacker = await connect()
      // Our limit has been acknowledged, so that nobody can say he did not know.
      await attacker.ping()
      await untilOver(attacker, (id) => open(id))
      assert.equal(await attacker.ended(), CODE.ENHANCE_YOUR_CALM)
      assert.equal(await refused('flood'), 1)
      const page = await gateway.metrics()
      assert.ok(sumOf(page, 'tollgate_arrivals_total') <= 10 + 3)
    },
    { env: { MAX_STREAMS: '10' } },
  )
})
