/**
 * Stands in for HashiCorp Vault and OpenBao in the quick tests: tokens, AppRole and JWT logins,
 * wrapping, policies by path, and KV version 2. Built from the documented API
 * (developer.hashicorp.com/vault/api-docs: auth/token, auth/approle, auth/jwt, secret/kv/kv-v2,
 * system/wrapping-*, system/internal-ui-mounts, system/capabilities-self, system/health). The suite in
 * vault-contract.ts is passed by this and by the real server alike. It also gives answers that a
 * sound server never gives.
 */
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import type { TestContext } from 'node:test'
import { type CryptoKey, generateKeyPair, jwtVerify, SignJWT } from 'jose'
import { type Json, type Token, VaultMemory } from './vault-memory.ts'
import type { AppRoleOptions, VaultServer } from './vault-server.ts'

const ISSUER = 'https://issuer.example'
const AUDIENCE = 'vault'
const WRAP_SECONDS = 60
/** What Vault's listener takes in one list unless told otherwise (max_json_array_element_count). */
const MAX_LIST = 10_000

interface Reply {
  readonly status: number
  readonly body?: Json
}

interface Asked {
  readonly method: string
  /** Behind `/v1/`. */
  readonly path: string
  readonly headers: IncomingMessage['headers']
  readonly body: Json
}

/** Answers in place of the server; returns false to let it answer itself. */
export type Interloper = (asked: Asked, response: ServerResponse) => boolean

export interface StandInOptions {
  /** Certificate and key to speak TLS with, PEM. */
  readonly tls?: { readonly cert: string; readonly key: string }
}

