/**
 * Every library with the most frequent keepalive pings that it lets one ask for, or ten a second: on a
 * connection without a call, and on one whose call waits for its answer. In plaintext, so that the
 * pings can be counted on their way.
 */
import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type ScriptedCollector, startCollector } from '../../support/collector.ts'
import { sumOf } from '../../support/exposition.ts'
import { isQuiet, untilMetrics } from '../../support/metrics.ts'
import { type Gateway, spawnGateway } from '../../support/spawn-gateway.ts'
import { Driver, type Library, type StartedCall } from './driver.ts'
import { type Message, Messages } from './payloads.ts'
import { type PingRelay, startPingRelay } from './ping-relay.ts'
import { bearer, CODE } from './scene.ts'

/** grpc-go and grpc-java take less than ten seconds for ten. */
const EVERY_MS: Readonly<Record<Library, number>> = {
  'grpc-go': 10_000,
  'grpc-java': 10_000,
  'grpc-python': 100,
  'grpc-js': 100,
  tonic: 100,
}
const ENOUGH_PINGS = 2

/** One library. */
interface Pinger {
  readonly library: Library
  readonly driver: Driver
  readonly idle: PingRelay
  readonly busy: PingRelay
  readonly call: StartedCall
}

const METADATA = { metadata: [bearer()] }

export class Keepalive {
  readonly #folder: string
  readonly #gateway: Gateway
  readonly #collector: ScriptedCollector
  readonly #message: Message
  readonly #pingers: readonly Pinger[]

  private constructor(
    folder: string,
    gateway: Gateway,
    collector: ScriptedCollector,
    message: Message,
    pingers: readonly Pinger[],
  ) {
    this.#folder = folder
    this.#gateway = gateway
    this.#collector = collector
    this.#message = message
    this.#pingers = pingers
  }

  /** Starts all of them; they ping until `finish`. */
  static async start(libraries: readonly Library[]): Promise<Keepalive> {
    const folder = await mkdtemp(join(tmpdir(), 'tollgate-keepalive-'))
    const collector = await startCollector()
    const gateway = await spawnGateway({
      collector: { grpc: `127.0.0.1:${collector.grpcPort}` },
      env: {
        TOLLGATE_TLS: 'off',
        TOLLGATE_TLS_CERT: '',
        TOLLGATE_TLS_KEY: '',
        TOLLGATE_COLLECTOR_TIMEOUT: '10m',
      },
    })
    const message = await new Messages(folder).of(1000)
    const up = (page: Parameters<typeof isQuiet>[0]) => sumOf(page, 'tollgate_collector_up') === 1
    await untilMetrics(gateway.metrics, up, 'a collector')
    const connected = await Promise.all(
      libraries.map(async (library) => {
        const driver = new Driver(library)
        const idle = await startPingRelay(gateway.grpc)
        const busy = await startPingRelay(gateway.grpc)
        await driver.connect('idle', idle.address, '', EVERY_MS[library])
        await driver.connect('busy', busy.address, '', EVERY_MS[library])
        const { code, message: words } = await driver.call('idle', message.path, METADATA)
        assert.equal(code, CODE.OK, `${library}: ${words}`)
        return { library, driver, idle, busy }
      }),
    )
    collector.behave({ kind: 'slow' })
    const pingers = connected.map((each) => ({
      ...each,
      call: each.driver.start('busy', message.path, METADATA),
    }))
    await collector.hasReached(2 * libraries.length)
    return new Keepalive(folder, gateway, collector, message, pingers)
  }

  /** Waits for the slowest to have pinged. */
  async untilPinged(): Promise<void> {
    const relays = this.#pingers.flatMap(({ idle, busy }) => [idle, busy])
    await untilMetrics(
      this.#gateway.metrics,
      () => relays.every(({ pings }) => pings >= ENOUGH_PINGS),
      `${ENOUGH_PINGS} pings of each: ${relays.map(({ pings }) => pings).join(', ')}`,
    )
  }

  /** Both connections of a library still stand, and its call is answered. Returns a word for the table. */
  async finish(library: Library): Promise<string> {
    const pinger = this.#pingers.find((each) => each.library === library)
    assert.ok(pinger !== undefined)
    const { idle, busy, driver, call } = pinger
    this.#collector.behave({ kind: 'ok' })
    this.#collector.resumeReading()
    for (const { code, message } of [
      await call.reply,
      await driver.call('idle', this.#message.path, METADATA),
      await driver.call('busy', this.#message.path, METADATA),
    ])
      assert.equal(code, CODE.OK, message)
    assert.deepEqual([idle.connections, busy.connections], [1, 1], 'connections made')
    return `${idle.pings} + ${busy.pings} pings`
  }

  /** Ends all of it. */
  async close(): Promise<void> {
    try {
      for (const { driver, idle, busy } of this.#pingers) {
        await driver[Symbol.asyncDispose]()
        await idle.close()
        await busy.close()
      }
      await untilMetrics(this.#gateway.metrics, isQuiet, 'everything at rest')
      await this.#gateway.assertInvariant()
    } finally {
      await this.#gateway[Symbol.asyncDispose]()
      await this.#collector.die()
      await rm(this.#folder, { recursive: true, force: true })
    }
  }
}
