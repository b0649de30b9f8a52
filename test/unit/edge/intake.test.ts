import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { gzipSync } from 'node:zlib'
import fc from 'fast-check'
import type { Body, BodySink } from '../../../src/edge/call.ts'
import type { Encoding } from '../../../src/edge/headers.ts'
import { InFlightBytes } from '../../../src/edge/in-flight-bytes.ts'
import { Intake } from '../../../src/edge/intake.ts'
import { ProgressWatch } from '../../../src/edge/progress-watch.ts'
import { BodyRefused, Fault } from '../../../src/pipeline/fault.ts'
import { frame } from '../../support/client.ts'

const MAX_BYTES = 2 * 1024 * 1024
const WHOLE_BYTES = 256 * 1024

/** A body whose pieces the test hands over. */
class HandedBody implements Body {
  sink: BodySink | undefined
  isPaused = false
  onResume: () => void = () => {}

  start(sink: BodySink): void {
    this.sink = sink
  }

  pause(): void {
    this.isPaused = true
  }

  resume(): void {
    this.isPaused = false
    queueMicrotask(this.onResume)
  }
}

interface Reading {
  readonly intake: Intake
  readonly body: HandedBody
  readonly room: InFlightBytes
}

function read(
  framing: { isGrpc?: boolean; lengthBytes?: number; encoding?: Encoding },
  maxInFlightBytes = 8 * 1024 * 1024,
): Reading {
  const { isGrpc = false, lengthBytes, encoding } = framing
  const body = new HandedBody()
  const room = new InFlightBytes(maxInFlightBytes)
  const intake = new Intake(
    body,
    { isGrpc, lengthBytes, encoding },
    {
      maxBodyBytes: MAX_BYTES,
      bodyTimeoutMs: 60_000,
      inFlightBytes: room,
      progressWatch: new ProgressWatch(60_000),
    },
  )
  return { intake, body, room }
}

async function collected(intake: Intake): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  for await (const chunk of intake.stream()) chunks.push(chunk)
  return Buffer.concat(chunks)
}

async function assertRefused(
  promise: Promise<unknown>,
  reason: string,
  detail?: RegExp,
): Promise<void> {
  await assert.rejects(promise, (thrown) => {
    assert.ok(thrown instanceof BodyRefused, String(thrown))
    assert.equal(thrown.refusal.reason, reason)
    if (detail !== undefined) assert.match(thrown.refusal.detail ?? '', detail)
    return true
  })
}

test('a gRPC message split at each byte is the same message', async () => {
  const message = Buffer.from('a message')
  const framed = frame(message)
  for (let at = 0; at <= framed.length; at += 1) {
    const { intake, body, room } = read({ isGrpc: true })
    const ready = intake.ready()
    body.sink?.chunk(framed.subarray(0, at))
    body.sink?.chunk(framed.subarray(at))
    body.sink?.end()
    await ready
    assert.deepEqual(Buffer.concat(intake.whole ?? []), message)
    assert.equal(intake.lengthBytes, message.length)
    assert.equal(intake.receivedBytes, message.length)
    assert.equal(room.bytes, message.length)
    intake.dispose()
    assert.equal(room.bytes, 0)
  }
})

test('an empty message, over gRPC and over HTTP', async () => {
  for (const isGrpc of [true, false]) {
    const { intake, body } = read({ isGrpc })
    const ready = intake.ready()
    if (isGrpc) body.sink?.chunk(frame(Buffer.alloc(0)))
    body.sink?.end()
    await ready
    assert.deepEqual(intake.whole, [])
    assert.equal(intake.lengthBytes, 0)
    assert.equal((await collected(intake)).length, 0)
    intake.dispose()
  }
})

const MALFORMED: Readonly<Record<string, readonly [Buffer, RegExp]>> = {
  'nothing at all': [Buffer.alloc(0), /gRPC message is missing/],
  'half a prefix': [Buffer.from([0, 0, 0]), /gRPC message is missing/],
  'a flag that is none': [Buffer.from([2, 0, 0, 0, 0]), /flag is neither 0 nor 1/],
  'compressed with nothing': [Buffer.from([1, 0, 0, 0, 1, 9]), /grpc-encoding is missing/],
  'cut short': [Buffer.from([0, 0, 0, 0, 2, 9]), /ends early/],
  'two messages': [
    Buffer.concat([frame(Buffer.from('one')), frame(Buffer.from('two'))]),
    /more than one message/,
  ],
}

