/** What honest clients do that looks like an attack from close up. None of them may be cut off. */
import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { assertAccepted } from '../support/answers.ts'
import { runToEnd } from '../support/child.ts'
import { frame as grpcFrame } from '../support/client.ts'
import { eventually } from '../support/eventually.ts'
import { type Page, sumOf } from '../support/exposition.ts'
import {
  startGateway,
  type TestGateway,
  type TestGatewayOptions,
  TOKEN,
} from '../support/gateway.ts'
import {
  FRAME,
  frame,
  grpcFields,
  RawHttp2,
  type RawHttp2Options,
  SETTING,
} from '../support/raw-http2.ts'
import { openTls } from '../support/raw-socket.ts'
import { hasTools, tool } from '../support/tools.ts'
import { BAD, data, open, ping, priority, request, reset, windowUpdate } from './frames.ts'

const NOTHING = Buffer.alloc(0)

/** A gateway with no budgets, and one connection to it, which must be open at the end. */
async function served(
  t: TestContext,
  act: (client: RawHttp2, gateway: TestGateway) => Promise<void>,
  { client: settings = {}, ...options }: TestGatewayOptions & { client?: RawHttp2Options } = {},
): Promise<void> {
  const gateway = await startGateway(t, {
    ...options,
    env: { RATE: 'off', IN_FLIGHT: 'off', ...options.env },
  })
  const client = new RawHttp2(await openTls(gateway, 'grpc'), settings)
  try {
    await act(client, gateway)
    await client.ping(99)
    assert.equal(client.isOver, false, 'it was cut off')
    assert.equal(refusedInAll(await gateway.metrics()), 0)
  } finally {
    client.close()
    gateway.collector.resumeReading()
  }
}

function refusedInAll(page: Page): number {
  return sumOf(page, 'tollgate_connections_refused_total')
}

function accepted(page: Page): number {
  return sumOf(page, 'tollgate_outcomes_total', { outcome: 'accepted' })
}

/** Sends requests, 100 at a time, and something after each of their answers or with each of them. */
async function converse(
  client: RawHttp2,
  count: number,
  { before, after }: { before?: (id: number) => Buffer; after?: (id: number) => Buffer },
): Promise<void> {
  for (let first = 1; first < count * 2; first += 200) {
    const ids = Array.from({ length: 100 }, (_, at) => first + at * 2)
    for (const id of ids) await client.write(before?.(id) ?? NOTHING, request(id))
    for (const id of ids) {
      await eventually(() => client.isOver || client.of(id, FRAME.HEADERS).length === 2, 'trailers')
      await client.write(after?.(id) ?? NOTHING)
    }
  }
}

test('a PING and two window updates after each answer, as clients do that measure bandwidth', async (t) => {
  await served(t, async (client, gateway) => {
    const after = (id: number) =>
      Buffer.concat([ping(), windowUpdate(0, 100), windowUpdate(id, 100)])
    await converse(client, 1000, { after })
    assert.equal(accepted(await gateway.metrics()), 1000)
  })
})

test('priorities and unknown frames with each request', async (t) => {
  await served(t, async (client, gateway) => {
    const extension = frame(0x10, 0, 0, Buffer.from('u=3'))
    await converse(client, 1000, { before: (id) => Buffer.concat([priority(id, 0), extension]) })
    assert.equal(accepted(await gateway.metrics()), 1000)
  })
})

test('as many calls as may be open, all cancelled at their deadline, again and again', async (t) => {
  await served(t, async (client, gateway) => {
    gateway.collector.behave({ kind: 'stall' })
    for (let round = 0; round < 2; round += 1) {
      const first = 1 + round * 500
      for (let id = first; id < first + 500; id += 2) await client.write(request(id))
      await gateway.collector.hasReached(250 * (round + 1))
      // A deadline is a second at least, and time is looked at once a second.
      await new Promise((resolve) => setTimeout(resolve, 1100))
      for (let id = first; id < first + 500; id += 2) await client.write(reset(id))
      await gateway.until((page) => sumOf(page, 'tollgate_in_flight') === 0, 'all of them gone')
    }
  })
})

test('a thousand calls at once before it knows our limit', async (t) => {
  await served(
    t,
    async (client, gateway) => {
      const calls = Array.from({ length: 1000 }, (_, at) => request(1 + at * 2))
      await client.write(...calls)
      await gateway.until((page) => sumOf(page, 'tollgate_in_flight') === 0, 'an end of them')
      // REFUSED_STREAM is what clients send again by themselves.
      const refused = client.frames.filter(
        ({ type, payload }) => type === FRAME.RST_STREAM && payload.readUInt32BE(0) === 7,
      )
      assert.equal(refused.length + accepted(await gateway.metrics()), 1000)
    },
    { client: { keepsSettings: true } },
  )
})

