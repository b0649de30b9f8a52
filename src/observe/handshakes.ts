/** The numbers of TLS handshakes: what clients and the gateway agreed on. */
import type { Registry } from 'prom-client'
import { counter } from './families.ts'

/** What one handshake came to. */
export interface Handshake {
  /** As Node.js names it: `TLSv1.3`. */
  readonly version: string
  /** The cipher suite, by its name at IANA. */
  readonly suite: string
  /** Whether an earlier session was resumed, which spares the costly half of a handshake. */
  readonly isResumed: boolean
}

const ECDHE = ['ECDHE_ECDSA', 'ECDHE_RSA']
const CIPHERS = ['AES_128_GCM_SHA256', 'AES_256_GCM_SHA384', 'CHACHA20_POLY1305_SHA256']

/** What the public ports speak (`tls/settings.ts`). */
export const SUITES: Readonly<Record<string, readonly string[]>> = {
  'TLSv1.3': CIPHERS.map((cipher) => `TLS_${cipher}`),
  'TLSv1.2': ECDHE.flatMap((exchange) => CIPHERS.map((cipher) => `TLS_${exchange}_WITH_${cipher}`)),
}

const OTHER = 'other'

interface Row {
  readonly version: string
  readonly suite: string
  full: number
  resumed: number
}

/** Counts handshakes that succeeded. Bounded: what the ports do not speak counts as `other`. */
export class HandshakeNumbers {
  readonly #other: Row = { version: OTHER, suite: OTHER, full: 0, resumed: 0 }
  /** By suite: none belongs to both versions. */
  readonly #rows = new Map<string, Row>()

  constructor(registry: Registry) {
    for (const [version, suites] of Object.entries(SUITES)) {
      for (const suite of suites) {
        this.#rows.set(suite, { version, suite, full: 0, resumed: 0 })
      }
    }
    counter(
      registry,
      {
        name: 'tollgate_tls_handshakes_total',
        help: 'TLS handshakes that succeeded, by version and cipher suite, and whether a session was resumed.',
        labels: ['version', 'suite', 'resumed'],
      },
      () =>
        [...this.#rows.values(), this.#other].flatMap(({ version, suite, full, resumed }) => [
          [{ version, suite, resumed: 'no' }, full],
          [{ version, suite, resumed: 'yes' }, resumed],
        ]),
    )
  }

  /** A handshake succeeded. */
  done({ version, suite, isResumed }: Handshake): void {
    const known = this.#rows.get(suite)
    const row = known?.version === version ? known : this.#other
    if (isResumed) row.resumed += 1
    else row.full += 1
  }
}
