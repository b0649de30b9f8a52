/** What the stand-in for Vault knows: tokens and policies, logins, and the versions of secrets. */
import { randomBytes } from 'node:crypto'
import type { AppRoleOptions } from './vault-server.ts'

export type Json = Readonly<Record<string, unknown>>

export interface Token {
  readonly id: string
  readonly accessor: string
  readonly policies: readonly string[]
  readonly ttlMs: number
  readonly isBatch: boolean
  readonly endsAtMostMs: number
  endsMs: number
  isRenewed: boolean
  /** Of a response-wrapping token: what is in it, and the path that made it. */
  readonly wrapped?: { readonly data: Json; readonly path: string }
}

interface SecretVersion {
  readonly data: Json
  deletedAt: string
  isDestroyed: boolean
}

interface Role extends Required<AppRoleOptions> {
  readonly name: string
  readonly secretIds: Map<string, number>
}

/** All of it in memory; times are of the monotonic clock. */
export class VaultMemory {
  readonly tokens = new Map<string, Token>()
  readonly policies = new Map<string, string>()
  readonly roles = new Map<string, Role>()
  /** Policies of JWT roles, by name. */
  readonly jwtRoles = new Map<string, readonly string[]>()
  /** Mounts with their versions; a name that is not `kv` stands for another engine. */
  readonly mounts = new Map<string, { readonly type: string; readonly version: number }>([
    ['secret', { type: 'kv', version: 2 }],
    ['sys', { type: 'system', version: 0 }],
    ['cubbyhole', { type: 'cubbyhole', version: 0 }],
  ])
  readonly #secrets = new Map<string, SecretVersion[]>()

  addToken(
    policies: readonly string[],
    ttlSeconds: number,
    more: {
      readonly maxTtlSeconds?: number
      readonly isBatch?: boolean
      readonly wrapped?: Token['wrapped']
    } = {},
  ): Token {
    const ttlMs = ttlSeconds === 0 ? Number.POSITIVE_INFINITY : ttlSeconds * 1000
    const { maxTtlSeconds = 0, isBatch = false, wrapped } = more
    const maxMs = maxTtlSeconds === 0 ? Number.POSITIVE_INFINITY : maxTtlSeconds * 1000
    const nowMs = performance.now()
    const token: Token = {
      id: `hvs.${randomBytes(16).toString('hex')}`,
      accessor: randomBytes(8).toString('hex'),
      policies,
      ttlMs,
      isBatch,
      endsAtMostMs: nowMs + maxMs,
      endsMs: nowMs + Math.min(ttlMs, maxMs),
      isRenewed: false,
      ...(wrapped === undefined ? {} : { wrapped }),
    }
    this.tokens.set(token.id, token)
    return token
  }

  /** The token if it is in force. */
  token(id: string | undefined): Token | undefined {
    const token = this.tokens.get(id ?? '')
    return token !== undefined && performance.now() < token.endsMs ? token : undefined
  }

  addRole(options: AppRoleOptions): { readonly roleId: string; readonly role: Role } {
    const roleId = randomBytes(8).toString('hex')
    const role: Role = {
      ttlSeconds: 3600,
      maxTtlSeconds: 0,
      secretIdUses: 0,
      hasDefaultPolicy: true,
      isBatch: false,
      ...options,
      name: `role-${this.roles.size}`,
      secretIds: new Map(),
    }
    this.roles.set(roleId, role)
    return { roleId, role }
  }

  newSecretId(role: Role): string {
    const id = randomBytes(8).toString('hex')
    role.secretIds.set(id, role.secretIdUses)
    return id
  }

  /** Counts the use of a secret id; false where it is unknown. The last use forgets it. */
  useSecretId(role: Role, id: string): boolean {
    const uses = role.secretIds.get(id)
    if (uses === undefined) return false
    if (uses === 1) role.secretIds.delete(id)
    else if (uses > 1) role.secretIds.set(id, uses - 1)
    return true
  }

  /** What a token may do at a path, by the longest rule of its policies that fits, as Vault has it. */
  capabilities(token: Token, path: string): readonly string[] {
    if (token.policies.includes('root')) return ['root']
    const rules = token.policies.flatMap((name) => rulesOf(this.policies.get(name) ?? ''))
    const fitting = rules.filter(({ pattern }) =>
      pattern.endsWith('*') ? path.startsWith(pattern.slice(0, -1)) : path === pattern,
    )
    const best = fitting.toSorted((one, two) => two.pattern.length - one.pattern.length)[0]
    return best?.capabilities ?? ['deny']
  }

  /** Whether any policy has something to say below a mount: enough to be told of the mount. */
  knowsMount(token: Token, mount: string): boolean {
    if (token.policies.includes('root')) return true
    return token.policies
      .flatMap((name) => rulesOf(this.policies.get(name) ?? ''))
      .some(({ pattern }) => pattern.startsWith(`${mount}/`))
  }

  /** The longest mount that a path begins with. */
  mountOf(path: string): string | undefined {
    return [...this.mounts.keys()]
      .filter((mount) => `${path}/`.startsWith(`${mount}/`))
      .toSorted((one, two) => two.length - one.length)[0]
  }

  versions(path: string): readonly SecretVersion[] {
    return this.#secrets.get(path) ?? []
  }

  addVersion(path: string, data: Json): number {
    const versions = [...this.versions(path), { data, deletedAt: '', isDestroyed: false }]
    this.#secrets.set(path, versions)
    return versions.length
  }
}

function rulesOf(
  policy: string,
): { readonly pattern: string; readonly capabilities: readonly string[] }[] {
  const rules = policy.matchAll(/path\s+"([^"]+)"\s*\{\s*capabilities\s*=\s*\[([^\]]*)\]\s*\}/g)
  return [...rules].map(([, pattern = '', list = '']) => ({
    pattern,
    capabilities: [...list.matchAll(/"(\w+)"/g)].map(([, name = '']) => name),
  }))
}
