/** The private listener: metrics, liveness, readiness. No secrets, nothing to change, GET and HEAD only. */
import { once } from 'node:events'
import { isIPv6 } from 'node:net'
import fastify, { type FastifyInstance } from 'fastify'
import type { Readiness } from './health.ts'
import { paced } from './paced.ts'

export interface AdminOptions {
  /** Address to listen on. */
  readonly host: string
  /** 0 takes a free port. */
  readonly port: number
  /** A socket that is open already, in place of host and port. */
  readonly descriptor?: number | undefined
  /** The metrics page and what it is written in. */
  readonly metrics: { readonly contentType: string; page(): Promise<string> }
  /** The ledger of tokens as JSON, in pieces. */
  readonly tokens: () => Iterable<string>
  /** Asked for each /readyz. */
  readonly readiness: () => Readiness
  /** For the front page. */
  readonly version: string
  /** Told when a page could not be made. */
  readonly onError: (cause: unknown) => void
}

/** Prometheus, a probe or two and a person: more is a mistake or an attack. */
const MAX_CONNECTIONS = 64
const HEADERS_TIMEOUT_MS = 5_000
const REQUEST_TIMEOUT_MS = 10_000
const IDLE_TIMEOUT_MS = 75_000
/** Prometheus gives up on a scrape after 10 s unless told otherwise. */
const SOCKET_TIMEOUT_MS = 30_000
const MAX_HEADER_BYTES = 8_192

const PAGES = {
  '/': 'this page',
  '/metrics': 'metrics for Prometheus',
  '/tokens': 'what is known of each token, as JSON',
  '/healthz': 'is the process alive? 200',
  '/readyz': 'can it take requests? 200 or 503, with reasons',
} as const

/** The socket that was given for the admin port cannot be listened on. The message is for the operator. */
export class AdminSocketError extends Error {
  override readonly name = 'AdoptionError'

  constructor(descriptor: number, options: ErrorOptions) {
    const what = `the socket admin (descriptor ${descriptor})`
    super(`${what}: expected a listening TCP socket`, options)
  }
}

/** The admin port of one gateway. */
export class AdminListener {
  readonly #options: AdminOptions
  readonly #server: FastifyInstance

  constructor(options: AdminOptions) {
    this.#options = options
    this.#server = fastify({
      logger: false,
      bodyLimit: 1,
      connectionTimeout: SOCKET_TIMEOUT_MS,
      keepAliveTimeout: IDLE_TIMEOUT_MS,
      requestTimeout: REQUEST_TIMEOUT_MS,
      forceCloseConnections: true,
      http: { headersTimeout: HEADERS_TIMEOUT_MS, maxHeaderSize: MAX_HEADER_BYTES },
    })
    this.#server.server.maxConnections = MAX_CONNECTIONS
    this.#declare()
  }

  /** Listens. Resolves with the address as a URL; rejects with what `listen` says (EADDRINUSE, EACCES). */
  async start(): Promise<{ readonly address: string; readonly port: number }> {
    const { host, port, descriptor } = this.#options
    if (descriptor !== undefined) return await this.#adopt(descriptor)
    const address = await this.#server.listen({ host, port })
    return { address, port: Number(new URL(address).port) || 80 }
  }

  async #adopt(fd: number): Promise<{ readonly address: string; readonly port: number }> {
    await this.#server.ready()
    const { server } = this.#server
    server.listen({ fd })
    const problem = await once(server, 'listening').then(
      () => undefined,
      (error: NodeJS.ErrnoException) => error,
    )
    const at = server.address()
    if (problem?.code === 'EADDRINUSE') throw problem
    if (problem !== undefined || at === null || typeof at === 'string')
      throw new AdminSocketError(fd, { cause: problem })
    const host = isIPv6(at.address) ? `[${at.address}]` : at.address
    return { address: `http://${host}:${at.port}`, port: at.port }
  }

  /** Stops listening and closes what is open. */
  async close(): Promise<void> {
    await this.#server.close()
  }

  #declare(): void {
    const { metrics, tokens, readiness, version, onError } = this.#options
    const server = this.#server
    server.addHook('onRequest', async (request, reply) => {
      reply.header('cache-control', 'no-store')
      reply.header('x-content-type-options', 'nosniff')
      if (request.method === 'GET' || request.method === 'HEAD') return undefined
      reply.header('allow', 'GET, HEAD').header('connection', 'close')
      return reply.code(405).type('text/plain').send('Only GET and HEAD are answered here.\n')
    })
    server.setNotFoundHandler((_request, reply) => {
      reply
        .code(404)
        .type('text/plain')
        .send(`Not found. There are: ${Object.keys(PAGES).join(' ')}\n`)
    })
    server.setErrorHandler((error, _request, reply) => {
      onError(error)
      reply.code(500).type('text/plain').send('The page could not be made; the log says why.\n')
    })
    server.get('/', (_request, reply) => {
      reply.type('text/plain').send(frontPage(version, readiness()))
    })
    server.get('/metrics', async (_request, reply) => {
      const page = await metrics.page()
      return reply.header('content-type', metrics.contentType).send(page)
    })
    server.get('/tokens', (_request, reply) => {
      return reply.type('application/json; charset=utf-8').send(paced(tokens()))
    })
    server.get('/healthz', (_request, reply) => {
      reply.type('text/plain').send('ok\n')
    })
    server.get('/readyz', (_request, reply) => {
      const { isReady, conditions } = readiness()
      const body = {
        status: isReady ? 'ready' : 'not ready',
        conditions: conditions.map(({ name, isMet, words }) => ({ name, ok: isMet, words })),
      }
      reply.code(isReady ? 200 : 503).send(body)
    })
  }
}

function frontPage(version: string, { isReady, conditions }: Readiness): string {
  const pages = Object.entries(PAGES).map(([path, words]) => `  ${path.padEnd(10)} ${words}`)
  const states = conditions.map(({ isMet, words }) => `  ${isMet ? 'ok ' : 'NO '} ${words}`)
  const state = isReady ? 'ready' : 'not ready'
  return [`Tollgate ${version}: ${state}`, ...states, '', ...pages, ''].join('\n')
}
