/** A real Vault in its development mode: unsealed, in memory, on a free port of 127.0.0.1. */
import { randomBytes } from 'node:crypto'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { exportSPKI, generateKeyPair, SignJWT } from 'jose'
import { Child } from './child.ts'
import { freePorts } from './otelcol.ts'
import { tool } from './tools.ts'
import type { VaultServer } from './vault-server.ts'

const START_MS = 30_000
const ISSUER = 'https://issuer.example'
const AUDIENCE = 'vault'

type Json = Readonly<Record<string, unknown>>

/** Starts Vault with a certificate of a CA that nobody knows yet; it ends with the test. */
export async function startVaultWithTls(
  t: TestContext,
): Promise<{ readonly address: string; readonly caPem: string }> {
  const folder = await mkdtemp(join(tmpdir(), 'tollgate-vault-tls-'))
  const [port] = await freePorts(1)
  await startProcess(t, { folder, port, more: ['-dev-tls', `-dev-tls-cert-dir=${folder}`] })
  const caPem = await readFile(join(folder, 'vault-ca.pem'), 'utf8')
  return { address: `https://127.0.0.1:${port}`, caPem }
}

/** Starts Vault; it ends with the test. */
export async function startVault(t: TestContext): Promise<VaultServer> {
  const folder = await mkdtemp(join(tmpdir(), 'tollgate-vault-'))
  const rootToken = randomBytes(16).toString('hex')
  const [port] = await freePorts(1)
  const address = `http://127.0.0.1:${port}`
  const { child, unsealKey } = await startProcess(t, { folder, port, rootToken })
  await untilReady(address, child)
  return new RealVault({ address, rootToken, unsealKey })
}

interface ProcessOptions {
  readonly folder: string
  readonly port: number | undefined
  readonly rootToken?: string
  readonly more?: readonly string[]
}

async function startProcess(
  t: TestContext,
  { folder, port, rootToken, more = [] }: ProcessOptions,
): Promise<{ readonly child: Child; readonly unsealKey: string }> {
  const args = ['server', '-dev', `-dev-listen-address=127.0.0.1:${port}`, '-dev-no-store-token']
  const child = new Child(tool('vault'), [...args, ...more], {
    env: { ...process.env, HOME: folder, VAULT_DEV_ROOT_TOKEN_ID: rootToken },
  })
  t.after(async () => {
    child.kill('SIGKILL')
    await child.exit
    await rm(folder, { recursive: true, force: true })
  })
  const unsealKey = await child.line('stdout', (line) => /^Unseal Key: (\S+)/.exec(line)?.[1])
  return { child, unsealKey }
}

async function untilReady(address: string, child: Child): Promise<void> {
  const limitMs = performance.now() + START_MS
  while (performance.now() < limitMs && !child.hasEnded) {
    const answer = await fetch(`${address}/v1/sys/health`).catch(() => undefined)
    await answer?.arrayBuffer()
    if (answer?.ok === true) return
    await pause(50)
  }
  throw new Error(`Vault is not ready: ${child.output}`)
}

interface Started {
  readonly address: string
  readonly rootToken: string
  readonly unsealKey: string
}

class RealVault implements VaultServer {
  readonly address: string
  readonly rootToken: string
  readonly shortTtlSeconds = 6
  readonly #unsealKey: string
  #names = 0

  constructor({ address, rootToken, unsealKey }: Started) {
    this.address = address
    this.rootToken = rootToken
    this.#unsealKey = unsealKey
  }

  async writePolicy(name: string, text: string) {
    await this.#ask('POST', `sys/policies/acl/${name}`, { policy: text })
  }

  async mountKv(path: string, version: 1 | 2) {
    const options = { version: String(version) }
    await this.#ask('POST', `sys/mounts/${path}`, { type: 'kv', options })
    if (version === 2) await this.#untilUpgraded(path)
  }

