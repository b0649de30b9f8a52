/** Cases about what goes with a message: metadata, credentials, status, trailers. */
import assert from 'node:assert/strict'
import { encodeGrpcMessage } from '../../../src/edge/grpc.ts'
import { encodeRpcStatus } from '../../../src/edge/rpc-status.ts'
import type { CallReply, Library } from './driver.ts'
import type { Case } from './message-cases.ts'
import { createRandom, payload } from './payloads.ts'
import { bearer, CODE, metadataOf, type Scene, valuesOf } from './scene.ts'

const SEED = 4

/** What each library makes of a header list over the gateway's limit. */
const BEYOND_LIMIT: Readonly<Record<Library, readonly [tooLong: number, tooMany: number]>> = {
  'grpc-go': [CODE.INTERNAL, CODE.UNKNOWN],
  'grpc-java': [CODE.INTERNAL, CODE.INTERNAL],
  'grpc-python': [CODE.UNKNOWN, CODE.UNKNOWN],
  'grpc-js': [CODE.UNKNOWN, CODE.UNKNOWN],
  tonic: [CODE.UNKNOWN, CODE.UNKNOWN],
}

/** Where a library shows trailing metadata. tonic has one map for both. */
function trailing({ trailers }: CallReply, name: string): string[] {
  return metadataOf(trailers, name)
}

function leading(scene: Scene, { headers, trailers }: CallReply, name: string): string[] {
  return metadataOf(scene.library === 'tonic' ? trailers : headers, name)
}

function base64(bytes: Buffer): string {
  return bytes.toString('base64')
}

/** The bytes of a binary metadata value as it came over the wire, padded or not. */
function fromWire(value: string): string {
  return base64(Buffer.from(value, 'base64'))
}

