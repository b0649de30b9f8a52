/** All certificates of the public ports, chosen from by the name that a client asks for (SNI). */
import type { TlsOptions } from 'node:tls'
import type { ClientTrust } from './client-trust.ts'
import { NameIndex } from './names.ts'
import { mainFileOf, type PairPlace } from './pair-place.ts'
import {
  type CertificateEvent,
  type Reload,
  ServerCertificate,
  type ServerCertificateOptions,
  sessionContextOf,
} from './server-certificate.ts'

export interface ServerCertificatesOptions
  extends Omit<ServerCertificateOptions, 'place' | 'onEvent' | 'onReload'> {
  /** At least one. The first is for clients that name nobody, or somebody unknown. */
  readonly places: readonly PairPlace[]
  /** `file` is the one that the event is about. */
  readonly onEvent: (event: CertificateEvent, file: string) => void
}

export class ServerCertificates {
  readonly #all: readonly ServerCertificate[]
  readonly #bad: Set<string>
  readonly #reloads: Record<Reload, number>
  #names = new NameIndex<ServerCertificate>()

  private constructor(
    all: readonly ServerCertificate[],
    bad: Set<string>,
    reloads: Record<Reload, number>,
  ) {
    this.#all = all
    this.#bad = bad
    this.#reloads = reloads
    this.#indexNames()
  }

  /** Loads every pair and begins to watch them. Throws a `CertificateError` where one cannot be used. */
  static async open(options: ServerCertificatesOptions): Promise<ServerCertificates> {
    const { places, onEvent, ...rest } = options
    const bad = new Set<string>()
    const reloads = { swapped: 0, unchanged: 0, kept: 0 }
    const opened: ServerCertificate[] = []
    let index = () => {}
    try {
      for (const [at, place] of places.entries()) {
        const id = `${at}`
        const certificate = await ServerCertificate.open({
          ...rest,
          place,
          onReload: (outcome) => (reloads[outcome] += 1),
          onEvent(event) {
            if (event.kind === 'kept') bad.add(id)
            if (event.kind === 'swapped') bad.delete(id)
            index()
            onEvent(event, mainFileOf(place))
          },
        })
        opened.push(certificate)
      }
    } catch (error) {
      for (const certificate of opened) certificate.close()
      throw error
    }
    const certificates = new ServerCertificates(opened, bad, reloads)
    index = () => certificates.#indexNames()
    return certificates
  }

  /** Every certificate in use, the one for clients that name nobody first. */
  get all(): readonly ServerCertificate[] {
    return this.#all
  }

  /** For `tls.createServer` and `tls.Server.setSecureContext`. With one certificate there is no callback. */
  get tlsOptions(): TlsOptions {
    const [first] = this.#all
    if (first === undefined) throw new TypeError('BUG: TLS without a certificate')
    if (this.#all.length === 1) return first.tlsOptions
    return {
      ...first.tlsOptions,
      // Sessions are resumed before OpenSSL asks for the certificate of the name.
      sessionIdContext: sessionContextOf(this.#all.map((each) => each.sessionIdContext)),
      SNICallback: (name, answer) => answer(null, this.#names.find(name)?.secureContext),
    }
  }

  /** Whom client certificates have to come from; undefined where nobody said. */
  get clientTrust(): ClientTrust | undefined {
    return this.#all[0]?.clientTrust
  }

  /** Whether the last look at every pair was good. */
  get isGood(): boolean {
    return this.#bad.size === 0
  }

  /** Looks at the files since the start, by what became of them. */
  get reloads(): Readonly<Record<Reload, number>> {
    return this.#reloads
  }

  /** When the first of them ends, Unix time in milliseconds. */
  get notAfterMs(): number {
    return Math.min(...this.#all.map(({ notAfterMs }) => notAfterMs))
  }

  /** From when on all of them are valid, Unix time in milliseconds. */
  get notBeforeMs(): number {
    return Math.max(...this.#all.map(({ facts }) => facts.notBeforeMs))
  }

  /** Looks at all files now (SIGHUP). Trouble is told at once. */
  async reload(): Promise<void> {
    await Promise.all(this.#all.map((certificate) => certificate.reload()))
  }

  /** Stops watching. */
  close(): void {
    for (const certificate of this.#all) certificate.close()
  }

  #indexNames(): void {
    const names = new NameIndex<ServerCertificate>()
    for (const certificate of this.#all) names.add(certificate.facts.names, certificate)
    this.#names = names
  }
}
