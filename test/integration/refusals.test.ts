/**
 * What a refused client is told, byte for byte, on every way in. Refusals that are decided on the
 * headers are asked for with a body of ten megabytes that is announced and never sent.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { decodeRpcStatus } from '../../src/edge/rpc-status.ts'
import { type Answer, type Client, type Export, frame, WAYS } from '../support/client.ts'
import { sumOf } from '../support/exposition.ts'
import {
  startGateway,
  type TestGateway,
  type TestGatewayOptions,
  TOKEN,
} from '../support/gateway.ts'

const ANNOUNCED_BYTES = 10_000_000
const FORMATS = ['protobuf', 'json'] as const
const JSON_TYPE = 'application/json'
const PROTOBUF_TYPE = 'application/x-protobuf'

interface Expected {
  readonly http: number
  readonly grpc: number
  readonly message: RegExp
  /** Whether the client is asked to come back. */
  readonly retry?: true
  readonly headers?: Readonly<Record<string, string>>
}

/** Refused on the headers alone. */
const ON_HEADERS: Readonly<
  Record<string, Expected & { readonly request: (isGrpc: boolean) => Export }>
> = {
  'token_missing: none': {
    request: () => ({ token: null }),
    http: 401,
    grpc: 16,
    message: /^A bearer token is needed/,
    headers: { 'www-authenticate': 'Bearer realm="otlp"' },
  },
  'token_missing: another scheme': {
    request: () => ({ token: null, headers: { authorization: 'Basic dXNlcjpwYXNz' } }),
    http: 401,
    grpc: 16,
    message: /^A bearer token is needed/,
    headers: { 'www-authenticate': 'Bearer realm="otlp"' },
  },
  token_unknown: {
    request: () => ({ token: 'nobody-knows-this-token-0123456789' }),
    http: 401,
    grpc: 16,
    message: /^This bearer token is not known here\.$/,
    headers: { 'www-authenticate': 'Bearer realm="otlp"' },
  },
  token_expired: {
    request: () => ({ token: 'expired-token-0123456789' }),
    http: 401,
    grpc: 16,
    message:
      /^This bearer token has expired or was revoked: it expired on 2020-01-01T00:00:00\.000Z\.$/,
    headers: { 'www-authenticate': 'Bearer realm="otlp"' },
  },
  'token_expired: revoked': {
    request: () => ({ token: 'revoked-token-0123456789' }),
    http: 401,
    grpc: 16,
    message: /^This bearer token has expired or was revoked: it was revoked on [-\dT:.]+Z\.$/,
    headers: { 'www-authenticate': 'Bearer realm="otlp"' },
  },
  token_not_yet_valid: {
    request: () => ({ token: 'tomorrow-token-0123456789' }),
    http: 401,
    grpc: 16,
    message: /^This bearer token is not valid yet: it is valid from [-\dT:.]+Z\.$/,
    headers: { 'www-authenticate': 'Bearer realm="otlp"' },
  },
  'scope_denied: the signal': {
    request: () => ({ token: 'logs-token-0123456789' }),
    http: 403,
    grpc: 7,
    message: /^This bearer token may not do that: this token may not export traces\.$/,
  },
  'scope_denied: the address': {
    request: () => ({ token: 'elsewhere-token-0123456789' }),
    http: 403,
    grpc: 7,
    message: /^This bearer token may not do that: this token may not be used from this address\.$/,
  },
  unknown_path: {
    request: (isGrpc) => ({ path: isGrpc ? '/nobody.Knows/This' : '/v1/trace' }),
    http: 404,
    grpc: 12,
    message: /^OTLP is not served here under this path: /,
  },
  'unknown_path: the base alone': {
    request: () => ({ path: '/' }),
    http: 404,
    grpc: 12,
    message: /^OTLP is not served here under this path: /,
  },
  bad_method: {
    request: () => ({ method: 'PUT' }),
    http: 405,
    grpc: 12,
    message: /^OTLP takes POST requests only\.$/,
    headers: { allow: 'POST' },
  },
  unsupported_encoding: {
    request: () => ({ encoding: 'br' }),
    http: 415,
    grpc: 12,
    message:
      /^This compression is not supported: use one of identity, ?gzip, ?zstd, ?deflate, ?snappy\.$/,
    headers: { 'grpc-accept-encoding': 'identity,gzip,zstd,deflate,snappy' },
  },
}

const UNAVAILABLE: Expected = {
  http: 503,
  grpc: 14,
  retry: true,
  message: /^The collector cannot be reached at the moment\.$/,
}

