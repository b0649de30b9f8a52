/** A client program, a gateway and a scripted collector behind it, with the questions that cases ask. */
import assert from 'node:assert/strict'
import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { type ScriptedCollector, startCollector } from '../../support/collector.ts'
import type { Reached } from '../../support/collector-script.ts'
import { eventually } from '../../support/eventually.ts'
import { sumOf } from '../../support/exposition.ts'
import { TOKEN, tokenSet } from '../../support/gateway.ts'
import { isQuiet, untilMetrics } from '../../support/metrics.ts'
import { type Gateway, spawnGateway } from '../../support/spawn-gateway.ts'
import { type CallOptions, type CallReply, Driver, type Library, type ManyReply } from './driver.ts'
import { type Message, Messages } from './payloads.ts'

/** gRPC status codes that the cases expect. */
export const CODE = {
  OK: 0,
  CANCELLED: 1,
  UNKNOWN: 2,
  DEADLINE_EXCEEDED: 4,
  RESOURCE_EXHAUSTED: 8,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  UNAUTHENTICATED: 16,
} as const

/** RFC 9113 section 7. */
export const HTTP2_CANCEL = 8

/** Longest message that the gateway takes. */
export const MAX_BODY_BYTES = 8 * 1024 * 1024

/** Fields of these names are forwarded. */
export const FORWARDED = [
  ...['x-tag', 'x-long', 'x-blob-bin'],
  ...Array.from({ length: 30 }, (_, at) => `x-many-${at}`),
]

/** Credentials of a call. */
export function bearer(token: string = TOKEN): readonly [string, string] {
  return ['authorization', `Bearer ${token}`]
}

/** The message that arrived: decompressed if it was marked so, and whole. */
export function messageOf(reached: Reached): Buffer {
  const bytes = reached.bytes()
  assert.ok(bytes.length >= 5, `only ${bytes.length} bytes arrived`)
  assert.equal(bytes.readUInt32BE(1), bytes.length - 5, 'the length in the prefix')
  if (bytes[0] === 0) return bytes.subarray(5)
  assert.equal(bytes[0], 1)
  assert.equal(reached.headers['grpc-encoding'], 'gzip')
  return gunzipSync(bytes.subarray(5))
}

/** Bytes are compared without printing megabytes where they differ. */
export function assertSameBytes(actual: Uint8Array, expected: Uint8Array, what: string): void {
  assert.ok(
    Buffer.from(actual.buffer, actual.byteOffset, actual.length).equals(expected),
    `${what}: ${actual.length} bytes are not the ${expected.length} sent`,
  )
}

/** Values of a field at the collector, each as often as it came. */
export function valuesOf(reached: Reached, name: string): string[] {
  return reached.rawHeaders.filter(
    (_, at) => at % 2 === 1 && reached.rawHeaders[at - 1]?.toLowerCase() === name,
  )
}

/** Values of a metadata key in a reply. */
export function metadataOf(fields: CallReply['headers'], name: string): string[] {
  return fields.filter(([key]) => key === name).map(([, value]) => value)
}

export class Scene {
  readonly library: Library
  readonly driver: Driver
  gateway: Gateway
  readonly collector: ScriptedCollector
  readonly messages: Messages
  /** Where messages and the token set lie. */
  readonly #folder: string
  /** Gateways before the present one. */
  readonly #formers: Gateway[] = []
  #connections = 0

  private constructor(
    library: Library,
    gateway: Gateway,
    collector: ScriptedCollector,
    folder: string,
  ) {
    this.library = library
    this.driver = new Driver(library)
    this.gateway = gateway
    this.collector = collector
    this.messages = new Messages(folder)
    this.#folder = folder
  }

  /** Starts all three; `close` ends them. */
  static async open(library: Library): Promise<Scene> {
    const folder = await mkdtemp(join(tmpdir(), 'tollgate-interop-'))
    await writeTokens(folder, [TOKEN])
    const collector = await startCollector()
    const gateway = await spawnGateway({ collector: addressOf(collector), env: envOf(folder) })
    await untilMetrics(
      gateway.metrics,
      (page) => sumOf(page, 'tollgate_collector_up') === 1,
      'a collector',
    )
    return new Scene(library, gateway, collector, folder)
  }

