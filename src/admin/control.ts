/**
 * The running gateway's own command channel: HTTP on a unix socket in its state directory. Who may
 * open the socket may use it; nobody but the gateway's user can (mode 0600).
 */
import { randomBytes } from 'node:crypto'
import { EventEmitter, once } from 'node:events'
import { chmod, lstat, mkdir, rename, rm } from 'node:fs/promises'
import { connect } from 'node:net'
import { join } from 'node:path'
import fastify, { type FastifyInstance } from 'fastify'
import { paced } from './paced.ts'

/** Longest path of a unix socket on Linux and macOS (`sun_path` without its closing zero). */
const MAX_SOCKET_PATH_BYTES = process.platform === 'darwin' ? 103 : 107

/** How long a close waits for answers on their way. */
const LAST_ANSWER_MS = 1000
const NO_PARENT =
  'this gateway runs without a parent that could start another (TOLLGATE_PARENT=off); restart its service instead'

/** A ban as the commands show it. */
export interface BanEntry {
  readonly peerKey: string
  readonly address: string
  readonly remainingMs: number
  readonly lengthMs: number
  readonly repeats: number
  readonly isManual: boolean
}

/** What the channel does to the bans. Undefined where the text is not an address. */
export interface BanControl {
  list(): readonly BanEntry[]
  /** `ms` undefined: the length of a first ban. */
  add(address: string, ms: number | undefined): BanEntry | undefined
  lift(address: string): boolean | undefined
}

/** What the channel asks of the tokens. */
export interface TokenControl {
  /** The ledger as JSON, in pieces. */
  page(): Iterable<string>
  /** Reads all places that tokens come from now; resolves when what they hold is in force, with their state. */
  reload(): Promise<readonly object[]>
}

/** What the channel asks of the server's certificates. */
export interface CertificateControl {
  /** Those in use and, where the gateway gets them itself, how that stands. */
  status(): object
  /** Renews now: if it is due, or in any case when forced. Resolves with the status, or with why there is no new one. */
  renew(isForced: boolean): Promise<object & { readonly problem?: string }>
}

/** What came of a restart: the process that takes over, or why none does. */
export interface RestartAnswer {
  readonly pid: number
  readonly problem?: string
}

export interface ControlOptions {
  /** Where `control.sock` is made; the directory too, with mode 0700, if there is none. */
  readonly stateDir: string
  readonly bans: BanControl
  readonly tokens: TokenControl
  /** Undefined where nobody may ask. */
  readonly certificates?: CertificateControl
  /** Whether clients' addresses are hidden, and how. */
  readonly clientAddresses?: () => object
  /**
   * Has a new gateway take this one's place; resolves when it is ready to, or cannot. Undefined where
   * this one has no parent that could start it.
   */
  readonly restart?: (() => Promise<RestartAnswer>) | undefined
}

/** The socket could not be opened; the message says why in words for the operator. */
export class ControlError extends Error {
  override readonly name = 'ControlError'
}

/** The path of the socket of the gateway that uses this state directory. */
export function controlSocketPath(stateDir: string): string {
  return join(stateDir, 'control.sock')
}

/**
 * Listens. The socket of a gateway that has died is replaced.
 * @throws ControlError where a live gateway has the directory, or the socket cannot be made.
 */
export async function openControl({ stateDir, ...parts }: ControlOptions): Promise<Control> {
  const path = controlSocketPath(stateDir)
  const app = createApp(parts)
  let answering = 0
  const quiet = new EventEmitter()
  app.addHook('onRequest', async () => {
    answering += 1
  })
  app.addHook('onResponse', async () => {
    answering -= 1
    if (answering === 0) quiet.emit('quiet')
  })
  try {
    await mkdir(stateDir, { recursive: true, mode: 0o700 })
    await refuseIfTaken(path)
    await listenPrivately(app, stateDir, path)
  } catch (error) {
    await app.close()
    if (error instanceof ControlError) throw error
    const why = error instanceof Error ? error.message : String(error)
    throw new ControlError(`cannot open the control socket ${path}: ${why}`, { cause: error })
  }
  return {
    path,
    async close() {
      // Who asked for the restart that closes this is told of it first.
      if (answering > 0) {
        const tooLong = AbortSignal.timeout(LAST_ANSWER_MS)
        await once(quiet, 'quiet', { signal: tooLong }).catch(() => {})
      }
      await app.close()
      await rm(path, { force: true })
    },
  }
}

/** An open control socket. */
export interface Control {
  readonly path: string
  /** Stops listening and takes the socket away. */
  close(): Promise<void>
}