for (const [name, [bytes, detail]] of Object.entries(MALFORMED)) {
  test(`gRPC, malformed: ${name}`, async () => {
    for (const pieceBytes of [1, 1000]) {
      const { intake, body, room } = read({ isGrpc: true })
      const ready = intake.ready()
      for (let at = 0; at < bytes.length; at += pieceBytes)
        body.sink?.chunk(bytes.subarray(at, at + pieceBytes))
      body.sink?.end()
      await assertRefused(ready, 'malformed', detail)
      intake.dispose()
      assert.equal(room.bytes, 0)
    }
  })
}

test('HTTP: less or more than was announced', async () => {
  for (const sent of ['1234', '123456']) {
    const { intake, body } = read({ lengthBytes: 5 })
    const ready = intake.ready()
    body.sink?.chunk(Buffer.from(sent))
    body.sink?.end()
    await assertRefused(ready, 'malformed')
    intake.dispose()
  }
})

test('the flag of gRPC says whether the coding applies', async () => {
  const { intake, body } = read({ isGrpc: true, encoding: 'gzip' })
  const ready = intake.ready()
  body.sink?.chunk(frame(Buffer.from('in plain'), false))
  body.sink?.end()
  await ready
  assert.equal(intake.encoding, undefined)
  intake.dispose()

  const other = read({ isGrpc: true, encoding: 'gzip' })
  const otherReady = other.intake.ready()
  other.body.sink?.chunk(frame(gzipSync('packed'), true))
  other.body.sink?.end()
  await otherReady
  assert.equal(other.intake.encoding, 'gzip')
  other.intake.dispose()
})

test('too large: as announced before a byte is read, over gRPC after the prefix, else when it is', async () => {
  const http = read({ lengthBytes: MAX_BYTES + 1 })
  await assertRefused(http.intake.ready(), 'too_large')
  assert.equal(http.body.sink, undefined, 'nothing was read')

  const grpc = read({ isGrpc: true })
  const ready = grpc.intake.ready()
  const prefix = Buffer.alloc(5)
  prefix.writeUInt32BE(MAX_BYTES + 1, 1)
  grpc.body.sink?.chunk(prefix)
  await assertRefused(ready, 'too_large')

  const chunked = read({})
  const chunkedReady = chunked.intake.ready()
  chunked.body.sink?.chunk(Buffer.alloc(MAX_BYTES))
  chunked.body.sink?.chunk(Buffer.alloc(1))
  await assertRefused(chunkedReady, 'too_large')
  for (const { intake, room } of [http, grpc, chunked]) {
    intake.dispose()
    assert.equal(room.bytes, 0)
  }
})

test('no room in memory: overloaded, before the body is read where its length is known', async () => {
  const known = read({ lengthBytes: 1000 }, 999)
  await assertRefused(known.intake.ready(), 'overloaded')
  assert.equal(known.body.sink, undefined)

  const unknown = read({}, 999)
  const ready = unknown.intake.ready()
  unknown.body.sink?.chunk(Buffer.alloc(1000))
  await assertRefused(ready, 'overloaded')
  unknown.intake.dispose()
  assert.equal(unknown.room.bytes, 0)
})

test('a large body is read no faster than the collector takes it', async () => {
  const lengthBytes = 1024 * 1024
  const pieceBytes = 64 * 1024
  const { intake, body, room } = read({ lengthBytes })
  const ready = intake.ready()
  let sent = 0
  const push = () => {
    while (!body.isPaused && sent < lengthBytes) {
      body.sink?.chunk(Buffer.alloc(pieceBytes, 1 + sent / pieceBytes))
      sent += pieceBytes
      if (sent === lengthBytes) body.sink?.end()
    }
  }
  body.onResume = push
  push()
  await ready
  assert.equal(intake.whole, undefined)
  assert.equal(sent, WHOLE_BYTES, 'so much is read ahead')
  await turn()
  push()
  assert.equal(sent, WHOLE_BYTES, 'and no more until it is taken')
  let received = 0
  let most = 0
  for await (const chunk of intake.stream()) {
    received += chunk.length
    most = Math.max(most, room.bytes)
  }
  assert.equal(received, lengthBytes)
  assert.ok(most <= WHOLE_BYTES + pieceBytes, `${most} bytes were held`)
  intake.dispose()
  assert.equal(room.bytes, 0)
})