  /** Starts another gateway on the same port with the same certificate, and goes on with it. */
  async succeed(): Promise<Gateway> {
    const { grpc, folder } = this.gateway
    const former = this.gateway
    this.gateway = await spawnGateway({
      collector: addressOf(this.collector),
      env: {
        ...envOf(this.#folder),
        TOLLGATE_GRPC_LISTEN: grpc,
        TOLLGATE_TLS_CERT: join(folder, 'test.pem'),
        TOLLGATE_TLS_KEY: join(folder, 'test.key'),
      },
    })
    this.#formers.push(former)
    return this.gateway
  }

  /** Replaces the token set, and waits until the gateway has read it. */
  async writeTokens(tokens: readonly string[]): Promise<void> {
    const count = async () =>
      sumOf(await this.gateway.metrics(), 'tollgate_tokens_last_reload_success_timestamp_seconds')
    const before = await count()
    await writeTokens(this.#folder, tokens)
    process.kill(this.gateway.pid, 'SIGHUP')
    await eventually(async () => (await count()) > before, 'the tokens read again')
  }

  /** Opens a connection of its own, and forgets what has arrived. Returns its name. */
  async connect(): Promise<string> {
    this.#connections += 1
    const name = `connection-${this.#connections}`
    const target = this.gateway.grpc.replace(/^.*:/, 'localhost:')
    await this.driver.connect(name, target, this.gateway.certificate)
    this.forget()
    return name
  }

  /** Forgets what has arrived, and answers with acceptance from now on. */
  forget(): void {
    this.collector.reached.length = 0
    this.collector.behave({ kind: 'ok' })
  }

  /** Makes a call that has to be accepted, with exactly these bytes arriving. */
  async accepted(name: string, message: Message, options: CallOptions = {}): Promise<CallReply> {
    this.collector.reached.length = 0
    const reply = await this.call(name, message, options)
    assert.equal(reply.code, CODE.OK, reply.message)
    assert.equal(this.collector.reached.length, 1, 'arrivals at the collector')
    assertSameBytes(messageOf(this.only), message.bytes, 'the message')
    return reply
  }

  call(name: string, message: Message, options: CallOptions = {}): Promise<CallReply> {
    return this.start(name, message, options).reply
  }

  start(name: string, message: Message, options: CallOptions = {}) {
    return this.driver.start(name, message.path, withToken(options))
  }

  /** Makes many calls that have to be accepted, each arriving once with its number and the bytes. */
  async acceptedMany(
    name: string,
    message: Message,
    options: CallOptions & { count: number; parallel: number },
  ): Promise<void> {
    const reply = await this.many(name, message, options)
    const { reached } = this.collector
    for (const each of reached)
      assertSameBytes(messageOf(each).subarray(4), message.bytes, 'a message')
    this.assertEachOnce(reply, reached, options.count)
  }

  many(
    name: string,
    message: Message,
    options: CallOptions & { count: number; parallel: number },
  ): Promise<ManyReply> {
    return this.driver.many(name, message.path, withToken(options))
  }

  /** All numbered calls were accepted, and each arrived once. */
  assertEachOnce(reply: ManyReply, reached: readonly Reached[], count: number): void {
    assert.deepEqual(reply.codes, { [CODE.OK]: count }, reply.firstError)
    const numbers = reached.map((each) => messageOf(each).readUInt32BE(0))
    assert.equal(numbers.length, count, 'arrivals')
    assert.equal(new Set(numbers).size, count, 'different messages')
  }

  /** The only request that arrived. */
  get only(): Reached {
    const { reached } = this.collector
    assert.equal(reached.length, 1, 'arrivals at the collector')
    return reached[0] as Reached
  }

  /** Connections to the gRPC port so far. */
  async connections(): Promise<number> {
    return sumOf(await this.gateway.metrics(), 'tollgate_connections_total', { port: 'grpc' })
  }

  /** Ends the client, and asserts that everything came to rest and is accounted for. */
  async close(): Promise<void> {
    try {
      await this.driver[Symbol.asyncDispose]()
      await untilMetrics(this.gateway.metrics, isQuiet, 'everything at rest')
      await this.gateway.assertInvariant()
      assert.equal((await this.gateway.outcomes()).internal, undefined, this.gateway.output())
    } finally {
      for (const gateway of [...this.#formers, this.gateway]) await gateway[Symbol.asyncDispose]()
      await this.collector.die()
      await rm(this.#folder, { recursive: true, force: true })
    }
  }
}

function envOf(folder: string): Record<string, string> {
  return {
    TOLLGATE_RATE: 'off',
    TOLLGATE_TOKENS: '',

    TOLLGATE_TOKENS_FILE: join(folder, TOKENS_FILE),
    TOLLGATE_MAX_BODY: '8MiB',
    TOLLGATE_FORWARD_HEADERS: FORWARDED.join(','),
    TOLLGATE_COLLECTOR_TIMEOUT: '5m',
    TOLLGATE_DRAIN_TIME: '30s',
  }
}

const TOKENS_FILE = 'tokens.json'

/** In one step, as a secrets mount does. */
async function writeTokens(folder: string, tokens: readonly string[]): Promise<void> {
  const path = join(folder, TOKENS_FILE)
  await writeFile(`${path}.new`, tokenSet(tokens.map((token) => ({ token }))), { mode: 0o600 })
  await rename(`${path}.new`, path)
}

function addressOf({ grpcPort }: ScriptedCollector) {
  return { grpc: `127.0.0.1:${grpcPort}` }
}

/** The credentials, unless the case brings its own. */
function withToken<T extends CallOptions>(options: T): T {
  const { metadata = [] } = options
  if (metadata.some(([name]) => name === 'authorization')) return options
  return { ...options, metadata: [bearer(), ...metadata] }
}
