import { hash } from 'node:crypto'
import { createSecureContext, type SecureContext, type TlsOptions } from 'node:tls'
import { isDeepStrictEqual } from 'node:util'
import { CertificateError, inShell } from './certificate-error.ts'
import type { ClientTrust } from './client-trust.ts'
import {
  type CertificateFacts,
  type CredentialPaths,
  datesProblem,
  loadServerCredentials,
  type ServerCredentials,
} from './credentials.ts'
import { filesOf, mainFileOf } from './pair-place.ts'
import { TLS_SETTINGS } from './settings.ts'

/** Whether clients show a certificate. */
export type ClientAuth = 'off' | 'optional' | 'required'

/** Tells that a file may have changed; `secrets/file-watch.ts` is one. */
export interface Watch {
  start(): Promise<void>
  /** Follows the file to where it is now. */
  arm(): Promise<void>
  close(): void
}

/** What happened to the certificate. */
export type CertificateEvent =
  /** A new pair is in use; or the one in use is in its files again after trouble. */
  | { readonly kind: 'swapped'; readonly facts: CertificateFacts }
  /** The files cannot be used; the last good pair goes on. Told once for the same trouble. */
  | { readonly kind: 'kept'; readonly error: CertificateError; readonly notAfterMs: number }
  /** The certificate in use has come to its end, and clients refuse it. */
  | { readonly kind: 'expired'; readonly facts: CertificateFacts }

/** What became of a look at the files. */
export type Reload = 'swapped' | 'unchanged' | 'kept'

/** Longest wait of a timer: longer ones fire at once. */
const MAX_TIMER_MS = 2 ** 31 - 1

export interface ServerCertificateOptions extends CredentialPaths {
  readonly clientAuth: ClientAuth
  /** Makes the watch of one file; without it only `reload` looks at the files. */
  readonly watch?: (path: string, onChange: () => void) => Watch
  /**
   * Certificate and key are often replaced one after the other. A pair that does not fit is looked
   * at again after this time before anybody is told; default 2000.
   */
  readonly settleMs?: number
  readonly wallMs?: () => number
  readonly onEvent: (event: CertificateEvent) => void
  /** Told of every look at the files, also where it changed nothing. */
  readonly onReload?: (outcome: Reload) => void
}

/**
 * The server's certificate, kept up to date with its files. New connections get the new pair; a pair
 * that cannot be used changes nothing.
 */
export class ServerCertificate {
  readonly #options: ServerCertificateOptions
  readonly #watches: Watch[] = []
  #credentials: ServerCredentials
  #context: SecureContext
  #work: Promise<unknown> = Promise.resolve()
  #settle: NodeJS.Timeout | undefined
  #end: NodeJS.Timeout | undefined
  #toldOf: string | undefined
  /** Until `open` has returned there is nobody to tell. */
  #isOpen = false
  #isClosed = false

  private constructor(options: ServerCertificateOptions, credentials: ServerCredentials) {
    this.#options = options
    this.#credentials = credentials
    this.#context = createSecureContext(this.tlsOptions)
  }

  /** Loads the pair and begins to watch it. Throws a `CertificateError` where it cannot be used. */
  static async open(options: ServerCertificateOptions): Promise<ServerCertificate> {
    const credentials = await loadServerCredentials(options, (options.wallMs ?? Date.now)())
    const certificate = new ServerCertificate(options, credentials)
    await certificate.#startWatching()
    certificate.#isOpen = true
    certificate.#awaitEnd()
    return certificate
  }

  /** For `tls.createServer` and `tls.Server.setSecureContext`: settings, certificate, client authentication. */
  get tlsOptions(): TlsOptions {
    const { clientAuth } = this.#options
    return {
      ...TLS_SETTINGS,
      ...this.#credentials.secrets,
      sessionIdContext: this.sessionIdContext,
      requestCert: clientAuth !== 'off',
      rejectUnauthorized: clientAuth === 'required',
    }
  }

