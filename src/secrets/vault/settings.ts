/** How Vault is reached, and as whom. */

/** Who this process is to Vault. What stands here is secret, but for names. */
export type VaultLogin =
  /** A token that somebody else made. It is renewed, and never replaced or revoked. */
  | { readonly kind: 'token'; readonly token: string }
  | {
      readonly kind: 'approle'
      readonly roleId: string
      readonly secretId: string
      /** Where the method is enabled. Default `approle`. */
      readonly mount?: string | undefined
    }
  | {
      readonly kind: 'approle'
      readonly roleId: string
      /** A response-wrapping token around the secret id. Unwrapped once, at the first login. */
      readonly wrappedSecretId: string
      readonly mount?: string | undefined
    }
  | {
      readonly kind: 'jwt'
      readonly role: string
      /** The file that holds the JWT; read anew at each login. */
      readonly file: string
      /** Default `jwt`; `kubernetes` takes the same login. */
      readonly mount?: string | undefined
    }

export interface VaultSettings {
  /** `https://vault.example:8200`; a path in front of `/v1` is kept. */
  readonly address: string
  /** Sent as `X-Vault-Namespace`. */
  readonly namespace?: string | undefined
  /** PEM of the only CAs to trust. Default: those of the system. */
  readonly ca?: string | undefined
  readonly login: VaultLogin
  /** Of one request, from its start to the end of its answer. Default 10 000. */
  readonly timeoutMs?: number | undefined
}
