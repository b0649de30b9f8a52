/**
 * The engine against itself and against Node's own HTTP/2 (nghttp2): bodies of many sizes, many at a
 * time, some called off, under settings that are not the usual ones; and header sections that the
 * other implementation encoded, with its use of the dynamic table.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import http2 from 'node:http2'
import { type AddressInfo, createServer, connect as dial, type Server, type Socket } from 'node:net'
import { after, describe, it } from 'node:test'
import fc from 'fast-check'
import { ClientConnection } from '../../../src/http2/client-connection.ts'
import type { AnswerReader } from '../../../src/http2/client-stream.ts'
import { fieldBlock } from '../../../src/http2/field-encoder.ts'
import { CODE } from '../../../src/http2/protocol.ts'
import type { Fields } from '../../../src/http2/request-fields.ts'
import { ServerConnection } from '../../../src/http2/server-connection.ts'
import type { ServerStream } from '../../../src/http2/server-stream.ts'

const LIMITS = {
  maxListBytes: 64 * 1024,
  maxFields: 256,
  windowBytes: 200_000,
  streamWindowBytes: 70_000,
}
const SIZES = [0, 1, 5, 1000, 16_379, 16_384, 16_385, 65_535, 65_536, 69_999, 200_001, 600_000]

interface Answer {
  readonly status: string
  readonly echo: string
  readonly body: Buffer
  readonly trailer: string
}

/** Asks for the echo of a body; rejects when the stream ends otherwise. */
type Ask = (body: Buffer, echo: string) => { answer: Promise<Answer>; callOff: () => void }

const closers: (() => void)[] = []
after(() => {
  for (const close of closers) close()
})

async function listen(server: Server | http2.Http2Server): Promise<number> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  closers.push(() => server.close())
  return (server.address() as AddressInfo).port
}

/** Our server: answers with the body and the field `x-echo` of the request. */
async function ourServer(
  onRequest: (stream: ServerStream) => void = echo,
): Promise<{ port: number; connections: ServerConnection[]; misuses: string[] }> {
  const connections: ServerConnection[] = []
  const misuses: string[] = []
  const server = createServer((socket) => {
    connections.push(
      new ServerConnection(
        socket,
        {
          ...LIMITS,
          maxStreams: 100,
          headerTimeoutMs: 60_000,
          idleTimeoutMs: 60_000,
          sendTimeoutMs: 60_000,
          onRequest,
          onShut: () => {},
          onMisuse: (reason) => misuses.push(reason),
        },
        0,
      ),
    )
  })
  return { port: await listen(server), connections, misuses }
}

function echo(stream: ServerStream): void {
  const chunks: Uint8Array[] = []
  stream.body.start({
    chunk: (bytes) => {
      chunks.push(bytes)
      // Makes the window close now and then.
      if (chunks.length % 5 !== 0) return
      stream.pause()
      setImmediate(() => stream.resume())
    },
    end: () =>
      stream.answer(200, { 'x-echo': String(stream.headers['x-echo']) }, Buffer.concat(chunks), {
        'x-end': 'yes',
      }),
    failed: () => {},
  })
}

async function nodeServer(settings: http2.Settings): Promise<number> {
  const server = http2.createServer({ settings })
  server.on('stream', (stream, headers) => {
    stream.on('error', () => {})
    const chunks: Buffer[] = []
    stream.on('data', (chunk: Buffer) => chunks.push(chunk))
    stream.on('end', () => {
      if (stream.destroyed) return
      stream.respond({ 'x-echo': headers['x-echo'] }, { waitForTrailers: true })
      stream.on('wantTrailers', () => {
        if (!stream.destroyed) stream.sendTrailers({ 'x-end': 'yes' })
      })
      stream.end(Buffer.concat(chunks))
    })
  })
  return await listen(server)
}