  async makeAppRole({
    policies,
    ttlSeconds = 3600,
    maxTtlSeconds = 0,
    secretIdUses = 0,
    hasDefaultPolicy = true,
    isBatch = false,
  }: Parameters<VaultServer['makeAppRole']>[0]) {
    await this.#enableAuth('approle')
    const role = `auth/approle/role/role-${this.#nextName()}`
    await this.#ask('POST', role, {
      token_policies: policies,
      token_ttl: ttlSeconds,
      token_max_ttl: maxTtlSeconds,
      secret_id_num_uses: secretIdUses,
      token_no_default_policy: !hasDefaultPolicy,
      token_type: isBatch ? 'batch' : 'service',
    })
    const { role_id: roleId } = await this.#ask('GET', `${role}/role-id`)
    return {
      roleId: String(roleId),
      newSecretId: async () => String((await this.#ask('POST', `${role}/secret-id`)).secret_id),
      newWrappedSecretId: () => this.#wrapped('POST', `${role}/secret-id`),
    }
  }

  async makeJwtRole(policies: readonly string[]) {
    await this.#enableAuth('jwt')
    const { publicKey, privateKey } = await generateKeyPair('ES256', { extractable: true })
    await this.#ask('POST', 'auth/jwt/config', {
      jwt_validation_pubkeys: [await exportSPKI(publicKey)],
      bound_issuer: ISSUER,
    })
    const role = `role-${this.#nextName()}`
    await this.#ask('POST', `auth/jwt/role/${role}`, {
      role_type: 'jwt',
      user_claim: 'sub',
      bound_audiences: [AUDIENCE],
      token_policies: policies,
      token_ttl: 3600,
    })
    const sign = async (claims: Json = {}) =>
      await new SignJWT({
        iss: ISSUER,
        aud: AUDIENCE,
        sub: 'gateway',
        iat: seconds(),
        exp: seconds() + 600,
        ...claims,
      })
        .setProtectedHeader({ alg: 'ES256' })
        .sign(privateKey)
    return { role, sign }
  }

  async makeToken(policies: readonly string[], ttlSeconds = 3600, maxTtlSeconds = 0) {
    const explicit_max_ttl = `${maxTtlSeconds}s`
    const body = { policies, ttl: `${ttlSeconds}s`, explicit_max_ttl, no_parent: true }
    const answer = await this.#askWhole('POST', 'auth/token/create', body)
    return String((answer.auth as Json).client_token)
  }

  async wrapOther() {
    return await this.#wrapped('POST', 'sys/wrapping/wrap', { secret_id: 'of somebody else' })
  }

  async put(path: string, data: Json) {
    await this.#ask('POST', `secret/data/${path}`, { data })
  }

  async deleteNewest(path: string) {
    await this.#ask('DELETE', `secret/data/${path}`)
  }

  async destroyNewest(path: string) {
    const { current_version: version } = await this.#ask('GET', `secret/metadata/${path}`)
    await this.#ask('POST', `secret/destroy/${path}`, { versions: [version] })
  }

  async tokensWith(policy: string) {
    const { keys } = await this.#ask('GET', 'auth/token/accessors?list=true')
    const tokens = await Promise.all(
      (keys as string[]).map((accessor) =>
        // One that has ended in between is not there any more.
        this.#ask('POST', 'auth/token/lookup-accessor', { accessor }).catch(() => undefined),
      ),
    )
    return tokens
      .filter((token) => (token?.policies as string[] | undefined)?.includes(policy))
      .map((token) => ({
        accessor: String(token?.accessor),
        isRenewed: token?.last_renewal !== undefined,
      }))
  }

  async revoke(accessor: string) {
    await this.#ask('POST', 'auth/token/revoke-accessor', { accessor })
  }

  async seal() {
    await this.#ask('POST', 'sys/seal')
  }

  async unseal() {
    await this.#askWhole('POST', 'sys/unseal', { key: this.#unsealKey })
    await untilActive(this.address)
  }

  #nextName(): number {
    this.#names += 1
    return this.#names
  }

  async #enableAuth(type: string): Promise<void> {
    const methods = await this.#ask('GET', 'sys/auth')
    if (!(`${type}/` in methods)) await this.#ask('POST', `sys/auth/${type}`, { type })
  }

  /** A new mount answers 400 until it has turned itself into version 2. */
  async #untilUpgraded(path: string): Promise<void> {
    const limitMs = performance.now() + START_MS
    while (performance.now() < limitMs) {
      const answer = await this.#fetch('GET', `${path}/config`)
      await answer.arrayBuffer()
      if (answer.ok) return
      await pause(20)
    }
    throw new Error(`${path} did not become version 2`)
  }

  async #wrapped(method: string, path: string, body?: Json): Promise<string> {
    const answer = await this.#fetch(method, path, body, { 'x-vault-wrap-ttl': '60s' })
    return String((((await answer.json()) as Json).wrap_info as Json).token)
  }

  async #ask(method: string, path: string, body?: Json): Promise<Json> {
    return ((await this.#askWhole(method, path, body)).data ?? {}) as Json
  }

  async #askWhole(method: string, path: string, body?: Json): Promise<Json> {
    const answer = await this.#fetch(method, path, body)
    const text = await answer.text()
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`)
    return text === '' ? {} : (JSON.parse(text) as Json)
  }

  #fetch(method: string, path: string, body?: Json, headers: Record<string, string> = {}) {
    return fetch(`${this.address}/v1/${path}`, {
      method,
      headers: { 'x-vault-token': this.rootToken, ...headers },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
  }
}

/** After an unseal it takes a moment until the server takes up its duties. */
async function untilActive(address: string): Promise<void> {
  const limitMs = performance.now() + START_MS
  while (performance.now() < limitMs) {
    const answer = await fetch(`${address}/v1/sys/health`)
    await answer.arrayBuffer()
    if (answer.status === 200) return
    await pause(20)
  }
  throw new Error('Vault stays sealed')
}

function seconds(): number {
  return Math.floor(Date.now() / 1000)
}