export const METADATA_CASES: readonly Case[] = [
  {
    title: 'metadata up to the limits',
    async run(scene) {
      const name = await scene.connect()
      const many = Array.from({ length: 30 }, (_, at) => [`x-many-${at}`, `value ${at}`] as const)
      const long = 'v'.repeat(12_500)
      const message = await scene.messages.of(100)
      await scene.accepted(name, message, { metadata: [...many, ['x-long', long]] })
      for (const [field, value] of many) assert.deepEqual(valuesOf(scene.only, field), [value])
      assert.deepEqual(valuesOf(scene.only, 'x-long'), [long])
      return undefined
    },
  },
  {
    title: 'metadata beyond the limits',
    async run(scene) {
      const name = await scene.connect()
      const message = await scene.messages.of(100)
      await scene.accepted(name, message)
      const connections = await scene.connections()
      scene.forget()
      const tooLong = [['x-long', 'v'.repeat(20_000)]] as const
      const tooMany = Array.from({ length: 100 }, (_, at) => [`x-many-${at}`, 'v'] as const)
      const codes: number[] = []
      for (const metadata of [tooLong, tooMany]) {
        codes.push((await scene.call(name, message, { metadata })).code)
      }
      assert.deepEqual(scene.collector.reached, [])
      // It cost the call and nothing else.
      await scene.accepted(name, message)
      assert.equal(await scene.connections(), connections, 'connections made')
      assert.deepEqual(codes, BEYOND_LIMIT[scene.library])
      return `code ${codes.join(', ')}`
    },
  },
  {
    title: 'binary metadata, keys twice',
    async run(scene) {
      const name = await scene.connect()
      const random = createRandom(SEED)
      const all = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte))
      const blobs = [base64(all), base64(payload(1, random)), base64(payload(1001, random))]
      const tags = ['one', 'two, and a comma', 'three']
      await scene.accepted(name, await scene.messages.of(100), {
        metadata: [
          ...blobs.map((blob) => ['x-blob-bin', blob] as const),
          ...tags.map((tag) => ['x-tag', tag] as const),
          ['x-not-forwarded', 'secret'],
        ],
      })
      const { only } = scene
      // Joined by commas or apart is the same: gRPC over HTTP/2, "Custom-Metadata".
      const seen = valuesOf(only, 'x-blob-bin').flatMap((value) => value.split(','))
      assert.deepEqual(seen.map(fromWire), blobs)
      assert.ok(
        seen.every((value) => /^[A-Za-z0-9+/]*={0,2}$/.test(value)),
        'base64 and no more',
      )
      assert.deepEqual(valuesOf(only, 'x-tag'), tags)
      assert.deepEqual(valuesOf(only, 'x-not-forwarded'), [])
      assert.deepEqual(valuesOf(only, 'authorization'), [])
      return undefined
    },
  },
  {
    title: 'status, details, trailers',
    async run(scene) {
      const name = await scene.connect()
      const random = createRandom(SEED)
      const message = await scene.messages.of(100)
      for (let status = 1; status <= 16; status += 1) {
        for (const isTrailersOnly of [true, false]) {
          const words = `Grüße ${status}: 100 % "ok"\n€ 😀`
          const details = encodeRpcStatus({ code: status, message: words, retryAfterSeconds: 3 })
          const blob = payload(status * 50, random)
          scene.collector.script({
            kind: 'refuse',
            status,
            message: encodeGrpcMessage(words),
            // With and without padding: both have to be taken.
            detailsBin: isTrailersOnly ? base64(details) : base64(details).replace(/=+$/, ''),
            trailers: {
              'x-end': `end ${status}`,
              'x-end-bin': base64(blob),
              'x-twice': ['a', 'b, c'],
            },
            isTrailersOnly,
          })
          const reply = await scene.call(name, message)
          assert.deepEqual([reply.code, reply.message], [status, words])
          assert.deepEqual(trailing(reply, 'grpc-status-details-bin'), [base64(details)])
          assert.deepEqual(trailing(reply, 'x-end'), [`end ${status}`])
          assert.deepEqual(trailing(reply, 'x-end-bin'), [base64(blob)])
          // grpc-js joins them.
          assert.equal(trailing(reply, 'x-twice').join(', '), 'a, b, c')
        }
      }
      return '16 codes'
    },
  },
  {
    title: 'partial success, both metadata',
    async run(scene) {
      const name = await scene.connect()
      // ExportTracePartialSuccess { rejected_spans: 3, error_message: "why" }
      const partial = Buffer.from([0x0a, 7, 0x08, 3, 0x12, 3, ...Buffer.from('why')])
      const blob = payload(300, createRandom(SEED))
      scene.collector.script({
        kind: 'ok',
        message: partial,
        headers: { 'x-start': 'start', 'x-start-bin': base64(blob) },
        trailers: { 'x-end': 'end', 'x-end-bin': base64(blob), 'x-long': 'w'.repeat(4000) },
      })
      const reply = await scene.accepted(name, await scene.messages.of(100))
      assert.equal(reply.body, base64(partial))
      assert.deepEqual(leading(scene, reply, 'x-start'), ['start'])
      assert.deepEqual(leading(scene, reply, 'x-start-bin'), [base64(blob)])
      assert.deepEqual(trailing(reply, 'x-end'), ['end'])
      assert.deepEqual(trailing(reply, 'x-end-bin'), [base64(blob)])
      assert.deepEqual(trailing(reply, 'x-long'), ['w'.repeat(4000)])
      return undefined
    },
  },
  {
    title: 'wrong token, unknown method',
    async run(scene) {
      const name = await scene.connect()
      const large = await scene.messages.of(1_048_576)
      for (const token of ['no-such-token-0123456789', '!']) {
        const reply = await scene.call(name, large, { metadata: [bearer(token)] })
        assert.equal(reply.code, CODE.UNAUTHENTICATED, reply.message)
      }
      const prefix = '/opentelemetry.proto.collector'
      for (const path of [`${prefix}.trace.v1.TraceService/Import`, '/some.Service/Method']) {
        const reply = await scene.call(name, large, { path })
        assert.equal(reply.code, CODE.UNIMPLEMENTED, reply.message)
      }
      assert.deepEqual(scene.collector.reached, [])
      for (const signal of ['metrics.v1.Metrics', 'logs.v1.Logs', 'trace.v1.Trace']) {
        const path = `${prefix}.${signal}Service/Export`
        await scene.accepted(name, await scene.messages.of(10), { path })
        assert.equal(scene.only.path, path)
      }
      return undefined
    },
  },
]
