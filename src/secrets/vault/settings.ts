/** How Vault is reached, and as whom; and what of it can be told wrong before anybody is asked. */
import { X509Certificate } from 'node:crypto'
import { SourceFault } from '../source-fault.ts'

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

/**
 * The address of settings that can be tried.
 *
 * @throws {SourceFault} that names the setting, and nothing secret.
 */
export function checkSettings({ address, namespace, ca, login }: VaultSettings): URL {
  const url = URL.parse(address)
  const isUsable =
    (url?.protocol === 'https:' || url?.protocol === 'http:') &&
    url.search + url.hash + url.username + url.password === ''
  if (url === null || !isUsable) {
    throw wrong('the address is not one', 'write it like https://vault.example:8200, and no more')
  }
  if (ca !== undefined && !holdsCertificates(ca)) {
    throw wrong('the CA is no certificate in PEM', 'look at the file in TOLLGATE_VAULT_CA')
  }
  const credentials: Readonly<Record<string, string | undefined>> = { namespace, ...login }
  for (const [name, value] of Object.entries(credentials)) {
    if (value === undefined || name === 'file') continue
    if (value.trim() === '') throw wrong(`the ${WORDS[name] ?? name} is empty`, 'give one')
    // Headers and paths take no more; a line break at the end is what comes of an editor.
    if (!/^[\x21-\x7e]+$/.test(value)) {
      throw wrong(
        `the ${WORDS[name] ?? name} has blanks, line breaks or signs beyond ASCII in it`,
        'look at where it was copied from',
      )
    }
  }
  return url
}

const WORDS: Readonly<Record<string, string>> = {
  roleId: 'role id',
  secretId: 'secret id',
  wrappedSecretId: 'wrapping token',
}

function wrong(problem: string, advice: string): SourceFault {
  return new SourceFault('Vault', problem, advice, { isTemporary: false })
}

function holdsCertificates(pem: string): boolean {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? []
  try {
    return blocks.length > 0 && blocks.every((block) => new X509Certificate(block).raw.length > 0)
  } catch {
    return false
  }
}