async function ourClient(port: number): Promise<{ connection: ClientConnection; ask: Ask }> {
  const socket: Socket = dial(port, '127.0.0.1')
  closers.push(() => socket.destroy())
  const connection = await new Promise<ClientConnection>((resolve, reject) => {
    const made: ClientConnection = new ClientConnection(socket, {
      ...LIMITS,
      onReady: () => resolve(made),
      onLeaving: () => {},
      onEnd: (words) => reject(new Error(words ?? 'ended')),
    })
  })
  const ask: Ask = (body, echoed) => {
    let callOff = () => {}
    const answer = new Promise<Answer>((resolve, reject) => {
      let headers: Fields = {}
      let trailers: Fields = {}
      const chunks: Buffer[] = []
      let at = 0
      const reader: AnswerReader = {
        onHeaders: (fields) => {
          headers = fields
        },
        onData: (bytes) => chunks.push(bytes),
        onTrailers: (fields) => {
          trailers = fields
        },
        onDrain: () => send(),
        onClosed: (code) => {
          if (code !== CODE.NO_ERROR) reject(new Error(`closed with ${code}`))
          else {
            resolve({
              status: String(headers[':status']),
              echo: String(headers['x-echo']),
              body: Buffer.concat(chunks),
              trailer: String(trailers['x-end']),
            })
          }
        },
      }
      const stream = connection.request(
        [
          fieldBlock({
            ':method': 'POST',
            ':scheme': 'http',
            ':path': '/echo',
            ':authority': 'localhost',
            'x-echo': echoed,
          }),
        ],
        reader,
      )
      const send = () => {
        while (at < body.length) {
          const piece = body.subarray(at, at + 10_000)
          at += piece.length
          if (!stream.write(piece)) return
        }
        stream.end()
      }
      send()
      callOff = () => {
        stream.reset(CODE.CANCEL)
        reject(new Error('called off'))
      }
    })
    return { answer, callOff }
  }
  return { connection, ask }
}

async function nodeClient(port: number, settings: http2.Settings): Promise<Ask> {
  const session = http2.connect(`http://127.0.0.1:${port}`, { settings })
  session.on('error', () => {})
  closers.push(() => session.destroy())
  await once(session, 'remoteSettings')
  return (body, echoed) => {
    const stream = session.request({ ':method': 'POST', ':path': '/echo', 'x-echo': echoed })
    const answer = new Promise<Answer>((resolve, reject) => {
      const chunks: Buffer[] = []
      let status = ''
      let echoBack = ''
      let trailer = ''
      stream.on('response', (headers) => {
        status = String(headers[':status'])
        echoBack = String(headers['x-echo'])
      })
      stream.on('data', (chunk: Buffer) => chunks.push(chunk))
      stream.on('trailers', (trailers) => {
        trailer = String(trailers['x-end'])
      })
      stream.on('error', reject)
      stream.on('close', () => {
        if (stream.rstCode !== 0) reject(new Error(`closed with ${stream.rstCode}`))
        else resolve({ status, echo: echoBack, body: Buffer.concat(chunks), trailer })
      })
    })
    stream.end(body)
    return { answer, callOff: () => stream.close(CODE.CANCEL) }
  }
}

/** Many requests at a time, every fifth called off on the way. */
async function exercise(ask: Ask): Promise<void> {
  for (let round = 0; round < 3; round += 1) {
    const all = SIZES.map(async (size, at) => {
      const body = Buffer.alloc(size)
      for (let i = 0; i < size; i += 1) body[i] = (i * 7 + at + round) & 0xff
      const name = `${round}-${at}`
      const { answer, callOff } = ask(body, name)
      if ((at + round) % 5 === 4) {
        setImmediate(callOff)
        await answer.catch(() => {})
        return
      }
      const got = await answer
      assert.deepEqual([got.status, got.echo, got.trailer], ['200', name, 'yes'])
      assert.ok(got.body.equals(body), `a body of ${size} bytes came changed`)
    })
    await Promise.all(all)
  }
}

const NODE_SETTINGS: Readonly<Record<string, http2.Settings>> = {
  usual: {},
  'no header table': { headerTableSize: 0 },
  'a large header table': { headerTableSize: 65_536 },
  'a small window': { initialWindowSize: 5000 },
  'a large window and frames': { initialWindowSize: 2 ** 20, maxFrameSize: 2 ** 20 },
}