const TOKENS = [
  { token: TOKEN },
  { token: 'expired-token-0123456789', expiresAt: '2020-01-01T00:00:00Z' },
  { token: 'revoked-token-0123456789', revokedAt: '2020-01-01T00:00:00Z' },
  { token: 'tomorrow-token-0123456789', notBefore: '2120-01-01T00:00:00Z' },
  { token: 'logs-token-0123456789', scopes: ['logs'] },
  { token: 'elsewhere-token-0123456789', allowFrom: ['203.0.113.0/24'] },
]

for (const way of WAYS) {
  test(`${way}: refused on the headers, before a byte of the body`, async (t) => {
    const gateway = await startGateway(t, { tokens: TOKENS })
    for (const [name, expected] of Object.entries(ON_HEADERS)) {
      for (const format of way === 'gRPC' ? (['protobuf'] as const) : FORMATS) {
        await t.test(`${name}, ${format}`, async () => {
          const client = gateway.connect(way)
          const request = { ...expected.request(way === 'gRPC'), format }
          const answer = await client.open(request, ANNOUNCED_BYTES).answer
          assertRefused(answer, expected, format)
          client.close()
        })
      }
    }
    assert.equal(gateway.collector.reached.length, 0)
  })

  test(`${way}: too large as announced`, async (t) => {
    const gateway = await startGateway(t, { env: { MAX_BODY: '1MiB' } })
    const call = gateway.connect(way).open({}, 1_048_577)
    if (way === 'gRPC') await call.write(prefix(1_048_577))
    assertRefused(await call.answer, {
      http: 413,
      grpc: 8,
      message: /^The message is too large: more than 1048576 bytes\.$/,
    })
    assert.equal(gateway.collector.reached.length, 0)
  })

  test(`${way}: too large after decompression`, async (t) => {
    const gateway = await startGateway(t, { env: { MAX_BODY: '1MiB' } })
    const message = gzipSync(Buffer.alloc(1_048_577))
    const answer = await gateway.connect(way).send({ message, encoding: 'gzip' })
    assertRefused(answer, {
      http: 413,
      grpc: 8,
      message: /^The message is too large: more than 1048576 bytes after decompression\.$/,
    })
    assert.equal(gateway.collector.reached.length, 0)
    const fits = gzipSync(Buffer.alloc(1_048_576))
    assert.equal(
      (await gateway.connect(way).send({ message: fits, encoding: 'gzip' })).httpStatus,
      200,
    )
    assert.deepEqual(gateway.collector.reached.length, 1)
  })

  test(`${way}: malformed`, async (t) => {
    const gateway = await startGateway(t)
    const client = gateway.connect(way)
    // Too long for the ratio of DEFLATE alone to bound it: it is looked into.
    const message = Buffer.alloc(70_000, 'no gzip')
    assertRefused(await client.send({ message, encoding: 'gzip' }), {
      http: 400,
      grpc: 3,
      message: /^The request is malformed: the body is not valid gzip\.$/,
    })
    if (way === 'gRPC') {
      const flag2 = client.open()
      await flag2.write(Buffer.from([2, 0, 0, 0, 0]))
      assertRefused(await flag2.answer, {
        http: 400,
        grpc: 3,
        message: /^The request is malformed: the compressed flag is neither 0 nor 1\.$/,
      })
      const two = client.open()
      await two.write(Buffer.concat([frame(Buffer.from('one')), frame(Buffer.from('two'))]))
      assertRefused(await two.answer, {
        http: 400,
        grpc: 3,
        message: /there is more than one message/,
      })
    }
    assert.equal(gateway.collector.reached.length, 0)
  })

  test(`${way}: rate_limited, without waiting`, async (t) => {
    const env = { HOLD: 'off', RATE: '1/min', BURST: '1' }
    const { client, gateway } = await ready(t, way, { env })
    await accepted(client)
    assertRefused(await client.open({}, ANNOUNCED_BYTES).answer, {
      http: 429,
      grpc: 8,
      retry: true,
      message: /^Too many requests: the budget of token test-0 or of its address is used up\.$/,
    })
    const nameless = await client.open({ token: null }, ANNOUNCED_BYTES).answer
    assertRefused(nameless, {
      http: 429,
      grpc: 8,
      retry: true,
      message: /^Too many requests: the budget of this address is used up\.$/,
    })
    assert.deepEqual(await gateway.outcomes(), { accepted: 1, rate_limited: 2 })
  })

  test(`${way}: overloaded`, async (t) => {
    const env = { MAX_BODY: '200KiB', MAX_IN_FLIGHT_BYTES: '300KiB' }
    const { client, gateway } = await ready(t, way, { env })
    const first = gateway.connect(way).open({}, 200 * 1024)
    await first.write(way === 'gRPC' ? prefix(200 * 1024) : Buffer.from('.'))
    await gateway.until((page) => sumOf(page, 'tollgate_in_flight_bytes') > 0, 'a body')
    const second = client.open({}, 200 * 1024)
    if (way === 'gRPC') await second.write(prefix(200 * 1024))
    assertRefused(await second.answer, {
      http: 503,
      grpc: 14,
      retry: true,
      message: /^Too much is under way at the moment\.$/,
    })
    first.cancel()
    await assert.rejects(first.answer)
    await gateway.until((page) => sumOf(page, 'tollgate_in_flight_bytes') === 0, 'room')
    await accepted(client)
  })

  test(`${way}: collector_unavailable, without waiting`, async (t) => {
    const { client, gateway } = await ready(t, way, { env: { HOLD: 'off' }, speaks: 'grpc' })
    await gateway.collector.die()
    await gateway.until((page) => sumOf(page, 'tollgate_collector_up') === 0, 'the collector away')
    assertRefused(await client.open({}, ANNOUNCED_BYTES).answer, UNAVAILABLE)
  })

  test(`${way}: collector_unavailable, found out by this very call`, async (t) => {
    const { client, gateway } = await ready(t, way, { env: { HOLD: 'off' }, speaks: 'http' })
    await gateway.collector.die()
    assertRefused(await client.send(), UNAVAILABLE)
    assert.equal(sumOf(await gateway.metrics(), 'tollgate_collector_up'), 0)
  })

  test(`${way}: collector_timeout`, async (t) => {
    const { client, gateway } = await ready(t, way, { env: { COLLECTOR_TIMEOUT: '100ms' } })
    gateway.collector.behave({ kind: 'stall' })
    assertRefused(await client.send(), {
      http: 504,
      grpc: 14,
      retry: true,
      message: /^The collector did not answer in time\.$/,
    })
  })

  test(`${way}: draining, for what still waits at the end`, async (t) => {
    const env = { HOLD: '20s', DRAIN_TIME: '600ms', RATE: '12/min', BURST: '1' }
    const { client, gateway } = await ready(t, way, { env })
    await accepted(client)
    const held = client.open({}, ANNOUNCED_BYTES)
    await gateway.until((page) => sumOf(page, 'tollgate_held') === 1, 'a call that waits')
    const drained = gateway.drain('test')
    assertRefused(await held.answer, {
      http: 503,
      grpc: 14,
      retry: true,
      message: /^The gateway is restarting\.$/,
    })
    assert.equal(await drained, 0)
  })
}

