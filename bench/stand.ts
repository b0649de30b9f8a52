/** Everything a measurement stands on: payloads, certificate, responder and the proxies, started and taken down. */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startBackend } from './backend.ts'
import { makeCertificate } from './certificate.ts'
import type { Bench, Entrant } from './measure.ts'
import { makePayloads } from './payloads.ts'
import type { Contestant } from './peers/contestant.ts'
import { probe } from './probe.ts'
import { freePorts } from './processes.ts'

/** A running stand. */
export interface Stand {
  readonly bench: Bench
  readonly entrants: readonly Entrant[]
  /** Makes sure that every proxy does what it is measured by. Throws where one does not. */
  probeAll(): Promise<void>
  /** Stops everything that was started. */
  close(): Promise<void>
}

/** Any tokens of this form do; they are let through by all proxies alike. */
const TOKENS = [
  'tg_bench_7hQ2vXzK9mB4tLwR8nYc3PjD6sFa1GeU',
  'tg_bench_Wk5pZx8RdT2yNc7LmQ4vJb9HsGf3KuEa',
  'tg_bench_e6UoYr1iBn4MqXs9CwVz7PtDh2LkAj8F',
] as const
/** Below 32768, where the kernel would hand out the ports to clients. */
const FIRST_PORT = 21_400
const PORTS_EACH = 3
const BOTH = ['grpc', 'http'] as const

/** Starts the responder and the contestants, in the order given. */
export async function openStand(contestants: readonly Contestant[]): Promise<Stand> {
  const directory = mkdtempSync(join(tmpdir(), 'tollgate-bench-'))
  const stops: (() => Promise<void>)[] = []
  const close = async () => {
    for (const stop of stops.splice(0).reverse()) await stop()
    rmSync(directory, { recursive: true, force: true })
  }
  try {
    const [collectorGrpcPort = 0, collectorHttpPort = 0, ...ports] = await freePorts(
      FIRST_PORT,
      2 + PORTS_EACH * contestants.length,
    )
    const certificate = makeCertificate(directory)
    const backend = await startBackend(collectorGrpcPort, collectorHttpPort)
    stops.push(backend.stop)
    const entrants: Entrant[] = []
    for (const [index, contestant] of contestants.entries()) {
      const [grpcPort = 0, httpPort = 0, sparePort = 0] = ports.slice(PORTS_EACH * index)
      const own = join(directory, String(index))
      mkdirSync(own)
      const setting = {
        ...{ directory: own, certificate, tokens: TOKENS, grpcPort, httpPort, sparePort },
        ...{ collectorGrpcPort, collectorHttpPort },
      }
      const version = contestant.version()
      const running = await contestant.start(setting)
      stops.push(running.stop)
      const { name, isPassThrough, protocols = BOTH, share = 1 } = contestant
      entrants.push({ name, version, isPassThrough, protocols, share, setting, running })
    }
    const payloads = makePayloads(directory)
    const bench = { payloads, backend, logPath: join(directory, 'h2load.log') }
    const probeAll = async () => {
      for (const { name, setting, isPassThrough, protocols } of entrants) {
        const subject = { setting, isPassThrough, protocols, backend }
        await probe(subject, payloads.values()).catch((error: unknown) => {
          throw new Error(`${name} does not do what is measured`, { cause: error })
        })
      }
    }
    return { bench, entrants, probeAll, close }
  } catch (error) {
    await close()
    throw error
  }
}