test('bodies on their way when their calls are refused', async (t) => {
  await served(t, async (client, gateway) => {
    const body = Buffer.alloc(10_000)
    for (let round = 0; round < 2; round += 1) {
      const ids = Array.from({ length: 250 }, (_, at) => 1 + (round * 250 + at) * 2)
      // All headers first: all the bodies cross their answers.
      await client.write(...ids.map((id) => open(id, BAD)))
      await eventually(() => client.of(ids.at(-1) ?? 0).length > 0, 'the last answer')
      for (const id of ids) await client.write(data(id, body), data(id, body, true))
    }
    await client.ping()
    assert.equal((await gateway.outcomes()).token_unknown, 500)
  })
})

test('large answers, a window update for each of their frames and for the connection', async (t) => {
  const ANSWER_BYTES = 3 * 1024 * 1024
  await served(
    t,
    async (client, gateway) => {
      gateway.collector.behave({ kind: 'ok', message: Buffer.alloc(ANSWER_BYTES) })
      let seen = 0
      client.socket.on('data', () => {
        const updates: Buffer[] = []
        for (; seen < client.frames.length; seen += 1) {
          const { type, streamId, payload } = client.frames[seen] ?? {
            type: -1,
            streamId: 0,
            payload: Buffer.alloc(0),
          }
          if (type !== FRAME.DATA || payload.length === 0) continue
          updates.push(windowUpdate(0, payload.length), windowUpdate(streamId, payload.length))
        }
        if (updates.length > 0) client.socket.write(Buffer.concat(updates))
      })
      for (let id = 1; id < 11; id += 2) await client.write(request(id))
      await gateway.until((page) => accepted(page) === 5, 'all of them answered')
      await eventually(() => client.of(9, FRAME.HEADERS).length === 2, 'the last trailers')
    },
    { client: { settings: [[SETTING.INITIAL_WINDOW_SIZE, 65_535]] } },
  )
})

test('an upload in frames of every size, the prefix in one of its own', async (t) => {
  await served(t, async (client, gateway) => {
    const message = Buffer.alloc(4 * 1024 * 1024, 'm')
    await client.write(open(1))
    const bytes = grpcFrame(message)
    await client.ping()
    // What its SETTINGS say.
    let window = 256 * 1024
    let updates = 0
    let at = 0
    for (let size = 5; at < bytes.length; size = Math.min(16_384, size * 2)) {
      const length = Math.min(size, bytes.length - at)
      await eventually(() => {
        const all = client.of(1, FRAME.WINDOW_UPDATE)
        for (; updates < all.length; updates += 1)
          window += all[updates]?.payload.readUInt32BE(0) ?? 0
        return window >= length && connectionWindow(client) - at >= length
      }, 'room')
      window -= length
      await client.write(data(1, bytes.subarray(at, at + length), at + length === bytes.length))
      at += length
    }
    await gateway.until((page) => accepted(page) === 1, 'it accepted')
  })
})

/** What all of a connection's bodies may come to so far. */
function connectionWindow(client: RawHttp2): number {
  const updates = client.of(0, FRAME.WINDOW_UPDATE)
  return updates.reduce((sum, { payload }) => sum + payload.readUInt32BE(0), 65_535)
}

test('h2load: ten connections with a hundred streams each', async (t) => {
  if (!hasTools(t, 'h2load')) return
  const gateway = await startGateway(t, { env: { RATE: 'off', IN_FLIGHT: 'off' } })
  const body = join(gateway.folder, 'body')
  await writeFile(body, grpcFrame(Buffer.alloc(200)))
  const { te = '', 'content-type': type = '', ':path': path = '' } = grpcFields(TOKEN)
  const headers = { te, 'content-type': type, authorization: `Bearer ${TOKEN}` }
  const { stdout } = await runToEnd(tool('h2load'), [
    ...['-n', '10000', '-c', '10', '-m', '100', '-d', body],
    ...Object.entries(headers).flatMap(([name, value]) => ['-H', `${name}: ${value}`]),
    `https://${gateway.addresses.grpc}${path}`,
  ])
  assert.match(stdout, /10000 succeeded, 0 failed/, stdout)
  const page = await gateway.metrics()
  assert.equal(accepted(page), 10_000)
  assert.equal(refusedInAll(page), 0)
})

test('a client of the library kind: large uploads, pauses, many calls', async (t) => {
  const gateway = await startGateway(t, { env: { RATE: 'off' } })
  const client = gateway.connect('gRPC')
  await client.handshake()
  const { session } = client
  for (let round = 0; round < 2; round += 1) {
    const sizes = [0, 1, 100, 16_384, 300_000, 5_000_000]
    const answers = await Promise.all(
      sizes.map((size) => client.send({ message: Buffer.alloc(size) })),
    )
    for (const answer of answers) assertAccepted(answer)
    await new Promise((resolve) => setTimeout(resolve, 1200))
  }
  assert.equal(client.session, session)
  assert.equal(refusedInAll(await gateway.metrics()), 0)
})
