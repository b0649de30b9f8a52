/** TLS-ALPN-01 (RFC 8737): certificates for those who ask for `acme-tls/1`, on the ports that are open anyway. */
import { createSecureContext, type SecureContext } from 'node:tls'
import { digestOfAuthorization } from './account-key.ts'
import type { Challenge, Challenger } from './challenger.ts'

export class TlsChallenger implements Challenger {
  readonly type = 'tls-alpn-01'
  readonly #wallMs: () => number
  readonly #contexts = new Map<string, SecureContext>()

  constructor(wallMs: () => number) {
    this.#wallMs = wallMs
  }

  /** Whether anybody may ask now. */
  get isWaiting(): boolean {
    return this.#contexts.size > 0
  }

  /** The certificate of a name whose challenge waits. */
  contextFor(name: string): SecureContext | undefined {
    return this.#contexts.get(name.toLowerCase())
  }

  async show(challenges: readonly Challenge[]): Promise<void> {
    const { challengeCertificate } = await import('./certificates.ts')
    for (const { name, keyAuthorization } of challenges) {
      const digest = digestOfAuthorization(keyAuthorization)
      const pair = await challengeCertificate(name, digest, this.#wallMs())
      this.#contexts.set(name, createSecureContext({ ...pair, minVersion: 'TLSv1.2' }))
    }
  }

  async withdraw(): Promise<void> {
    this.#contexts.clear()
  }

  expectation(name: string): string {
    return `expected port 443 of ${name} to come to a public port of this gateway (443 → 4318), with TLS untouched on the way`
  }
}