async function refuseIfTaken(path: string): Promise<void> {
  const bytes = Buffer.byteLength(path)
  if (bytes > MAX_SOCKET_PATH_BYTES) {
    throw new ControlError(
      `the control socket's path is too long: ${path} has ${bytes} bytes, expected at most ${MAX_SOCKET_PATH_BYTES}; choose a shorter state directory`,
    )
  }
  const stat = await lstat(path).catch(() => undefined)
  if (stat === undefined) return
  if (!stat.isSocket()) {
    throw new ControlError(`${path} is in the way: expected a socket or nothing`)
  }
  if (await isAlive(path)) {
    throw new ControlError(
      `a gateway is already running with this state directory (${path} answers)`,
    )
  }
}

function isAlive(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ path })
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}

/**
 * Between bind and chmod a socket would be open to whom the umask lets; so it is bound inside a
 * private directory and moved out when its mode is right, which also replaces a stale one at once.
 */
async function listenPrivately(app: FastifyInstance, stateDir: string, path: string) {
  const privateDir = join(stateDir, `.${randomBytes(2).toString('hex')}`)
  const bound = join(privateDir, 's')
  await mkdir(privateDir, { mode: 0o700 })
  try {
    await app.listen({ path: bound })
    await chmod(bound, 0o600)
    await rename(bound, path)
  } finally {
    await rm(privateDir, { recursive: true, force: true })
  }
}

const RENEW_SCHEMA = {
  body: {
    type: 'object',
    required: ['isForced'],
    additionalProperties: false,
    properties: { isForced: { type: 'boolean' } },
  },
} as const

const ADD_SCHEMA = {
  body: {
    type: 'object',
    required: ['peer'],
    additionalProperties: false,
    properties: {
      peer: { type: 'string', maxLength: 100 },
      forMs: { type: 'number', exclusiveMinimum: 0 },
    },
  },
} as const

function createApp(parts: Omit<ControlOptions, 'stateDir'>): FastifyInstance {
  const { bans, tokens, certificates, clientAddresses, restart } = parts
  const app = fastify({
    bodyLimit: 4096,
    forceCloseConnections: true,
    ajv: { customOptions: { removeAdditional: false, coerceTypes: false } },
  })
  app.setErrorHandler<Error & { statusCode?: number }>((error, _request, reply) => {
    return reply.code(error.statusCode ?? 500).send({ error: error.message })
  })
  app.setNotFoundHandler((request, reply) => {
    return reply.code(404).send({ error: `there is no ${request.method} ${request.url}` })
  })
  const notAnAddress = (text: string) => {
    return { error: `${JSON.stringify(text)}: expected an IPv4 or IPv6 address` }
  }
  app.get('/bans', () => ({ bans: bans.list() }))
  app.post<{ Body: { peer: string; forMs?: number } }>(
    '/bans',
    { schema: ADD_SCHEMA },
    (request, reply) => {
      const { peer, forMs } = request.body
      const ban = bans.add(peer, forMs)
      return ban === undefined ? reply.code(400).send(notAnAddress(peer)) : reply.send({ ban })
    },
  )
  app.delete<{ Params: { peer: string } }>('/bans/:peer', (request, reply) => {
    const { peer } = request.params
    const wasBanned = bans.lift(peer)
    return wasBanned === undefined
      ? reply.code(400).send(notAnAddress(peer))
      : reply.send({ wasBanned })
  })
  app.get('/tokens', (_request, reply) => {
    return reply.type('application/json; charset=utf-8').send(paced(tokens.page()))
  })
  if (clientAddresses !== undefined) app.get('/client-addresses', () => clientAddresses())
  app.post('/restart', async (_request, reply) => {
    if (restart === undefined) return reply.code(409).send({ error: NO_PARENT })
    const answer = await restart()
    return answer.problem === undefined ? answer : reply.code(503).send({ error: answer.problem })
  })
  if (certificates !== undefined) addCertificates(app, certificates)
  app.post('/reload', async () => ({ sources: await tokens.reload() }))
  return app
}

function addCertificates(app: FastifyInstance, certificates: CertificateControl): void {
  app.get('/certificates', () => certificates.status())
  app.post<{ Body: { isForced: boolean } }>(
    '/certificates/renew',
    { schema: RENEW_SCHEMA },
    async (request, reply) => {
      const answer = await certificates.renew(request.body.isForced)
      return answer.problem === undefined ? answer : reply.code(503).send({ error: answer.problem })
    },
  )
}
