/** The responder as a child process. */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { end } from './processes.ts'
import type { Counts } from './responder.ts'

export interface Backend {
  readonly pid: number
  counts(): Promise<Counts>
  stop(): Promise<void>
}

/** Starts the responder and waits until it listens. */
export async function startBackend(grpcPort: number, httpPort: number): Promise<Backend> {
  const child = fork(
    join(import.meta.dirname, 'responder.ts'),
    [String(grpcPort), String(httpPort)],
    { execArgv: ['--disable-warning=ExperimentalWarning'] },
  )
  const early = once(child, 'exit').then(() => {
    throw new Error('The responder ended before it listened')
  })
  await Promise.race([once(child, 'message'), early])
  early.catch(() => undefined)
  if (child.pid === undefined) throw new Error('The responder could not be started')
  return {
    pid: child.pid,
    async counts() {
      child.send('counts')
      const [counts] = await once(child, 'message')
      return counts as Counts
    },
    stop: () => end(child),
  }
}
