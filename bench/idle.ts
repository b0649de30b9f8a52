/** What an open connection costs a proxy that has nothing to do: resident memory. */
import { setTimeout as sleep } from 'node:timers/promises'
import { startGenerator } from './load/generator.ts'
import type { Bench, Entrant } from './measure.ts'
import { bareTls } from './peers/small-proxy.ts'
import { processTree, readMemory } from './processes.ts'

/** Opened first and not counted: what a process takes once for many connections. */
const WARM_UP_CONNECTIONS = 1500
const CONNECTIONS = 1000
const SETTLE_MS = 2000

/** What stands for no proxy at all. */
export const BASELINE = bareTls

/**
 * Bytes of resident memory for each of a thousand idle gRPC connections: TLS handshake, SETTINGS
 * both ways and one call done. Throws where a connection or its call fails.
 */
export async function idleBytes(bench: Bench, { name, setting, running }: Entrant) {
  const payload = bench.payloads.get('227 B')
  if (payload === undefined) throw new Error('BUG: no payload')
  const generator = startGenerator()
  const order = {
    kind: name === BASELINE.name ? ('echo' as const) : ('idle' as const),
    port: setting.grpcPort,
    certPath: setting.certificate.certPath,
    bodyPath: payload.grpcBodyPath,
    tokens: setting.tokens,
  }
  const residentKb = async (connections: number) => {
    const { failed } = await generator.run({ ...order, connections })
    if (failed > 0) throw new Error(`${name}: ${failed} of ${connections} connections failed`)
    await sleep(SETTLE_MS)
    return readMemory(processTree(running.pid)).rssKb
  }
  try {
    const before = await residentKb(WARM_UP_CONNECTIONS)
    const after = await residentKb(CONNECTIONS)
    return ((after - before) * 1024) / CONNECTIONS
  } finally {
    await generator.stop()
  }
}
