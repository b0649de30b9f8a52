/** Which host names a certificate is for. */
import type { X509Certificate } from 'node:crypto'
import { isIP } from 'node:net'
import { inShell } from './certificate-error.ts'

/** The names in a certificate, as OpenSSL writes them: `DNS:example.com`, `IP Address:192.0.2.1`. */
export function namesOf({ subjectAltName }: X509Certificate): readonly string[] {
  return subjectAltName?.split(', ') ?? []
}

/** Whether clients that call the gateway by this name or address accept the certificate. */
export function isFor(certificate: X509Certificate, name: string): boolean {
  // Clients look at the subject no more (RFC 9525 §6.3), nor do they take half wildcards.
  return isIP(name) === 0
    ? certificate.checkHost(name, { subject: 'never', partialWildcards: false }) !== undefined
    : certificate.checkIP(name) !== undefined
}

/**
 * What a person calls the certificate by: its first name, or else its common name. At most 253
 * characters, for it is a label of metrics.
 */
export function subjectOf(certificate: X509Certificate): string {
  const [first] = namesOf(certificate)
  const [, commonName] = /(?:^|\n)CN=([^\n]*)/.exec(certificate.subject) ?? []
  return (first?.replace(/^[^:]*:/, '') ?? commonName ?? 'unnamed').slice(0, 253)
}

/** Finds one of several by the name that a client asks for: exact names first, then wildcards. */
export class NameIndex<T> {
  readonly #exact = new Map<string, T>()
  readonly #wildcards = new Map<string, T>()

  /** Names as `namesOf` gives them. What was added first keeps its names. */
  add(names: readonly string[], value: T): void {
    for (const name of names) {
      if (!name.startsWith('DNS:')) continue
      const host = name.slice('DNS:'.length).toLowerCase()
      const isWildcard = host.startsWith('*.')
      const [table, key] = isWildcard ? [this.#wildcards, host.slice(2)] : [this.#exact, host]
      if (!table.has(key)) table.set(key, value)
    }
  }

  /** The one for this name; undefined where none is. A wildcard stands for one label (RFC 9525 §6.3). */
  find(serverName: string): T | undefined {
    const host = serverName.toLowerCase().replace(/\.$/, '')
    return this.#exact.get(host) ?? this.#wildcards.get(host.slice(host.indexOf('.') + 1))
  }
}

/** That no certificate is for a name, in words: the file of the first one, and the names of all of them. */
export function wrongHost(domain: string, file: string, names: readonly string[]): string {
  return `${file}: no certificate is for ${domain} (TOLLGATE_TLS_DOMAIN); clients that call it refuse it. It is for ${names.join(', ')}. To see it: openssl x509 -in ${inShell(file)} -noout -ext subjectAltName`
}
