/** A gateway under attack: beside the attacker somebody is served on one connection all the time. */
import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'
import { assertAccepted } from '../support/answers.ts'
import type { Client } from '../support/client.ts'
import { type Page, sumOf } from '../support/exposition.ts'
import { startGateway, type TestGateway, type TestGatewayOptions } from '../support/gateway.ts'
import { RawHttp2, type RawHttp2Options } from '../support/raw-http2.ts'
import { openTls } from '../support/raw-socket.ts'

/** What the heap of gateway and attacker together may grow by. */
const GROWTH_BYTES = 48 * 1024 * 1024

export interface Scene {
  readonly gateway: TestGateway
  readonly bystander: Client
  /** A connection of the attacker's. */
  open(options?: RawHttp2Options, localAddress?: string): Promise<RawHttp2>
  /** Connections refused so far for this reason. */
  refused(reason: string): Promise<number>
}

/**
 * Plays an attack. Asserts that the bystander was served before, while and after on the connection
 * it had, that memory stayed small, and that nothing of the attack is left when its connections are
 * gone.
 */
export async function underAttack(
  t: Pick<TestContext, 'after'>,
  act: (scene: Scene) => Promise<void>,
  options: TestGatewayOptions = {},
): Promise<void> {
  const env = { RATE: '100000/s', BURST: '100000', IN_FLIGHT: '1000', ...options.env }
  const gateway = await startGateway(t, { ...options, env })
  const bystander = gateway.connect('gRPC')
  assertAccepted(await bystander.send())
  const { session } = bystander
  const attackers: RawHttp2[] = []
  const scene: Scene = {
    gateway,
    bystander,
    async open(settings, localAddress) {
      const attacker = new RawHttp2(await openTls(gateway, 'grpc', 'h2', localAddress), settings)
      attackers.push(attacker)
      return attacker
    },
    refused: async (reason) => refusals(await gateway.metrics(), reason),
  }
  const before = memoryBytes()
  try {
    const acting = act(scene)
    assertAccepted(await bystander.send())
    await acting
    assertAccepted(await bystander.send())
    assert.equal(bystander.session, session, 'the bystander kept its connection')
    const growth = memoryBytes() - before
    assert.ok(growth < GROWTH_BYTES, `memory grew by ${growth} bytes`)
  } finally {
    gateway.collector.resumeReading()
    for (const attacker of attackers) attacker.close()
  }
  await gateway.until(isAtRest, 'an end of the attack')
}

/** Connections refused for a reason. */
export function refusals(page: Page, reason: string): number {
  return sumOf(page, 'tollgate_connections_refused_total', { reason })
}

/** Only the bystander is left, and it does nothing. */
function isAtRest(page: Page): boolean {
  const held = ['tollgate_in_flight', 'tollgate_held', 'tollgate_in_flight_bytes']
  return held.every((name) => sumOf(page, name) === 0) && sumOf(page, 'tollgate_connections') === 1
}

function memoryBytes(): number {
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}