/** Starts the stand-in; it ends with the test. */
export async function startStandInVault(
  t: TestContext,
  { tls }: StandInOptions = {},
): Promise<StandInVault> {
  const { publicKey, privateKey } = await generateKeyPair('ES256')
  const vault = new StandInVault(publicKey, privateKey)
  const listener = (request: IncomingMessage, response: ServerResponse) =>
    void vault.serve(request, response)
  const server = tls === undefined ? createServer(listener) : createTlsServer(tls, listener)
  const sockets = new Set<Socket>()
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(async () => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  const { port } = server.address() as AddressInfo
  vault.address = `${tls === undefined ? 'http' : 'https'}://127.0.0.1:${port}`
  return vault
}

export class StandInVault implements VaultServer {
  address = ''
  readonly shortTtlSeconds = 6
  readonly memory = new VaultMemory()
  readonly rootToken: string
  /** What was asked, oldest first. */
  readonly asked: Asked[] = []
  isSealed = false
  /** Refuses a token that is gone in the words of OpenBao and of Vault before 1.17. */
  isTerse = false
  /** Put here whoever is to answer instead. */
  interloper: Interloper | undefined
  readonly #publicKey: CryptoKey
  readonly #privateKey: CryptoKey

  constructor(publicKey: CryptoKey, privateKey: CryptoKey) {
    this.#publicKey = publicKey
    this.#privateKey = privateKey
    this.rootToken = this.memory.addToken(['root'], 0).id
  }

  /** How often something was asked. */
  count(path: RegExp): number {
    return this.asked.filter((asked) => path.test(asked.path)).length
  }

  async serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const text = Buffer.concat(chunks).toString()
    const { pathname } = new URL(request.url ?? '/', 'http://any')
    const asked: Asked = {
      method: request.method ?? '',
      path: decodeURIComponent(pathname.replace(/^\/v1\//, '')),
      headers: request.headers,
      body: text === '' ? {} : (JSON.parse(text) as Json),
    }
    this.asked.push(asked)
    if (this.interloper?.(asked, response) === true) return
    const { status, body } = await this.#answer(asked)
    response.writeHead(status, { 'content-type': 'application/json' })
    response.end(body === undefined ? '' : JSON.stringify(body))
  }

  async writePolicy(name: string, text: string) {
    this.memory.policies.set(name, text)
  }

  async mountKv(path: string, version: 1 | 2) {
    this.memory.mounts.set(path, { type: 'kv', version })
  }

  async makeAppRole(options: AppRoleOptions) {
    const { roleId, role } = this.memory.addRole(options)
    const path = `auth/approle/role/${role.name}/secret-id`
    return {
      roleId,
      newSecretId: async () => this.memory.newSecretId(role),
      newWrappedSecretId: async () =>
        this.#wrap({ secret_id: this.memory.newSecretId(role) }, path),
    }
  }

  async makeJwtRole(policies: readonly string[]) {
    const role = `role-${this.memory.jwtRoles.size}`
    this.memory.jwtRoles.set(role, policies)
    const sign = async (claims: Json = {}) =>
      await new SignJWT({
        iss: ISSUER,
        aud: AUDIENCE,
        sub: 'gateway',
        exp: wallSeconds() + 600,
        ...claims,
      })
        .setProtectedHeader({ alg: 'ES256' })
        .sign(this.#privateKey)
    return { role, sign }
  }

  async makeToken(policies: readonly string[], ttlSeconds = 3600, maxTtlSeconds = 0) {
    return this.memory.addToken(['default', ...policies], ttlSeconds, { maxTtlSeconds }).id
  }

  async wrapOther() {
    return this.#wrap({ secret_id: 'of somebody else' }, 'sys/wrapping/wrap')
  }

  async put(path: string, data: Json) {
    this.memory.addVersion(`secret/${path}`, data)
  }

  async deleteNewest(path: string) {
    const newest = this.memory.versions(`secret/${path}`).at(-1)
    if (newest !== undefined) newest.deletedAt = new Date().toISOString()
  }

  async destroyNewest(path: string) {
    const newest = this.memory.versions(`secret/${path}`).at(-1)
    if (newest !== undefined) newest.isDestroyed = true
  }

  async tokensWith(policy: string) {
    return [...this.memory.tokens.values()]
      .filter(
        ({ id, policies }) => policies.includes(policy) && this.memory.token(id) !== undefined,
      )
      .map(({ accessor, isRenewed }) => ({ accessor, isRenewed }))
  }

  async revoke(accessor: string) {
    for (const token of this.memory.tokens.values())
      if (token.accessor === accessor) token.endsMs = 0
  }

  async seal() {
    this.isSealed = true
  }

  async unseal() {
    this.isSealed = false
  }

  async #answer(asked: Asked): Promise<Reply> {
    const { path, body } = asked
    if (path === 'sys/health') {
      return { status: 200, body: { initialized: true, sealed: this.isSealed, standby: false } }
    }
    if (this.isSealed) return refused(503, 'Vault is sealed')
    if (path === 'auth/approle/login') return this.#appRoleLogin(body)
    if (path === 'auth/jwt/login') return await this.#jwtLogin(body)
    if (path === 'sys/wrapping/lookup') return this.#lookUpWrapping(String(body.token))
    if (path === 'sys/wrapping/unwrap') return this.#unwrap(asked)
    const token = this.memory.token(String(asked.headers['x-vault-token']))
    if (token === undefined || token.wrapped !== undefined) {
      return this.isTerse
        ? refused(403, 'permission denied')
        : refused(403, '2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n')
    }
    const isOfDefault = path.startsWith('auth/token/') || path === 'sys/capabilities-self'
    if (isOfDefault && !token.policies.some((name) => name === 'default' || name === 'root')) {
      return refused(403, '1 error occurred:\n\t* permission denied\n\n')
    }
    if (path.startsWith('auth/token/')) return this.#self(path, token)
    if (path === 'sys/capabilities-self') return this.#capabilities(token, body.paths)
    if (path.startsWith('sys/internal/ui/mounts/')) {
      return this.#mount(token, path.slice('sys/internal/ui/mounts/'.length))
    }
    return this.#secret(asked, token)
  }

  #appRoleLogin(body: Json): Reply {
    const role = this.memory.roles.get(String(body.role_id))
    if (role === undefined || !this.memory.useSecretId(role, String(body.secret_id))) {
      return refused(400, 'invalid role or secret ID')
    }
    const { ttlSeconds, maxTtlSeconds, hasDefaultPolicy, isBatch } = role
    const policies = hasDefaultPolicy ? ['default', ...role.policies] : role.policies
    return granted(this.memory.addToken(policies, ttlSeconds, { maxTtlSeconds, isBatch }))
  }

  async #jwtLogin(body: Json): Promise<Reply> {
    const policies = this.memory.jwtRoles.get(String(body.role))
    if (policies === undefined) {
      return refused(400, `role "${String(body.role)}" could not be found`)
    }
    try {
      await jwtVerify(String(body.jwt), this.#publicKey, { issuer: ISSUER, audience: AUDIENCE })
    } catch (error) {
      const { code, claim } = error as { code?: string; claim?: string }
      if (code === 'ERR_JWT_EXPIRED') {
        return refused(
          400,
          'error validating token: invalid expiration time (exp) claim: token is expired',
        )
      }
      if (claim === 'aud') {
        return refused(
          400,
          'error validating token: invalid audience (aud) claim: audience claim does not match any bound audience',
        )
      }
      if (claim === 'iss') return refused(400, 'error validating token: invalid issuer (iss) claim')
      return refused(
        400,
        'error validating token: no known key successfully validated the token signature',
      )
    }
    return granted(this.memory.addToken(['default', ...policies], 3600))
  }

  #lookUpWrapping(id: string): Reply {
    const wrapped = this.memory.token(id)?.wrapped
    if (wrapped === undefined) {
      return refused(400, 'wrapping token is not valid or does not exist')
    }
    return { status: 200, body: { data: { creation_path: wrapped.path } } }
  }

  #unwrap({ headers }: Asked): Reply {
    const token = this.memory.token(String(headers['x-vault-token']))
    if (token?.wrapped === undefined) {
      return refused(400, 'wrapping token is not valid or does not exist')
    }
    token.endsMs = 0
    return { status: 200, body: { data: token.wrapped.data } }
  }

  #self(path: string, token: Token): Reply {
    const restMs = token.endsMs - performance.now()
    const ttl = Number.isFinite(restMs) ? restMs / 1000 : 0
    if (path.endsWith('/lookup-self')) {
      return { status: 200, body: { data: { ttl, renewable: ttl > 0 } } }
    }
    if (token.isBatch) return refused(400, 'batch tokens cannot be renewed or revoked')
    if (path.endsWith('/revoke-self')) {
      token.endsMs = 0
      return { status: 204 }
    }
    token.endsMs = Math.min(performance.now() + token.ttlMs, token.endsAtMostMs)
    token.isRenewed = true
    return granted(token)
  }

  #capabilities(token: Token, paths: unknown): Reply {
    const [path = ''] = paths as string[]
    const capabilities = this.memory.capabilities(token, path)
    return { status: 200, body: { data: { capabilities, [path]: capabilities } } }
  }

  #mount(token: Token, path: string): Reply {
    const mount = this.memory.mountOf(path)
    const engine = this.memory.mounts.get(mount ?? '')
    if (mount === undefined || engine === undefined || !this.memory.knowsMount(token, mount)) {
      return refused(
        403,
        "preflight capability check returned 403, please ensure client's policies grant access to path",
      )
    }
    const options = engine.version === 2 ? { version: '2' } : null
    return { status: 200, body: { data: { path: `${mount}/`, type: engine.type, options } } }
  }

  #secret({ method, path, body }: Asked, token: Token): Reply {
    const mount = this.memory.mountOf(path)
    const [kind, ...rest] = path.slice((mount ?? '').length + 1).split('/')
    const at = `${mount}/${rest.join('/')}`
    const versions = this.memory.versions(at)
    const wanted = method === 'GET' ? 'read' : versions.length === 0 ? 'create' : 'update'
    const may = this.memory.capabilities(token, path)
    if (!may.includes('root') && !may.includes(wanted)) {
      return refused(403, '1 error occurred:\n\t* permission denied\n\n')
    }
    if (mount === undefined) {
      return refused(404, `no handler for route "${path}". route entry not found.`)
    }
    if (this.memory.mounts.get(mount)?.version !== 2 || kind !== 'data') return refused(404)
    if (method === 'GET') return this.#readSecret(at)
    const { cas } = (body.options ?? {}) as Json
    if (cas !== undefined && cas !== versions.length) {
      return refused(400, 'check-and-set parameter did not match the current version')
    }
    const lists = Object.values(body.data as Json).filter((value) => Array.isArray(value))
    if (lists.some(({ length }) => length > MAX_LIST)) {
      return refused(500, 'JSON array exceeds allowed element count')
    }
    const version = this.memory.addVersion(at, body.data as Json)
    return { status: 200, body: { data: { version } } }
  }

  #readSecret(at: string): Reply {
    const versions = this.memory.versions(at)
    const newest = versions.at(-1)
    if (newest === undefined) return refused(404)
    const { deletedAt, isDestroyed } = newest
    const metadata = {
      version: versions.length,
      deletion_time: deletedAt,
      destroyed: isDestroyed,
      custom_metadata: null,
    }
    return deletedAt !== '' || isDestroyed
      ? { status: 404, body: { data: { data: null, metadata } } }
      : { status: 200, body: { data: { data: newest.data, metadata } } }
  }

  #wrap(data: Json, path: string): string {
    return this.memory.addToken([], WRAP_SECONDS, { wrapped: { data, path } }).id
  }
}

function refused(status: number, ...errors: string[]): Reply {
  return { status, body: { errors } }
}

function granted(token: Token): Reply {
  const restMs = token.endsMs - performance.now()
  const auth = {
    client_token: token.id,
    accessor: token.accessor,
    lease_duration: Number.isFinite(restMs) ? Math.floor(restMs / 1000 + 0.05) : 0,
    renewable: !token.isBatch,
  }
  return { status: 200, body: { auth } }
}

function wallSeconds(): number {
  return Math.floor(Date.now() / 1000)
}
