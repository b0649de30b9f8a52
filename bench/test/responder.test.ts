import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { request } from 'node:http'
import { connect } from 'node:http2'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { type Backend, startBackend } from '../backend.ts'
import { makePayloads, PAYLOAD_NAMES } from '../payloads.ts'
import { freePorts } from '../processes.ts'

const directory = mkdtempSync(join(tmpdir(), 'tollgate-bench-test-'))
let backend: Backend
let grpcPort = 0
let httpPort = 0

before(async () => {
  const ports = await freePorts(22_400, 2)
  grpcPort = ports[0] ?? 0
  httpPort = ports[1] ?? 0
  backend = await startBackend(grpcPort, httpPort)
})

after(async () => {
  await backend.stop()
  rmSync(directory, { recursive: true })
})

/** Many calls at once on one connection, so that answers are indexed, batched and interleaved. */
for (const headerTableSize of [4096, 0]) {
  test(`answers gRPC calls to a client with a header table of ${headerTableSize}`, async () => {
    const session = connect(`http://127.0.0.1:${grpcPort}`, {
      settings: { headerTableSize },
      maxSessionMemory: 100,
    })
    const start = await backend.counts()
    const message = Buffer.alloc(600_000, 7)
    const answers = await Promise.all(
      Array.from({ length: 20 }, async () => {
        const stream = session.request({ ':method': 'POST', ':path': '/a/B' })
        const answer = { status: 0, type: '', grpcStatus: '', bytes: 0 }
        stream.on('response', (fields) => {
          answer.status = Number(fields[':status'])
          answer.type = String(fields['content-type'])
        })
        stream.on('trailers', (fields) => {
          answer.grpcStatus = String(fields['grpc-status'])
        })
        stream.on('data', (chunk: Buffer) => {
          answer.bytes += chunk.length
        })
        stream.end(message)
        await new Promise((resolve, reject) => stream.on('close', resolve).on('error', reject))
        return answer
      }),
    )
    session.close()
    for (const answer of answers) {
      assert.deepEqual(answer, { status: 200, type: 'application/grpc', grpcStatus: '0', bytes: 5 })
    }
    const end = await backend.counts()
    assert.equal(end.grpcRequests - start.grpcRequests, 20)
    assert.equal(end.grpcBytes - start.grpcBytes, 20 * message.length)
  })
}

for (const isChunked of [false, true]) {
  test(`answers HTTP requests ${isChunked ? 'in chunks' : 'of a told length'}`, async () => {
    const start = await backend.counts()
    const message = Buffer.alloc(200_000, 7)
    const status = await new Promise((resolve, reject) => {
      const sent = request(
        {
          port: httpPort,
          host: '127.0.0.1',
          method: 'POST',
          headers: isChunked ? {} : { 'content-length': 2 * message.length },
        },
        (response) => response.resume().on('end', () => resolve(response.statusCode)),
      )
      sent.on('error', reject)
      sent.write(message)
      sent.end(message)
    })
    assert.equal(status, 200)
    const end = await backend.counts()
    assert.equal(end.httpRequests - start.httpRequests, 1)
    assert.equal(end.httpBytes - start.httpBytes, 2 * message.length)
  })
}

test('makes the same messages each time, of the sizes they are named after', () => {
  const first = makePayloads(directory)
  const second = makePayloads(directory)
  const sizes: Record<string, number> = { B: 1, kB: 1000 }
  for (const name of PAYLOAD_NAMES) {
    const payload = first.get(name)
    assert.ok(payload !== undefined)
    assert.deepEqual(payload.body, second.get(name)?.body)
    const [count, unit] = name.split(' ')
    const named = Number(count) * (sizes[unit ?? ''] ?? 0)
    const error = Math.abs(payload.body.length / named - 1)
    assert.ok(error < 0.03, `${name} has ${payload.body.length} bytes`)
    assert.equal(payload.grpcBody.readUInt32BE(1), payload.body.length)
  }
})