test('the last piece of a large body waits for the check of the whole', async () => {
  const message = Buffer.concat([gzipSync(randomBytes(400_000)), Buffer.from('surplus')])
  const { intake, body, room } = read({ lengthBytes: message.length, encoding: 'gzip' })
  const ready = intake.ready()
  body.sink?.chunk(message.subarray(0, 300_000))
  await ready
  body.sink?.chunk(message.subarray(300_000))
  body.sink?.end()
  const seen: Uint8Array[] = []
  await assertRefused(
    (async () => {
      for await (const chunk of intake.stream()) seen.push(chunk)
    })(),
    'malformed',
  )
  assert.ok(Buffer.concat(seen).length < message.length)
  intake.dispose()
  assert.equal(room.bytes, 0)
})

test('a client that leaves is told of to whoever reads', async () => {
  const small = read({ lengthBytes: 10 })
  const ready = small.intake.ready()
  small.body.sink?.failed(new Error('reset'))
  await assert.rejects(
    ready,
    (thrown) => thrown instanceof Fault && thrown.reason === 'client_gone',
  )

  const large = read({ lengthBytes: 500_000 })
  const largeReady = large.intake.ready()
  large.body.sink?.chunk(Buffer.alloc(300_000))
  await largeReady
  const reading = collected(large.intake)
  large.body.sink?.failed(new Error('reset'))
  await assert.rejects(reading, (thrown) => thrown instanceof Fault && thrown.source === 'client')
  for (const { intake, room } of [small, large]) {
    intake.dispose()
    assert.equal(room.bytes, 0)
  }
})

test('a body without progress is given up at the second look', async () => {
  const { intake, body, room } = read({ lengthBytes: 100_000 })
  const ready = intake.ready()
  body.sink?.chunk(Buffer.alloc(50_000))
  intake.checkProgress()
  body.sink?.chunk(Buffer.alloc(20_000))
  // 256 bytes a second over a minute.
  intake.checkProgress()
  body.sink?.chunk(Buffer.alloc(256 * 60 - 1))
  intake.checkProgress()
  await assert.rejects(
    ready,
    (thrown) => thrown instanceof Fault && thrown.reason === 'client_gone',
  )
  intake.dispose()
  assert.equal(room.bytes, 0)
})

test('however it ends, all memory is given back, and what is whole is what was sent', async () => {
  const piece = fc.integer({ min: 0, max: 200_000 })
  const scenario = fc.record({
    isGrpc: fc.boolean(),
    pieces: fc.array(piece, { maxLength: 8 }),
    announced: fc.constantFrom('right', 'none', 'less', 'more'),
    ending: fc.constantFrom('end', 'failed', 'dispose'),
    reads: fc.nat({ max: 8 }),
    roomBytes: fc.constantFrom(10_000, 300_000, 8 * 1024 * 1024),
  })
  await fc.assert(
    fc.asyncProperty(scenario, async ({ isGrpc, pieces, announced, ending, reads, roomBytes }) => {
      const message = randomBytes(pieces.reduce((sum, bytes) => sum + bytes, 0))
      const off = announced === 'less' ? -1 : announced === 'more' ? 1 : 0
      const told = Math.max(0, message.length + off)
      const { intake, body, room } = read(
        isGrpc ? { isGrpc } : announced === 'none' ? {} : { lengthBytes: told },
        roomBytes,
      )
      const ready = intake.ready()
      ready.catch(() => {})
      if (isGrpc) {
        const prefix = Buffer.alloc(5)
        prefix.writeUInt32BE(told, 1)
        body.sink?.chunk(prefix)
      }
      let at = 0
      for (const bytes of pieces) {
        body.sink?.chunk(message.subarray(at, at + bytes))
        at += bytes
        await turn()
        assert.ok(room.bytes <= roomBytes)
      }
      if (ending === 'end') body.sink?.end()
      else if (ending === 'failed') body.sink?.failed(new Error('reset'))
      else intake.dispose()
      const isGood = await Promise.race([
        ready.then(
          () => true,
          () => false,
        ),
        turn(false),
      ])
      if (isGood && ending === 'end') {
        let left = reads
        const seen: Uint8Array[] = []
        try {
          for await (const chunk of intake.stream()) {
            seen.push(chunk)
            left -= 1
            if (left < 0) break
          }
          if (left >= 0) assert.ok(Buffer.concat(seen).equals(message))
        } catch (thrown) {
          assert.ok(thrown instanceof BodyRefused || thrown instanceof Fault)
        }
      }
      intake.dispose()
      assert.equal(room.bytes, 0)
    }),
    { numRuns: 200 },
  )
})