describe('HTTP/2 over sockets', () => {
  it('our client and our server', async () => {
    const { port, connections, misuses } = await ourServer()
    const { connection, ask } = await ourClient(port)
    await exercise(ask)
    assert.equal(connection.streams.size, 0)
    connection.close()
    assert.deepEqual(misuses, [])
    for (const { streams } of connections) assert.ok(streams.size === 0)
  })

  for (const [what, settings] of Object.entries(NODE_SETTINGS)) {
    it(`Node's client and our server: ${what}`, async () => {
      const { port, misuses } = await ourServer()
      await exercise(await nodeClient(port, settings))
      assert.deepEqual(misuses, [])
    })

    it(`our client and Node's server: ${what}`, async () => {
      const { connection, ask } = await ourClient(await nodeServer(settings))
      await exercise(ask)
      assert.equal(connection.streams.size, 0)
      assert.equal(connection.isClosed, false)
    })
  }
})

describe("HPACK of Node's implementation", () => {
  const anyName = fc.oneof(
    fc.constantFrom('user-agent', 'traceparent', 'authorization', 'grpc-timeout', 'x-a'),
    fc.stringMatching(/^x-[a-z0-9-]{1,20}[a-z]$/),
  )
  const anyValue = fc.oneof(
    { weight: 8, arbitrary: fc.stringMatching(/^[!-~]([ -~]{0,60}[!-~])?$/) },
    { weight: 1, arbitrary: fc.integer({ min: 100, max: 4200 }).map((n) => 'v'.repeat(n)) },
  )
  const anyFields = fc.dictionary(anyName, anyValue, { maxKeys: 10, noNullPrototype: true })
  const sections = fc.sample(anyFields, { numRuns: 150, seed: 20_260_101 })
  /** Each section comes twice, and an old one again: what clients do, and what fills the table. */
  const history = sections.flatMap((fields, at) => [fields, fields, sections[at >> 1] ?? fields])
  const own = (fields: http2.IncomingHttpHeaders | Fields) =>
    Object.fromEntries(
      Object.entries(fields).filter(
        ([name]) => !name.startsWith(':') && name !== 'date' && typeof name === 'string',
      ),
    )

  for (const [what, settings] of Object.entries({
    'its usual table': {},
    'a small table': { headerTableSize: 200 },
  })) {
    it(`decodes to what was sent, both ways, with ${what}`, async () => {
      const seen: Record<string, unknown>[] = []
      const { port } = await ourServer((stream) => {
        seen.push(own(stream.headers))
        stream.answer(200, own(stream.headers) as Record<string, string>)
      })
      const session = http2.connect(`http://127.0.0.1:${port}`, {
        settings,
        ...('headerTableSize' in settings ? { maxDeflateDynamicTableSize: 200 } : {}),
      })
      closers.push(() => session.destroy())
      for (const fields of history) {
        const sensitive = Object.keys(fields).filter((name) => name === 'authorization')
        const stream = session.request({ ...fields, [http2.sensitiveHeaders]: sensitive })
        stream.resume()
        const [answer] = (await once(stream, 'response')) as [http2.IncomingHttpHeaders]
        assert.deepEqual(seen.at(-1), fields)
        assert.deepEqual(own(answer), fields)
        if (!stream.closed) await once(stream, 'close')
      }
    })
  }

  it('decodes the answers of its server', async () => {
    const server = http2.createServer()
    let at = 0
    server.on('stream', (stream) => {
      stream.respond({ ...history[at] }, { endStream: true })
      at += 1
    })
    const { connection } = await ourClient(await listen(server))
    for (const fields of history) {
      const got = await new Promise<Fields>((resolve) => {
        let headers: Fields = {}
        const stream = connection.request(
          [
            fieldBlock({
              ':method': 'GET',
              ':scheme': 'http',
              ':path': '/',
              ':authority': 'a',
              ...fields,
            }),
          ],
          {
            onHeaders: (all) => {
              headers = all
            },
            onData: () => {},
            onTrailers: () => {},
            onDrain: () => {},
            onClosed: () => resolve(headers),
          },
        )
        stream.end()
      })
      assert.deepEqual(own(got), fields)
    }
  })
})
