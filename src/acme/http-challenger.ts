/** HTTP-01 (RFC 8555 §8.3): a port of its own that answers challenges and nothing else, open while one waits. */
import { once } from 'node:events'
import { createServer, type RequestListener, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { AcmeFault } from './acme-fault.ts'
import type { Challenge, Challenger } from './challenger.ts'

const PATH = '/.well-known/acme-challenge/'
/** Authorities look from a handful of places at once; the rest are strangers. */
const MAX_CONNECTIONS = 100
const TIMEOUT_MS = 10_000
const MAX_HEADER_BYTES = 8192

export class HttpChallenger implements Challenger {
  readonly type = 'http-01'
  readonly #at: { readonly host: string; readonly port: number }
  readonly #answers = new Map<string, string>()
  #server: Server | undefined

  constructor(at: { readonly host: string; readonly port: number }) {
    this.#at = at
  }

  /** Where it listens now, `undefined` while no challenge waits. */
  get address(): AddressInfo | undefined {
    return (this.#server?.address() ?? undefined) as AddressInfo | undefined
  }

  async show(challenges: readonly Challenge[]): Promise<void> {
    for (const { token, keyAuthorization } of challenges)
      this.#answers.set(PATH + token, keyAuthorization)
    if (this.#server !== undefined) return
    const server = createServer(
      {
        maxHeaderSize: MAX_HEADER_BYTES,
        headersTimeout: TIMEOUT_MS,
        requestTimeout: TIMEOUT_MS,
        connectionsCheckingInterval: 1000,
      },
      this.#answer,
    )
    server.maxConnections = MAX_CONNECTIONS
    server.maxRequestsPerSocket = 1
    server.timeout = TIMEOUT_MS
    try {
      server.listen(this.#at)
      await once(server, 'listening')
    } catch (error) {
      throw this.#cannotListen(error)
    }
    // Accepting can fail later (EMFILE); the authority comes again.
    server.on('error', () => {})
    this.#server = server
  }

  async withdraw(): Promise<void> {
    this.#answers.clear()
    const server = this.#server
    this.#server = undefined
    if (server === undefined) return
    const closed = once(server, 'close')
    server.close()
    server.closeAllConnections()
    await closed
  }

  expectation(name: string): string {
    const { host, port } = this.#at
    const shown = host.includes(':') ? `[${host}]` : host
    return `expected http://${name}${PATH}… to come to this machine, and from port 80 to ${shown}:${port} (TOLLGATE_ACME_HTTP_LISTEN)`
  }

  readonly #answer: RequestListener = (request, response) => {
    const isRead = request.method === 'GET' || request.method === 'HEAD'
    const text = isRead ? this.#answers.get(request.url ?? '') : undefined
    response.writeHead(text === undefined ? 404 : 200, {
      'content-type': 'application/octet-stream',
      'content-length': Buffer.byteLength(text ?? ''),
      connection: 'close',
    })
    response.end(request.method === 'HEAD' ? undefined : text)
  }

  #cannotListen(cause: unknown): AcmeFault {
    const { code = String(cause) } = cause as NodeJS.ErrnoException
    const { host, port } = this.#at
    const reasons: Readonly<Record<string, string>> = {
      EADDRINUSE: 'another program has it',
      EACCES: 'this user may not open a port below 1024',
      EADDRNOTAVAIL: 'this machine has no such address',
      EAFNOSUPPORT: 'this machine has no IPv6; write 0.0.0.0 in place of [::]',
    }
    const why = Object.hasOwn(reasons, code) ? reasons[code] : code
    const where = `${host.includes(':') ? `[${host}]` : host}:${port}`
    return new AcmeFault(
      'local',
      `the port for challenges, ${where}, cannot be opened: ${why}; choose another with TOLLGATE_ACME_HTTP_LISTEN and send port 80 there, or take TOLLGATE_ACME_CHALLENGE=tls-alpn-01`,
      { cause },
    )
  }
}
