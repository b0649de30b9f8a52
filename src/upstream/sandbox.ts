/**
 * The sandbox collector: takes all signals over gRPC and HTTP, counts what arrives and throws it
 * away. For the first start with nothing configured, and for tests. Loopback only.
 */
import { promisify } from 'node:util'
import { gunzip } from 'node:zlib'
import {
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  type sendUnaryData,
  status,
} from '@grpc/grpc-js'
import fastify from 'fastify'
import { countItems, countJsonItems } from '../otlp/count.ts'
import { GRPC_PATHS, HTTP_PATHS, SIGNALS, type Signal } from '../otlp/signal.ts'

/** OTLP's recommended limit, after decompression ("OTLP/gRPC Request"). */
const MAX_BODY_BYTES = 64 * 1024 * 1024
/** An Export…ServiceResponse that says that all was taken. */
const ALL_TAKEN = Buffer.alloc(0)

const gunzipped = promisify(gunzip)

/** Items per signal: spans, data points, log records, profiles. */
export type Counts = Readonly<Record<Signal, number>>

/** A running sandbox collector. */
export interface Sandbox {
  /** Both on 127.0.0.1, without TLS. */
  readonly grpcPort: number
  readonly httpPort: number
  /** What has arrived since the start. */
  counts(): Counts
  /** Stops at once. */
  close(): Promise<void>
}

/** Starts one on free ports. Rejects where none can be had. */
export async function startSandbox(): Promise<Sandbox> {
  const counts: Record<Signal, number> = { traces: 0, metrics: 0, logs: 0, profiles: 0 }
  const grpc = grpcServer(counts)
  const http = httpServer(counts)
  const bind = promisify(grpc.bindAsync.bind(grpc))
  const grpcPort = await bind('127.0.0.1:0', ServerCredentials.createInsecure())
  const address = await http.listen({ host: '127.0.0.1', port: 0 })
  return {
    grpcPort,
    httpPort: Number(new URL(address).port),
    counts: () => ({ ...counts }),
    async close() {
      grpc.forceShutdown()
      await http.close()
    },
  }
}

function grpcServer(counts: Record<Signal, number>): Server {
  const server = new Server({
    'grpc.max_receive_message_length': MAX_BODY_BYTES,
    'grpc.enable_channelz': 0,
  })
  const asItIs = (bytes: Buffer) => bytes
  for (const signal of SIGNALS) {
    const method = {
      path: GRPC_PATHS[signal],
      requestStream: false,
      responseStream: false,
      requestSerialize: asItIs,
      requestDeserialize: asItIs,
      responseSerialize: asItIs,
      responseDeserialize: asItIs,
    } as const
    const take = (call: ServerUnaryCall<Buffer, Buffer>, answer: sendUnaryData<Buffer>) => {
      try {
        counts[signal] += countItems(signal, call.request)
        answer(null, ALL_TAKEN)
      } catch (error) {
        answer({ code: status.INVALID_ARGUMENT, details: messageOf(error) })
      }
    }
    server.addService({ export: method }, { export: take })
  }
  return server
}

function httpServer(counts: Record<Signal, number>) {
  const server = fastify({ bodyLimit: MAX_BODY_BYTES, forceCloseConnections: true })
  server.removeAllContentTypeParsers()
  server.addContentTypeParser(
    ['application/x-protobuf', 'application/json'],
    { parseAs: 'buffer' },
    (_request, body, done) => done(null, body),
  )
  for (const signal of SIGNALS) {
    server.post<{ Body: Buffer | undefined }>(HTTP_PATHS[signal], async (request, reply) => {
      const type = request.headers['content-type']?.split(';')[0]?.trim()
      const isJson = type === 'application/json'
      try {
        const bytes = await unpacked(
          request.body ?? ALL_TAKEN,
          request.headers['content-encoding'] ?? 'identity',
        )
        counts[signal] += isJson ? countJsonItems(signal, bytes) : countItems(signal, bytes)
      } catch (error) {
        return reply.code(400).type('text/plain').send(messageOf(error))
      }
      // Bytes, because Fastify adds a charset to JSON and exporters compare the type verbatim.
      reply.header('content-type', isJson ? type : 'application/x-protobuf')
      return reply.send(isJson ? Buffer.from('{}') : ALL_TAKEN)
    })
  }
  return server
}

async function unpacked(body: Buffer, encoding: string): Promise<Buffer> {
  if (encoding === 'identity') return body
  if (encoding === 'gzip') return gunzipped(body, { maxOutputLength: MAX_BODY_BYTES })
  throw new RangeError(`the sandbox reads gzip and identity, and not ${encoding}`)
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
