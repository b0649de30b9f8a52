/** The load generator of our own as a child process. */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import type { LoadResult } from '../h2load.ts'
import { end } from '../processes.ts'
import type { CallOrder, Order, Outcome } from './main.ts'

const TIMEOUT_MS = 300_000

export interface Generator {
  /** Throws where the generator ends, or says nothing for five minutes. */
  run(order: Order): Promise<Outcome>
  /** Ends it, and with it every connection it holds. */
  stop(): Promise<void>
}

export function startGenerator(): Generator {
  const child = fork(join(import.meta.dirname, 'main.ts'), [], {
    execArgv: ['--disable-warning=ExperimentalWarning'],
  })
  return {
    async run(order) {
      child.send(order)
      const early = once(child, 'exit').then(([code]) => {
        throw new Error(`The load generator ended with ${code}`)
      })
      early.catch(() => undefined)
      const told = once(child, 'message', { signal: AbortSignal.timeout(TIMEOUT_MS) })
      const [outcome] = await Promise.race([told, early])
      return outcome as Outcome
    },
    stop: () => end(child),
  }
}

/** Runs one load to its end, as `load` does with h2load. */
export async function loadVaried(order: CallOrder): Promise<LoadResult> {
  const generator = startGenerator()
  try {
    const { seconds, succeeded, failed, p50Us, p99Us } = await generator.run(order)
    const requestsPerSecond = order.requests / seconds
    return {
      requestsPerSecond,
      succeeded,
      failed,
      status2xx: succeeded,
      status4xx: 0,
      p50Us,
      p99Us,
    }
  } finally {
    await generator.stop()
  }
}