test('gRPC: a subtype of gRPC that OTLP does not have', async (t) => {
  const gateway = await startGateway(t)
  const headers = { 'content-type': 'application/grpc+json' }
  assertRefused(await gateway.connect('gRPC').open({ headers }).answer, {
    http: 415,
    grpc: 12,
    message:
      /^This content type is not taken here: application\/grpc and application\/grpc\+proto are\.$/,
  })
})

for (const way of ['HTTP/1.1', 'HTTP/2'] as const) {
  test(`${way}: bad_content_type`, async (t) => {
    const gateway = await startGateway(t)
    for (const type of [
      'text/plain',
      'application/json-seq',
      'multipart/form-data; boundary=x',
      undefined,
    ]) {
      const headers = { 'content-type': type }
      assertRefused(
        await gateway.connect(way).open({ headers }, ANNOUNCED_BYTES).answer,
        {
          http: 415,
          grpc: 12,
          message:
            /^This content type is not taken here: use application\/x-protobuf or application\/json\.$/,
        },
        'json',
      )
    }
  })

  test(`${way}: a method of gRPC with another content type`, async (t) => {
    const gateway = await startGateway(t)
    const path = '/opentelemetry.proto.collector.trace.v1.TraceService/Export'
    assertRefused(await gateway.connect(way).open({ path }, ANNOUNCED_BYTES).answer, {
      http: 415,
      grpc: 12,
      message: /^This content type is not taken here: /,
    })
  })

  test(`${way}: JSON for a collector that takes protobuf only`, async (t) => {
    const gateway = await startGateway(t, { speaks: 'grpc' })
    assertRefused(
      await gateway.connect(way).open({ format: 'json' }, ANNOUNCED_BYTES).answer,
      {
        http: 415,
        grpc: 12,
        message:
          /^This content type is not taken here: the collector behind this gateway takes application\/x-protobuf only\.$/,
      },
      'json',
    )
  })

  test(`${way}: the body of a request that is at fault says what is wrong with it`, async (t) => {
    const gateway = await startGateway(t)
    const message = Buffer.alloc(70_000, 'no gzip')
    const answer = await gateway.connect(way).send({ message, encoding: 'gzip', format: 'json' })
    assert.deepEqual(JSON.parse(String(answer.body)), {
      code: 3,
      message: 'The request is malformed: the body is not valid gzip.',
      details: [
        {
          '@type': 'type.googleapis.com/google.rpc.BadRequest',
          fieldViolations: [
            {
              field: 'body',
              description: 'The request is malformed: the body is not valid gzip.',
            },
          ],
        },
      ],
    })
  })

  test(`${way}: a client that drops its data on 429 is told 503`, async (t) => {
    const { client } = await ready(t, way, { env: { HOLD: 'off', RATE: '1/min', BURST: '1' } })
    await accepted(client)
    const as = async (agent: string) =>
      (await client.send({ headers: { 'user-agent': agent } })).httpStatus
    assert.equal(await as('OTel-OTLP-Exporter-Python/1.44.0'), 503)
    assert.equal(await as('OTel-OTLP-Exporter-Python/1.45.0'), 429)
  })
}

