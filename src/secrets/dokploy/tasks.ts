/** Whether what runs has really been started anew: tasks of an application, containers of a compose service. */
import { type DokployExchange, fieldsOf } from './exchange.ts'
import { DokployProblem } from './problem.ts'
import type { Service } from './service.ts'

export interface Task {
  readonly id: string
  /** Of a task: what Swarm wants of it. Of a container: what it is. */
  readonly state: string
  /** What a task is at the moment, such as `Running 3 seconds ago`; undefined where an older Dokploy does not tell. */
  readonly current: string | undefined
  /** Such as `no suitable node (host-mode port already in use on 1 node)`. */
  readonly error: string
}

/** Undefined where the key may not look, or this Dokploy cannot tell. @throws {DokployProblem} */
export async function listTasks(
  exchange: DokployExchange,
  { kind, appName, serverId, composeType }: Service,
): Promise<readonly Task[] | undefined> {
  const server = serverId === undefined ? {} : { serverId }
  const [procedure, query] =
    kind === 'application'
      ? ['docker.getServiceContainersByAppName', { appName, ...server }]
      : [
          'docker.getContainersByAppNameMatch',
          { appName, appType: composeType ?? 'docker-compose', ...server },
        ]
  try {
    const answer = await exchange.get(procedure, query)
    return Array.isArray(answer) ? answer.flatMap(taskOf) : undefined
  } catch (error) {
    const status = error instanceof DokployProblem ? error.status : undefined
    if (status === 400 || status === 403 || status === 404) return undefined
    throw error
  }
}

/** What the tasks that were not there before tell. */
export type Verdict = 'waiting' | 'running' | { readonly failed: string }

/** Those that are new since `before`, judged. Without `current` a wanted state proves nothing. */
export function judge(before: readonly Task[], now: readonly Task[]): Verdict | 'unknown' {
  const known = new Set(before.map(({ id }) => id))
  const fresh = now.filter(({ id }) => !known.has(id))
  const failed = fresh.find(({ current }) => /^(?:failed|rejected)/i.test(current ?? ''))
  if (failed !== undefined) return { failed: failed.error }
  if (fresh.some(isRunning)) return 'running'
  return fresh.some(({ current }) => current === undefined) ? 'unknown' : 'waiting'
}

/** Why a task that is wanted does not run yet, in Swarm's words. */
export function reasonOf(tasks: readonly Task[]): string {
  return tasks.find((task) => task.error !== '' && !isRunning(task))?.error ?? ''
}

function isRunning({ state, current }: Task): boolean {
  return state === 'running' && /^running/i.test(current ?? '')
}

function taskOf(value: unknown): Task[] {
  const { containerId, state, currentState, error } = fieldsOf(value)
  if (typeof containerId !== 'string' || typeof state !== 'string') return []
  return [
    {
      id: containerId,
      state: state.toLowerCase(),
      current: typeof currentState === 'string' ? currentState : undefined,
      error: typeof error === 'string' ? error : '',
    },
  ]
}
