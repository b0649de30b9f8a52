/** What the tests need of a Vault beyond what the gateway asks of it: its administrator's side. */

/** A login by AppRole. */
export interface AppRole {
  readonly roleId: string
  newSecretId(): Promise<string>
  /** A response-wrapping token around a new secret id. */
  newWrappedSecretId(): Promise<string>
}

export interface AppRoleOptions {
  readonly policies: readonly string[]
  /** Of each token. Default: an hour. */
  readonly ttlSeconds?: number
  readonly maxTtlSeconds?: number
  /** Logins that a secret id is good for. Default 0: without bound. */
  readonly secretIdUses?: number
  /** Without it a token may not look itself up, renew or revoke itself, nor ask what it may. */
  readonly hasDefaultPolicy?: boolean
  /** Batch tokens cannot be renewed or revoked. */
  readonly isBatch?: boolean
}

/** A login by JWT. */
export interface JwtRole {
  readonly role: string
  /** A JWT that the role accepts, but for what is overridden. */
  sign(claims?: Readonly<Record<string, unknown>>): Promise<string>
}

/** A token that is in force. */
export interface LiveToken {
  readonly accessor: string
  readonly isRenewed: boolean
}

/** A running Vault, or what stands in for it; KV version 2 is mounted at `secret/`. */
export interface VaultServer {
  readonly address: string
  readonly rootToken: string
  /** The shortest life of a token for which a busy machine is no excuse to miss its renewal. */
  readonly shortTtlSeconds: number
  writePolicy(name: string, text: string): Promise<void>
  mountKv(path: string, version: 1 | 2): Promise<void>
  makeAppRole(options: AppRoleOptions): Promise<AppRole>
  makeJwtRole(policies: readonly string[]): Promise<JwtRole>
  /** `maxTtlSeconds`: its greatest age, however often it is renewed. */
  makeToken(
    policies: readonly string[],
    ttlSeconds?: number,
    maxTtlSeconds?: number,
  ): Promise<string>
  /** Wraps something that is no secret id. */
  wrapOther(): Promise<string>
  /** Writes a version of a secret below `secret/`. */
  put(path: string, data: Readonly<Record<string, unknown>>): Promise<void>
  deleteNewest(path: string): Promise<void>
  destroyNewest(path: string): Promise<void>
  /** Tokens that have this policy. */
  tokensWith(policy: string): Promise<readonly LiveToken[]>
  revoke(accessor: string): Promise<void>
  seal(): Promise<void>
  unseal(): Promise<void>
}