async function ready(
  t: Parameters<typeof startGateway>[0],
  way: (typeof WAYS)[number],
  options: TestGatewayOptions,
): Promise<{ gateway: TestGateway; client: Client }> {
  const gateway = await startGateway(t, options)
  return { gateway, client: gateway.connect(way) }
}

async function accepted(client: Client): Promise<void> {
  const answer = await client.send()
  assert.equal(answer.httpStatus, 200)
  if (answer.way === 'gRPC') assert.equal(answer.grpcStatus, 0)
}

function prefix(lengthBytes: number): Buffer {
  const bytes = Buffer.alloc(5)
  bytes.writeUInt32BE(lengthBytes, 1)
  return bytes
}

function assertRefused(
  answer: Answer,
  expected: Expected,
  format: (typeof FORMATS)[number] = 'protobuf',
): void {
  if (answer.way === 'gRPC') assertRefusedOverGrpc(answer, expected)
  else assertRefusedOverHttp(answer, expected, format)
}

function assertRefusedOverGrpc(answer: Answer, { grpc, message, retry, headers = {} }: Expected) {
  assert.equal(answer.httpStatus, 200)
  assert.equal(answer.grpcStatus, grpc, answer.grpcMessage)
  assert.match(answer.grpcMessage ?? '', message)
  assert.ok(answer.endsOnHeaders, 'Trailers-Only: Java retries nothing else')
  assert.equal(answer.headers['content-type'], 'application/grpc')
  const details = String(answer.headers['grpc-status-details-bin'])
  assert.doesNotMatch(details, /=/, 'binary metadata goes without padding')
  const status = decodeRpcStatus(Buffer.from(details, 'base64'))
  assert.equal(status?.code, grpc)
  assert.equal(status?.message, answer.grpcMessage)
  const seconds = status?.retryAfterSeconds
  const retryInfo = answer.headers['google.rpc.retryinfo-bin']
  if (retry === undefined) {
    assert.equal(seconds, undefined)
    assert.equal(retryInfo, undefined)
  } else {
    assert.ok(seconds !== undefined && Number.isInteger(seconds) && seconds >= 1 && seconds <= 5)
    // RetryInfo { retry_delay = 1: Duration { seconds = 1 } }
    const bytes = Buffer.from([0x0a, 0x02, 0x08, seconds])
    assert.equal(retryInfo, bytes.toString('base64').replace(/=+$/, ''))
  }
  const encodings = headers['grpc-accept-encoding']
  if (encodings !== undefined) assert.equal(answer.headers['grpc-accept-encoding'], encodings)
}

function assertRefusedOverHttp(
  answer: Answer,
  { http, grpc, message, retry, headers = {} }: Expected,
  format: (typeof FORMATS)[number],
): void {
  assert.equal(answer.httpStatus, http, String(answer.body))
  assert.equal(answer.headers['content-type'], format === 'json' ? JSON_TYPE : PROTOBUF_TYPE)
  const body = answer.body ?? Buffer.alloc(0)
  assert.equal(answer.headers['content-length'] ?? String(body.length), String(body.length))
  const status =
    format === 'json'
      ? (JSON.parse(body.toString()) as { code: number; message: string })
      : decodeRpcStatus(body)
  assert.equal(status?.code, grpc)
  assert.match(status?.message ?? '', message)
  if (retry === undefined) assert.equal(answer.headers['retry-after'], undefined)
  else assert.match(String(answer.headers['retry-after']), /^[1-5]$/)
  for (const [name, value] of Object.entries(headers))
    if (!name.startsWith('grpc-')) assert.equal(answer.headers[name], value)
}
