/**
 * The messages that are sent: real OTLP trace exports, made by the OpenTelemetry SDK from a seeded
 * random source, so that every machine sends the same bytes (gzip: as far as its zlib agrees).
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { ROOT_CONTEXT, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api'
import { ProtobufTraceSerializer } from '@opentelemetry/otlp-transformer'
import { resourceFromAttributes } from '@opentelemetry/resources'
import { InMemorySpanExporter, SimpleSpanProcessor, TracerProvider } from '@opentelemetry/sdk-trace'

/** The sizes that are measured: one span, a small batch, a large batch compressed, the same plain. */
export const PAYLOAD_NAMES = ['227 B', '11 kB', '53 kB gzip', '565 kB'] as const
export type PayloadName = (typeof PAYLOAD_NAMES)[number]

/** A message and the files h2load sends it from. */
export interface Payload {
  readonly name: PayloadName
  /** `gzip` where the bytes are compressed. */
  readonly encoding: 'gzip' | undefined
  /** The OTLP/HTTP body. */
  readonly body: Buffer
  /** The same with the five bytes gRPC puts in front. */
  readonly grpcBody: Buffer
  readonly bodyPath: string
  readonly grpcBodyPath: string
}

/** Spans that give the sizes named. */
const SMALL_BATCH_SPANS = 31
const LARGE_BATCH_SPANS = 1603

/** Makes every payload and writes it below `directory`. */
export function makePayloads(directory: string): Map<PayloadName, Payload> {
  const large = exportOf(LARGE_BATCH_SPANS)
  const bodies: Record<PayloadName, Buffer> = {
    '227 B': exportOf(1),
    '11 kB': exportOf(SMALL_BATCH_SPANS),
    '53 kB gzip': gzipSync(large, { level: 6 }),
    '565 kB': large,
  }
  return new Map(
    PAYLOAD_NAMES.map((name) => {
      const body = bodies[name]
      const encoding = name.endsWith('gzip') ? ('gzip' as const) : undefined
      const prefix = Buffer.alloc(5)
      prefix.writeUInt8(encoding === undefined ? 0 : 1, 0)
      prefix.writeUInt32BE(body.length, 1)
      const grpcBody = Buffer.concat([prefix, body])
      const file = name.replaceAll(' ', '-')
      const bodyPath = join(directory, `${file}.http`)
      const grpcBodyPath = join(directory, `${file}.grpc`)
      writeFileSync(bodyPath, body)
      writeFileSync(grpcBodyPath, grpcBody)
      return [name, { name, encoding, body, grpcBody, bodyPath, grpcBodyPath }]
    }),
  )
}

const ROUTES = ['/orders', '/orders/{id}', '/basket', '/login', '/search', '/invoices/{id}/pdf']
const START_MS = Date.UTC(2026, 0, 1)

/** An export of so many spans: a web server's requests, each with its database calls. */
function exportOf(spans: number): Buffer {
  const random = randomFrom(spans)
  const hex = (bytes: number) =>
    Array.from({ length: bytes }, () => byteOf(random).toString(16).padStart(2, '0')).join('')
  const exporter = new InMemorySpanExporter()
  const provider = new TracerProvider({
    resource: resourceFromAttributes({
      'service.name': 'shop',
      'service.version': '1.4.2+build.88',
    }),
    idGenerator: { generateTraceId: () => hex(16), generateSpanId: () => hex(8) },
    spanProcessors: [new SimpleSpanProcessor({ exporter })],
  })
  const tracer = provider.getTracer('bench', '1.0.0')
  let atMs = START_MS
  let parent = ROOT_CONTEXT
  for (let index = 0; index < spans; index += 1) {
    const isRequest = index % 8 === 0
    atMs += Math.floor(random() * 40)
    const route = ROUTES[Math.floor(random() * ROUTES.length)] ?? '/'
    const isError = spans > 1 && random() < 0.02
    const span = tracer.startSpan(
      isRequest ? `POST ${route}` : 'SELECT shop',
      {
        kind: isRequest ? SpanKind.SERVER : SpanKind.CLIENT,
        startTime: atMs,
        attributes: isRequest
          ? requestAttributes(spans, route, isError, random)
          : {
              'db.system.name': 'postgresql',
              'db.namespace': 'shop_production',
              'db.operation.name': 'SELECT',
              'thread.name': 'w3',
              'code.function.name': 'shop.store.Catalogue.find',
              'db.query.summary': `SELECT ${route.split('/')[1]}`,
              'server.address': 'db.internal',
              'db.response.returned_rows': Math.floor(random() * 50),
            },
      },
      isRequest ? ROOT_CONTEXT : parent,
    )
    if (isError) span.setStatus({ code: SpanStatusCode.ERROR, message: 'timed out' })
    if (isRequest) parent = trace.setSpan(ROOT_CONTEXT, span)
    span.end(atMs + 1 + Math.floor(random() * 30))
  }
  const message = ProtobufTraceSerializer.serializeRequest(exporter.getFinishedSpans())
  if (message === undefined) throw new Error('The serializer made nothing of the spans')
  return Buffer.from(message)
}

function requestAttributes(spans: number, route: string, isError: boolean, random: () => number) {
  const status = isError ? 504 : 200
  if (spans === 1) return { 'http.route': route, 'http.response.status_code': status }
  return {
    'http.request.method': 'POST',
    'http.route': route,
    'http.response.status_code': status,
    'url.path': route.replace('{id}', String(Math.floor(random() * 1e6))),
    'server.address': 'shop.example.com',
    'client.address': `203.0.113.${Math.floor(random() * 256)}`,
  }
}

const byteOf = (random: () => number) => Math.floor(random() * 256)

/** Mulberry32: a small generator whose sequence depends on the seed alone. */
function randomFrom(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296
  }
}
