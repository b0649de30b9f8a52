/**
 * A stand-in for Dokploy's API. Dokploy itself cannot run in tests: it is made of a Docker Swarm,
 * PostgreSQL, Redis and Traefik, and wants a machine of its own. This was built from its published
 * OpenAPI document and from how its source behaves (0.26 to 0.30), with what surprises callers:
 *
 * - the environment of a service is one text, replaced as a whole and without a version;
 * - every field of `application.saveEnvironment` is required, and 400 names those that are missing;
 * - it is stored encrypted since 0.29.12, which nobody sees from outside;
 * - each call counts twice against a key's limit, and a limit used up is a plain 401;
 * - `deploy` and `redeploy` only queue: a record appears when the work begins;
 * - `reload` makes no record and answers when Swarm has taken the order, not when it is carried out;
 * - a port in host mode with start-first: done, and the old task goes on;
 * - a compose service makes a container anew only where the compose file uses what changed;
 * - `mounts.update` rewrites the file in place, and `mounts.one` shows the whole service around it;
 * - `compose.import` replaces compose file, environment, mounts and domains of a service;
 * - settings of Swarm are checked field by field, and one that is unknown is refused.
 */
import { writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { parseEnv } from 'node:util'
import { checkSwarmSettings, type Json, Refused, require } from './dokploy-input.ts'
import { importTemplate } from './dokploy-template.ts'

export interface FakeTask {
  containerId: string
  state: string
  currentState?: string
  error?: string
  /** What this task was started with; not shown by the API. */
  readonly env: Json
}

export interface FakeService {
  readonly id: string
  readonly kind: 'application' | 'compose'
  fields: Json
  tasks: FakeTask[]
  /** How the next deployment ends; `stuck`: never. */
  outcome: 'done' | 'error' | 'stuck'
  /** The new task dies at its start, and Swarm rolls back. */
  crashes: boolean
  deployments: Json[]
  /** Steps that the deployment under way has yet to take, one at each look. */
  queued: (() => void)[]
}

interface Key {
  /** Calls in 24 h; undefined: no limit. */
  readonly max: number | undefined
  used: number
  /** Undefined: all. */
  readonly permissions: readonly string[] | undefined
}

export class FakeDokploy {
  /** Minor version: 26 to 30. */
  version = 30
  readonly services = new Map<string, FakeService>()
  readonly mounts = new Map<string, Json>()
  readonly keys = new Map<string, Key>()
  /** Every call, as `POST application.saveEnvironment`. */
  readonly calls: string[] = []
  readonly #server: Server
  readonly #before = new Map<string, (() => void)[]>()
  readonly #answers = new Map<string, ((response: ServerResponse) => void)[]>()
  #count = 0

  private constructor() {
    this.#server = createServer((request, response) => void this.#answer(request, response))
  }

  static async start(): Promise<FakeDokploy> {
    const dokploy = new FakeDokploy()
    await new Promise<void>((ready) => dokploy.#server.listen(0, '127.0.0.1', ready))
    return dokploy
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise((done) => this.#server.close(done))
  }

  addKey(key: string, { max, permissions }: Partial<Key> = {}): void {
    this.keys.set(key, { max, used: 0, permissions })
  }

  addService(kind: FakeService['kind'], id: string, env: string, fields: Json = {}): FakeService {
    const own: Json =
      kind === 'application'
        ? {
            applicationStatus: 'done',
            ports: [],
            updateConfigSwarm: null,
            endpointSpecSwarm: null,
            buildArgs: 'NPM_TOKEN=build-arg-secret',
            buildSecrets: null,
          }
        : {
            composeStatus: 'done',
            composeType: 'docker-compose',
            sourceType: 'raw',
            composeFile: 'services: {agent: {image: agent, env_file: .env}}',
          }
    if (this.version >= 27) own.createEnvFile = true
    const service: FakeService = {
      id,
      kind,
      fields: { [`${kind}Id`]: id, appName: `shop-${id}`, serverId: null, env, ...own, ...fields },
      tasks: [],
      outcome: 'done',
      crashes: false,
      deployments: [],
      queued: [],
    }
    service.tasks.push(this.#task(service, 'running'))
    this.services.set(id, service)
    return service
  }

  /** Runs something just before the next call of a procedure is carried out. */
  before(procedure: string, run: () => void): void {
    this.#before.set(procedure, [...(this.#before.get(procedure) ?? []), run])
  }

  /** Answers the next call of a procedure so, and does nothing else. */
  answerOnce(procedure: string, answer: (response: ServerResponse) => void): void {
    this.#answers.set(procedure, [...(this.#answers.get(procedure) ?? []), answer])
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', 'http://localhost')
    const procedure = /^\/api\/([\w.]+)$/.exec(url.pathname)?.[1]
    let text = ''
    for await (const chunk of request) text += String(chunk)
    if (procedure === undefined) {
      response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' })
      response.end('<!DOCTYPE html><title>Dokploy</title>')
      return
    }
    this.calls.push(`${request.method} ${procedure}`)
    const answer = this.#answers.get(procedure)?.shift()
    if (answer !== undefined) return answer(response)
    this.#before.get(procedure)?.shift()?.()
    const send = (status: number, body: unknown) => {
      response.writeHead(status, { 'content-type': 'application/json' })
      response.end(body === undefined ? '' : JSON.stringify(body))
    }
    try {
      const key = this.#authenticate(request)
      const input: Json =
        request.method === 'GET' ? Object.fromEntries(url.searchParams) : JSON.parse(text || '{}')
      send(200, this.#call(`${request.method} ${procedure}`, input, key))
    } catch (error) {
      if (error instanceof Refused) send(error.status, error.body)
      else send(500, { message: String(error), code: 'INTERNAL_SERVER_ERROR' })
    }
  }

  #authenticate(request: IncomingMessage): Key {
    const key = this.keys.get(String(request.headers['x-api-key']))
    if (key === undefined) throw new Refused(401, 'Unauthorized', 'UNAUTHORIZED')
    // Verified once by the page that takes the request, and once more for its context.
    for (let time = 1; time <= 2; time += 1) {
      if (key.max !== undefined && key.used >= key.max) {
        throw new Refused(401, 'Unauthorized', 'UNAUTHORIZED')
      }
      key.used += 1
    }
    return key
  }

  #call(call: string, input: Json, key: Key): unknown {
    const may = (permission: string) => {
      if (key.permissions?.includes(permission) === false) {
        throw new Refused(403, `You don't have permission: ${permission}`, 'FORBIDDEN')
      }
    }
    const service = () => this.#service(String(input.applicationId ?? input.composeId))
    switch (call) {
      case 'GET application.one':
      case 'GET compose.one':
        return service().fields
      case 'POST application.saveEnvironment': {
        const wanted = ['applicationId', 'env', 'buildArgs', 'buildSecrets']
        require(input, this.version >= 27 ? [...wanted, 'createEnvFile'] : wanted)
        may('envVars:write')
        const { env, buildArgs, buildSecrets, createEnvFile } = input
        Object.assign(service().fields, { env, buildArgs, buildSecrets })
        if (this.version >= 27) Object.assign(service().fields, { createEnvFile })
        return true
      }
      case 'POST compose.saveEnvironment':
        if (this.version < 29) throw new Refused(404, 'Not found', 'NOT_FOUND')
        require(input, ['composeId', 'env'])
        may('envVars:write')
        service().fields.env = input.env
        return true
      case 'POST compose.update':
        require(input, ['composeId'])
        may('service:create')
        Object.assign(service().fields, input)
        return service().fields
      case 'POST compose.import': {
        require(input, ['base64', 'composeId'])
        may('service:create')
        const { fields } = service()
        const { compose, env, domains, mounts } = importTemplate(
          String(input.base64),
          String(fields.appName),
        )
        Object.assign(fields, { composeFile: compose, sourceType: 'raw', env, domains, mounts })
        return { success: true, message: 'Template imported successfully' }
      }
      case 'POST application.update':
        require(input, ['applicationId'])
        may('service:create')
        checkSwarmSettings(input)
        Object.assign(service().fields, input)
        return true
      case 'POST port.create': {
        const wanted = ['publishedPort', 'publishMode', 'targetPort', 'protocol']
        require(input, ['applicationId', ...wanted])
        const { ports } = service().fields
        ;(ports as Json[]).push(input)
        return true
      }
      case 'POST application.reload':
        require(input, ['applicationId', 'appName'])
        may('deployment:create')
        this.#update(service())
        return true
      case 'POST application.deploy':
      case 'POST application.redeploy':
      case 'POST compose.deploy':
      case 'POST compose.redeploy':
        may('deployment:create')
        this.#enqueue(service(), input.title)
        return call.includes('compose')
          ? { success: true, message: 'Deployment queued' }
          : undefined
      case 'GET deployment.allByType': {
        const { deployments, queued } = this.#service(String(input.id))
        queued.shift()?.()
        return deployments.toReversed()
      }
      case 'GET docker.getServiceContainersByAppName':
      case 'GET docker.getContainersByAppNameMatch': {
        may('docker:read')
        const named = [...this.services.values()].find(
          ({ fields }) => fields.appName === input.appName,
        )
        return (named?.tasks ?? []).map(({ env: _, ...shown }) => shown)
      }
      case 'GET mounts.one': {
        const mount = this.mounts.get(String(input.mountId))
        if (mount === undefined) throw new Refused(404, 'Mount not found', 'NOT_FOUND')
        return mount
      }
      case 'POST mounts.update': {
        require(input, ['mountId'])
        may('volume:create')
        const mount = this.mounts.get(String(input.mountId)) ?? {}
        // `hostPath` is where a test has the file. Truncated and written, never replaced.
        if (typeof mount.hostPath === 'string') writeFileSync(mount.hostPath, String(input.content))
        return Object.assign(mount, input)
      }
      default:
        throw new Refused(404, 'Not found', 'NOT_FOUND')
    }
  }

  #service(id: string): FakeService {
    const service = this.services.get(id)
    if (service === undefined) throw new Refused(404, 'Application not found', 'NOT_FOUND')
    return service
  }

  #enqueue(service: FakeService, title: unknown): void {
    const row: Json = {
      deploymentId: `deployment-${this.#next()}`,
      title: this.version >= 27 ? title : 'Manual deployment',
      status: 'running',
      createdAt: new Date().toISOString(),
    }
    service.queued.push(
      () => undefined,
      () => {
        service.deployments.push(row)
        service.fields[`${service.kind}Status`] = 'running'
      },
      () => {
        if (service.outcome === 'stuck') return
        row.status = service.outcome
        service.fields[`${service.kind}Status`] = service.outcome
        if (service.outcome === 'done') this.#update(service)
      },
    )
  }

  /** What Swarm, or `docker compose up`, makes of it. */
  #update(service: FakeService): void {
    const { fields, tasks } = service
    service.fields[`${service.kind}Status`] = 'done'
    const env = parseEnv(String(fields.env))
    if (service.kind === 'compose') {
      const isUsed = String(fields.composeFile).includes('env_file')
      const isSame = JSON.stringify(tasks[0]?.env) === JSON.stringify(env)
      if (isUsed && !isSame) service.tasks = [this.#task(service, 'running')]
      return
    }
    const ports = fields.ports as readonly Json[]
    const config = fields.updateConfigSwarm as Json | null
    const isHost = ports.some(({ publishMode }) => publishMode === 'host')
    if (isHost && (config === null || config.Order === 'start-first')) {
      const error = 'no suitable node (host-mode port already in use on 1 node)'
      tasks.unshift(this.#task(service, 'pending', error))
      return
    }
    const old = tasks.find(({ state }) => state === 'running')
    for (const task of tasks) {
      task.state = 'shutdown'
      if (task.currentState !== undefined) task.currentState = 'Shutdown 1 second ago'
    }
    if (!service.crashes) {
      tasks.unshift(this.#task(service, 'running'))
      return
    }
    tasks.unshift(this.#task(service, 'failed', 'task: non-zero exit (1)'))
    tasks.unshift({ ...this.#task(service, 'running'), env: old?.env ?? {} })
  }

  #task(service: FakeService, what: 'running' | 'pending' | 'failed', error = ''): FakeTask {
    const env: Json = { ...parseEnv(String(service.fields.env)) }
    const containerId = `task-${this.#next()}`
    const name = `${service.fields.appName}.1`
    const state = what === 'failed' ? 'shutdown' : 'running'
    const basic = { containerId, name, state, node: 'vps', env }
    // Before 0.28 the state that is wanted is all that is shown.
    if (service.kind === 'compose' || this.version < 28) return basic
    const word = { running: 'Running', pending: 'Pending', failed: 'Failed' }[what]
    return { ...basic, currentState: `${word} 2 seconds ago`, error }
  }

  #next(): number {
    this.#count += 1
    return this.#count
  }
}
