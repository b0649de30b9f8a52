/** Frames that make work and carry nothing: a few are forgiven, a flood ends its connection. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { FLAG, FRAME, frame } from '../support/raw-http2.ts'
import {
  CODE,
  data,
  goaway,
  open,
  padding,
  ping,
  priority,
  reset,
  settings,
  times,
  windowUpdate,
} from './frames.ts'
import { underAttack } from './scene.ts'

/** What the engine forgives at once, in points: `PATIENCE` in src/http2/connection.ts. */
const PATIENCE = 1000

/** What is flooded, what one frame of it costs, and frames before the flood. */
const FLOODS: Readonly<Record<string, readonly [frame: Buffer, points: number, first?: Buffer]>> = {
  PING: [ping(), 5],
  'PING ACKs of nothing': [ping(FLAG.ACK), 5],
  SETTINGS: [frame(FRAME.SETTINGS, 0, 0), 20],
  'SETTINGS of a hundred values': [settings(100), 120],
  'SETTINGS ACKs of nothing': [frame(FRAME.SETTINGS, FLAG.ACK, 0), 5],
  PRIORITY: [priority(1, 0), 1],
  'unknown frames': [frame(0xbe, 0, 0, Buffer.alloc(100)), 2],
  'WINDOW_UPDATE of the connection': [windowUpdate(0, 1), 1],
  'WINDOW_UPDATE of a stream': [windowUpdate(1, 1), 1, open(1)],
  'GOAWAY on a connection with work': [goaway(), 20, open(1)],
  'empty DATA': [data(1, Buffer.alloc(0)), 5, open(1)],
  'DATA of padding alone': [padding(1), 5, open(1)],
  'DATA of one byte': [data(1, Buffer.alloc(1)), 1, open(1)],
  'RST_STREAM of a stream that is over': [reset(1), 10, Buffer.concat([open(1), reset(1)])],
}

for (const [what, [bytes, points, first = Buffer.alloc(0)]] of Object.entries(FLOODS)) {
  test(`a flood of ${what} ends its connection, and a few of them do not`, async (t) => {
    await underAttack(t, async ({ open: connect, refused }) => {
      const few = await connect()
      // Half of what is forgiven: the hello has cost something, too.
      await few.write(first, times(Math.floor(PATIENCE / points / 2), bytes))
      await few.ping()
      assert.equal(few.isOver, false, 'a few')

      const flood = await connect()
      await flood.write(first)
      const batch = times(Math.ceil(PATIENCE / points), bytes)
      for (let batches = 0; batches < 20 && !flood.isOver; batches += 1) await flood.write(batch)
      assert.equal(await flood.ended(), CODE.ENHANCE_YOUR_CALM)
      assert.equal(await refused('flood'), 1)
    })
  })
}
