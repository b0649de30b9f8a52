/** The HTTP/2 engine against Python's implementations: hpack for header blocks, h2 for conversations. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { test } from 'node:test'
import { promisify } from 'node:util'
import fc from 'fast-check'
import { BlockMemory } from '../../src/http2/block-memory.ts'
import { fieldBlock } from '../../src/http2/field-encoder.ts'
import { HpackDecoder } from '../../src/http2/hpack-decoder.ts'
import { ServerConnection } from '../../src/http2/server-connection.ts'
import { findTool, hasTools, ROOT, tool } from '../support/tools.ts'

const run = promisify(execFile)
const SCRIPT = `${ROOT}test/real/http2_peer.py`
const LIMITS = { maxTableBytes: 4096, maxListBytes: 1e6, maxFields: 1000 }

type Field = readonly [name: string, value: string]

const anyName = fc.oneof(
  fc.constantFrom(':path', 'user-agent', 'traceparent', 'authorization', 'grpc-timeout'),
  fc.stringMatching(/^[a-z0-9!#$%&'*+.^_`|~-]{1,40}$/),
)
const anyValue = fc.oneof(
  { weight: 8, arbitrary: fc.stringMatching(/^[!-~]([ -~]{0,80}[!-~])?$/) },
  { weight: 1, arbitrary: fc.integer({ min: 100, max: 5000 }).map((length) => 'v'.repeat(length)) },
  { weight: 1, arbitrary: fc.constant('') },
)
const anySection: fc.Arbitrary<Field[]> = fc.array(fc.tuple(anyName, anyValue), {
  minLength: 1,
  maxLength: 12,
})

/** Sections of one connection: each twice, and an old one again. */
function history(seed: number): Field[][] {
  const sections = fc.sample(anySection, { numRuns: 120, seed })
  return sections.flatMap((fields, at) => [fields, fields, sections[at >> 1] ?? fields])
}

/** Feeds lines to the script and gives the lines it prints. */
async function lines(mode: 'encode' | 'decode', input: readonly string[]): Promise<string[]> {
  const running = run(tool('python-sender'), [SCRIPT, mode], { maxBuffer: 64 * 1024 * 1024 })
  running.child.stdin?.end(`${input.join('\n')}\n`)
  const { stdout } = await running
  return stdout.trimEnd().split('\n')
}

/** Whether Python has the libraries; a CI without them is set up wrongly. */
async function hasLibraries(t: Parameters<typeof hasTools>[0]): Promise<boolean> {
  if (!hasTools(t, 'python-sender')) return false
  try {
    await run(findTool('python-sender') ?? '', ['-c', 'import h2, hpack'])
    return true
  } catch (error) {
    if (process.env.CI === 'true') throw error
    t.skip('SKIP: Python without h2 and hpack: run .ci/tools')
    return false
  }
}

test("blocks of Python's hpack decode to what was encoded", async (t) => {
  if (!(await hasLibraries(t))) return
  for (const seed of [1, 2, 3]) {
    const sections = history(seed)
    // Sizes change between blocks; several changes before one block come as several updates.
    const blocks = sections.map((fields, at) => ({
      size: seed > 1 && at % 7 === 6 ? ([0, 4096, 100, 1000, 64][at % 5] ?? 0) : null,
      huffman: at % 3 !== 0,
      fields,
    }))
    const encoded = await lines(
      'encode',
      blocks.map((block) => JSON.stringify(block)),
    )
    assert.equal(encoded.length, sections.length)
    const decoder = new HpackDecoder(LIMITS)
    const memory = new BlockMemory(new HpackDecoder(LIMITS), (list) => ({ list }))
    for (const [at, hex] of encoded.entries()) {
      const bytes = Buffer.from(hex, 'hex')
      const expected = sections[at]?.flat()
      assert.deepEqual(decoder.decode(bytes, 0, bytes.length).fields, expected)
      assert.deepEqual(memory.read(bytes, 0, bytes.length), { list: expected })
    }
  }
})

test("our blocks decode in Python's hpack", async (t) => {
  if (!(await hasLibraries(t))) return
  const sections = history(4).map((fields) => Object.fromEntries(fields))
  const decoded = await lines(
    'decode',
    sections.map((fields) => fieldBlock(fields).toString('hex')),
  )
  assert.deepEqual(
    decoded.map((line) => JSON.parse(line)),
    sections.map((fields) => Object.entries(fields)),
  )
})

test("Python's h2 is content with our server", async (t) => {
  if (!(await hasLibraries(t))) return
  const misuses: string[] = []
  const server = createServer((socket) => {
    new ServerConnection(
      socket,
      {
        maxStreams: 100,
        maxListBytes: 16_384,
        maxFields: 64,
        windowBytes: 150_000,
        streamWindowBytes: 70_000,
        headerTimeoutMs: 60_000,
        idleTimeoutMs: 60_000,
        sendTimeoutMs: 60_000,
        onRequest: (stream) => {
          const chunks: Uint8Array[] = []
          stream.start({
            chunk: (bytes) => chunks.push(bytes),
            end: () =>
              stream.answer(
                200,
                { 'x-echo': String(stream.headers['x-echo']) },
                Buffer.concat(chunks),
                { 'x-end': 'yes' },
              ),
            failed: () => {},
          })
        },
        onShut: () => {},
        onMisuse: (reason) => misuses.push(reason),
      },
      0,
    )
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  try {
    const { port } = server.address() as AddressInfo
    const sizes = [0, 1, 1000, 16_384, 16_385, 65_535, 65_536, 70_000, 300_000]
    for (const tableBytes of [0, 100, 4096, 65_536]) {
      const args = [SCRIPT, 'client', port, tableBytes, ...sizes].map(String)
      const { stdout } = await run(tool('python-sender'), args)
      assert.equal(stdout, `answers: ${sizes.length}\n`)
    }
    assert.deepEqual(misuses, [])
  } finally {
    server.close()
  }
})
