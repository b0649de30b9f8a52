/** Puts a changed environment in force, and waits until what runs has it. */
import { setTimeout as pause } from 'node:timers/promises'
import { type DokployExchange, type Fields, fieldsOf } from './exchange.ts'
import { DokployProblem } from './problem.ts'
import { readService, type Service } from './service.ts'
import type { How } from './target.ts'
import { judge, listTasks, reasonOf, type Task } from './tasks.ts'

export interface RolloutOptions {
  readonly how: How
  /** By which our deployment is known among others. No secret. */
  readonly title: string
  /** Whether the environment was changed just now; if not, containers may rightly stay. */
  readonly isChanged: boolean
  readonly timeoutMs: number
  readonly pollMs: number
}

const MAX_CONTAINER_LOOKS = 10

/** Resolves with what was seen, to complete a sentence. @throws {DokployProblem} in words. */
export async function rollOut(
  exchange: DokployExchange,
  service: Service,
  options: RolloutOptions,
): Promise<string> {
  const untilMs = performance.now() + options.timeoutMs
  if (options.how === 'reload') await othersDone(exchange, service, options, untilMs)
  const before = await listTasks(exchange, service)
  if (options.how === 'reload') {
    const { appName, id } = service
    await exchange.post('application.reload', { appName, applicationId: id }, options.timeoutMs)
  } else {
    await deploy(exchange, service, options, untilMs)
  }
  const done = { reload: 'reloaded it', redeploy: 'redeployed it', deploy: 'deployed it' }
  if (before === undefined) {
    return `${done[options.how]}; whether the new one runs was not seen, as the key lacks docker: read`
  }
  const seen =
    service.kind === 'application'
      ? await newTask(exchange, service, before, options, untilMs)
      : await newContainers(exchange, service, before, options)
  return `${done[options.how]}; ${seen}`
}

/**
 * A deployment that began before the token was written has the old environment, and would put it in
 * force behind a reload. Deployments wait for one another by themselves.
 */
async function othersDone(
  exchange: DokployExchange,
  service: Service,
  { pollMs, timeoutMs }: RolloutOptions,
  untilMs: number,
): Promise<void> {
  let isDeploying = service.isDeploying
  while (isDeploying) {
    if (performance.now() > untilMs) {
      throw new DokployProblem(
        `another deployment is still running after ${timeoutMs / 1000} s, and would bring the old token back`,
        'look at Deployments in Dokploy',
        { isTemporary: true },
      )
    }
    await pause(pollMs)
    const now = await passing(() => readService(exchange, service.kind, service.id))
    isDeploying = now?.isDeploying ?? true
  }
}

/** Asks for a deployment and waits for its end. While it is queued, Dokploy has no record of it. */
async function deploy(
  exchange: DokployExchange,
  { kind, id }: Service,
  { how, title, pollMs, timeoutMs }: RolloutOptions,
  untilMs: number,
): Promise<void> {
  const list = async (): Promise<readonly Fields[]> => {
    const answer = await exchange.get('deployment.allByType', { id, type: kind })
    return Array.isArray(answer) ? answer.map(fieldsOf) : []
  }
  const known = new Set((await list()).map(({ deploymentId }) => deploymentId))
  await exchange.post(`${kind}.${how}`, { [`${kind}Id`]: id, title })
  for (let status = 'queued'; ; ) {
    await pause(pollMs)
    const rows = (await passing(list)) ?? []
    const fresh = rows.filter(({ deploymentId }) => !known.has(deploymentId))
    // Versions that take no title: the oldest of the new ones is ours.
    const own = fresh.find((row) => row.title === title) ?? fresh.at(-1)
    status = typeof own?.status === 'string' ? own.status : status
    if (status === 'done') return
    if (status !== 'queued' && status !== 'running') {
      throw new DokployProblem(
        `the deployment ended with ${/^\w+$/.test(status) ? status : 'an unknown status'}`,
        'its log is under Deployments in Dokploy',
      )
    }
    if (performance.now() > untilMs) {
      throw new DokployProblem(
        `the deployment is still ${status} after ${timeoutMs / 1000} s`,
        'look at Deployments in Dokploy',
        { isTemporary: true },
      )
    }
  }
}

/** Dokploy says done as soon as Swarm has taken the order: only the tasks tell whether it was carried out. */
async function newTask(
  exchange: DokployExchange,
  service: Service,
  before: readonly Task[],
  { pollMs, timeoutMs }: RolloutOptions,
  untilMs: number,
): Promise<string> {
  for (let looksRunning = 0; ; ) {
    await pause(pollMs)
    const tasks = (await passing(() => listTasks(exchange, service))) ?? []
    const verdict = judge(before, tasks)
    if (verdict === 'unknown') return 'this Dokploy does not tell whether the new task runs'
    if (typeof verdict === 'object') {
      throw new DokployProblem(
        `the new task failed${quoted(verdict.failed)}, and Swarm goes back to the old one with the old token`,
        "see the service's log in Dokploy",
      )
    }
    looksRunning = verdict === 'running' ? looksRunning + 1 : 0
    // Twice: one that dies at once is seen running for a moment.
    if (looksRunning === 2) return 'the new task runs'
    if (performance.now() > untilMs) {
      throw new DokployProblem(
        `Dokploy says done, but no new task runs after ${timeoutMs / 1000} s${quoted(reasonOf(tasks))}: the old one goes on with the old token`,
        'free what it waits for; a port in host mode needs the update order stop-first',
        { isTemporary: true },
      )
    }
  }
}

/** Compose makes only those containers anew whose settings have changed. */
async function newContainers(
  exchange: DokployExchange,
  service: Service,
  before: readonly Task[],
  { isChanged, pollMs }: RolloutOptions,
): Promise<string> {
  const known = new Set(before.map(({ id }) => id))
  // `docker compose up` ends when they are there; a stack makes them a little later.
  for (let look = 1; look <= MAX_CONTAINER_LOOKS; look += 1) {
    await pause(pollMs)
    const now = (await passing(() => listTasks(exchange, service))) ?? []
    const fresh = now.filter(({ id }) => !known.has(id))
    if (fresh.some(({ state }) => state === 'restarting')) {
      throw new DokployProblem(
        'a new container starts again and again',
        "see the service's log in Dokploy",
      )
    }
    if (fresh.length > 0) return `${fresh.length} of ${now.length} containers are new`
    if (!isChanged && now.length > 0) return 'no container had to be made anew'
  }
  throw new DokployProblem(
    'Dokploy says done, but no container was made anew: none of them uses the variable',
    'pass it on in the compose file (environment: or env_file: .env)',
  )
}

/** Undefined where Dokploy is away for a moment: one looks again until the time is up. */
async function passing<T>(look: () => Promise<T>): Promise<T | undefined> {
  try {
    return await look()
  } catch (error) {
    if (!(error instanceof DokployProblem) || !error.isTemporary) throw error
    return undefined
  }
}

function quoted(reason: string): string {
  const clean = reason.replace(/[^\x20-\x7e]/g, ' ').slice(0, 200)
  return clean.trim() === '' ? '' : ` (${clean.trim()})`
}