  /**
   * OpenSSL does not look at certificates again when a session is resumed: a session that began under
   * other ones, ours or the CAs and CRLs of clients, is not.
   */
  get sessionIdContext(): string {
    const { cert, ca = '', crl = [] } = this.#credentials.secrets
    return sessionContextOf([cert, this.#options.clientAuth, ca, ...crl])
  }

  /** The pair in use, ready for `SNICallback`. */
  get secureContext(): SecureContext {
    return this.#context
  }

  /** What may be shown of the certificate in use. */
  get facts(): CertificateFacts {
    return this.#credentials.facts
  }

  /** The file that messages are about. */
  get file(): string {
    return mainFileOf(this.#options.place)
  }

  /** Whom client certificates have to come from; undefined where nobody said. */
  get clientTrust(): ClientTrust | undefined {
    return this.#credentials.clientTrust
  }

  /** When the certificate in use ends, Unix time in milliseconds. */
  get notAfterMs(): number {
    return this.facts.notAfterMs
  }

  /** Looks at the files now (SIGHUP). Resolves with whether a new pair is in use; trouble is told at once. */
  reload(): Promise<Reload> {
    clearTimeout(this.#settle)
    return this.#enqueue(true)
  }

  /** Stops watching. */
  close(): void {
    this.#isClosed = true
    clearTimeout(this.#settle)
    clearTimeout(this.#end)
    for (const watch of this.#watches) watch.close()
    this.#watches.length = 0
  }

  async #startWatching(): Promise<void> {
    const { place, clientCaPath, clientCrlPaths = [], watch } = this.#options
    if (watch === undefined) return
    for (const path of [...filesOf(place), clientCaPath, ...clientCrlPaths]) {
      if (path === undefined) continue
      this.#watches.push(watch(path, () => void this.#enqueue(false)))
    }
    for (const each of this.#watches) await each.start()
    // The files may have changed between the first look and the watch.
    await this.#enqueue(false)
  }

  /** One look at a time, in order. */
  #enqueue(tellsAtOnce: boolean): Promise<Reload> {
    const look = this.#work.then(async () => {
      const outcome = await this.#look(tellsAtOnce)
      this.#options.onReload?.(outcome)
      return outcome
    })
    this.#work = look.catch(() => {})
    return look
  }

  async #look(tellsAtOnce: boolean): Promise<Reload> {
    const { wallMs = Date.now, onEvent } = this.#options
    await Promise.all(this.#watches.map((watch) => watch.arm()))
    try {
      const credentials = await loadServerCredentials(this.#options, wallMs())
      this.#checkDates(credentials.facts, wallMs())
      const hadTrouble = this.#toldOf !== undefined
      this.#toldOf = undefined
      clearTimeout(this.#settle)
      const { secrets, facts } = credentials
      const isSame = isDeepStrictEqual(secrets, this.#credentials.secrets)
      if (isSame && !hadTrouble) return 'unchanged'
      this.#credentials = credentials
      this.#context = createSecureContext(this.tlsOptions)
      this.#awaitEnd()
      if (this.#isOpen) onEvent({ kind: 'swapped', facts })
      return isSame ? 'unchanged' : 'swapped'
    } catch (error) {
      if (!(error instanceof CertificateError)) throw error
      this.#trouble(error, tellsAtOnce)
      return 'kept'
    }
  }

  /** One that clients refuse does not replace one that they take. */
  #checkDates(facts: CertificateFacts, wallMs: number): void {
    const problem = datesProblem(facts, wallMs)
    if (problem === undefined || datesProblem(this.facts, wallMs) !== undefined) return
    const file = this.file
    throw new CertificateError(file, problem, {
      look: `openssl x509 -in ${inShell(file)} -noout -dates`,
    })
  }

  /** Tells when the certificate in use has come to its end. */
  #awaitEnd(): void {
    clearTimeout(this.#end)
    const leftMs = this.notAfterMs - (this.#options.wallMs ?? Date.now)()
    if (this.#isClosed || !this.#isOpen || leftMs <= 0) return
    const wake = () => {
      if ((this.#options.wallMs ?? Date.now)() < this.notAfterMs) this.#awaitEnd()
      else this.#options.onEvent({ kind: 'expired', facts: this.facts })
    }
    this.#end = setTimeout(wake, Math.min(leftMs, MAX_TIMER_MS))
    this.#end.unref()
  }

  #trouble(error: CertificateError, tellsAtOnce: boolean): void {
    if (this.#isClosed || error.message === this.#toldOf) return
    if (!tellsAtOnce || !this.#isOpen) {
      clearTimeout(this.#settle)
      this.#settle = setTimeout(() => void this.#enqueue(true), this.#options.settleMs ?? 2000)
      this.#settle.unref()
      return
    }
    this.#toldOf = error.message
    this.#options.onEvent({ kind: 'kept', error, notAfterMs: this.notAfterMs })
  }
}

/** What sessions are tied to, for `sessionIdContext`: the same for the same parts, and 32 bytes long. */
export function sessionContextOf(parts: readonly string[]): string {
  return hash('sha256', parts.join('\n')).slice(0, 32)
}
