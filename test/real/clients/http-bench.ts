/** A gateway for clients of OTLP/HTTP over HTTP/2, and what has arrived behind it. */
import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import type { Reached } from '../../support/collector-script.ts'
import { startGateway, type TestGateway } from '../../support/gateway.ts'
import { Messages } from './payloads.ts'
import { assertSameBytes, messageOf } from './scene.ts'

/** The path of traces. */
export const PATH = '/v1/traces'
/** Of what is random in these tests. */
export const SEED = 8

/** What a client is given. */
export interface Bench {
  readonly gateway: TestGateway
  readonly messages: Messages
  /** Path of the CA certificate. */
  readonly ca: string
  /** Where traces are sent. */
  readonly url: string
}

/** What the collector speaks. */
export const BACKENDS = ['http', 'grpc'] as const

/** Starts a gateway that limits nothing but the size of messages; it stops when the test ends. */
export async function open(t: TestContext, speaks: (typeof BACKENDS)[number]): Promise<Bench> {
  const env = { RATE: 'off', IN_FLIGHT: 'off', MAX_BODY: '8MiB' }
  const gateway = await startGateway(t, { speaks, env })
  const ca = join(gateway.folder, 'interop-ca.pem')
  await writeFile(ca, gateway.caPem)
  const url = gateway.addresses.http.replace(/^.*:/, 'https://localhost:') + PATH
  return { gateway, messages: new Messages(join(gateway.folder, 'messages')), ca, url }
}

/** The message as it arrived, on whichever protocol. */
export function bodyOf(reached: Reached): Buffer {
  return reached.protocol === 'grpc' ? messageOf(reached) : reached.bytes()
}

/** Exactly these arrived, in any order. */
export function assertArrived({ gateway }: Bench, expected: readonly Buffer[]): void {
  const sorted = (list: readonly Buffer[]) => [...list].sort(Buffer.compare)
  const arrived = sorted(gateway.collector.reached.map(bodyOf))
  assert.equal(arrived.length, expected.length, 'arrivals at the collector')
  for (const [at, bytes] of sorted(expected).entries())
    assertSameBytes(arrived[at] ?? Buffer.alloc(0), bytes, 'a message')
}
