/** A service of Dokploy as its API shows it: an application or a compose service with its environment. */

import { type DokployExchange, type Fields, fieldsOf } from './exchange.ts'
import { DokployProblem } from './problem.ts'
import type { ServiceTarget } from './target.ts'
import type { DokployText } from './text-edit.ts'

export interface Service {
  readonly kind: 'application' | 'compose'
  readonly id: string
  /** The name of the service in Docker. */
  readonly appName: string
  /** Where it runs, when that is not Dokploy's own machine. */
  readonly serverId: string | undefined
  /** The whole environment, one dotenv text. Never in a message. */
  readonly environment: string
  readonly isDeploying: boolean
  /** Stopped by hand, or never deployed. */
  readonly isStopped: boolean
  /** `stack` or `docker-compose`; of a compose service. */
  readonly composeType: string | undefined
  /** All fields, for what is to be sent back unchanged. */
  readonly fields: Fields
}

/** @throws {DokployProblem} in words. */
export async function readService(
  exchange: DokployExchange,
  kind: 'application' | 'compose',
  id: string,
): Promise<Service> {
  const fields = fieldsOf(await exchange.get(`${kind}.one`, { [`${kind}Id`]: id }))
  const { appName, env, serverId, composeType } = fields
  if (typeof appName !== 'string' || (typeof env !== 'string' && env !== null)) {
    throw new DokployProblem(
      `${kind}.one answered without the name or the environment of the service`,
      'see whether this version of Dokploy is known to docs/delivery.md',
    )
  }
  const environment = env ?? ''
  exchange.hide(environment)
  return {
    kind,
    id,
    appName,
    serverId: typeof serverId === 'string' && serverId !== '' ? serverId : undefined,
    environment,
    isDeploying: fields[`${kind}Status`] === 'running',
    isStopped: fields[`${kind}Status`] === 'idle',
    composeType: typeof composeType === 'string' ? composeType : undefined,
    fields,
  }
}

/** The environment of a service, to be read and written as a whole. */
export interface Environment extends DokployText {
  /** The service as it was read last. */
  service(): Service
}

/** Reading it throws where `obstacleOf` finds one for the variable. */
export function environmentOf(
  exchange: DokployExchange,
  { kind, id, variable }: ServiceTarget,
): Environment {
  let last: Service | undefined
  const service = (): Service => {
    if (last === undefined) throw new Error('a service is asked for before it is read')
    return last
  }
  return {
    service,
    async read() {
      last = await readService(exchange, kind, id)
      const obstacle = obstacleOf(last, variable)
      if (obstacle !== undefined) throw obstacle
      if (last.environment.trim() !== '') return last.environment
      // Written back with one variable, an environment that is only hidden would be lost.
      throw new DokployProblem(
        'Dokploy shows no environment of this service: it is empty, or the key may not read it',
        'if it is empty, write the variable there once by hand, with any value',
      )
    },
    async write(environment) {
      exchange.hide(environment)
      if (kind === 'application') await writeApplication(exchange, service(), environment)
      else await writeCompose(exchange, service(), environment)
    },
  }
}

/** Every field is required, and one left out would be refused or set to something else. */
async function writeApplication(exchange: DokployExchange, { id, fields }: Service, env: string) {
  const { buildArgs, buildSecrets, createEnvFile } = fields
  await exchange.post('application.saveEnvironment', {
    applicationId: id,
    env,
    buildArgs: buildArgs ?? null,
    buildSecrets: buildSecrets ?? null,
    // Before 0.27 there is no such field.
    ...(typeof createEnvFile === 'boolean' ? { createEnvFile } : {}),
  })
}

async function writeCompose(exchange: DokployExchange, { id, fields }: Service, env: string) {
  const { createEnvFile } = fields
  const echoed = typeof createEnvFile === 'boolean' ? { createEnvFile } : {}
  try {
    await exchange.post('compose.saveEnvironment', { composeId: id, env, ...echoed })
  } catch (error) {
    if (!(error instanceof DokployProblem) || error.status !== 404) throw error
    // Before 0.29 there is no such call, and this one takes the environment alone.
    await exchange.post('compose.update', { composeId: id, env })
  }
}

/**
 * Why a change of this service would be said to be done and not be in force; undefined where nothing
 * speaks against it.
 */
function obstacleOf({ kind, id, fields }: Service, variable: string) {
  return kind === 'application' ? startFirst(id, fields) : unusedVariable(fields, variable)
}

/** A port of the machine is taken by one task at a time: a new one that starts first never gets it. */
function startFirst(id: string, fields: Fields): DokployProblem | undefined {
  const { ports, endpointSpecSwarm, updateConfigSwarm } = fields
  const own = listOf(ports).filter(({ publishMode }) => publishMode !== 'ingress')
  const swarm = listOf(fieldsOf(endpointSpecSwarm).Ports)
  const host = swarm.filter(({ PublishMode }) => PublishMode === 'host')
  const port = own[0]?.publishedPort ?? host[0]?.PublishedPort
  const isStartFirst =
    updateConfigSwarm === null ||
    updateConfigSwarm === undefined ||
    fieldsOf(updateConfigSwarm).Order === 'start-first'
  if ((own.length === 0 && host.length === 0) || !isStartFirst) return undefined
  const order = { Parallelism: 1, Order: 'stop-first' }
  const cure = {
    applicationId: id,
    updateConfigSwarm: { ...order, FailureAction: 'rollback' },
    rollbackConfigSwarm: order,
  }
  return new DokployProblem(
    `the application publishes port ${String(port)} in host mode and is updated start-first: the new task would wait for that port for ever, Dokploy would say done, and the old one with the old token would go on`,
    `set the order to stop-first: in Advanced, Swarm Settings, Update Config {"Parallelism":1,"Order":"stop-first","FailureAction":"rollback"}, or POST application.update ${JSON.stringify(cure)}`,
  )
}

/** Dokploy writes the environment of a compose service into `.env`, and into no container. */
function unusedVariable(fields: Fields, variable: string): DokployProblem | undefined {
  const { sourceType, composeFile } = fields
  if (sourceType !== 'raw' || typeof composeFile !== 'string') return undefined
  if (composeFile.includes(variable) || composeFile.includes('env_file')) return undefined
  return new DokployProblem(
    `the compose file names neither ${variable} nor an env_file, so that no container would get it`,
    `add "environment: [${variable}]" or "env_file: .env" to the service in the compose file`,
  )
}

function listOf(value: unknown): readonly Fields[] {
  return Array.isArray(value) ? value.map(fieldsOf) : []
}
