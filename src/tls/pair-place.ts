/** Where a certificate and its key are. */

/** A pair of PEM files, or an entry of Traefik's acme.json. */
export type PairPlace = PemPair | AcmeEntry

export interface PemPair {
  readonly kind: 'pem'
  readonly certPath: string
  readonly keyPath: string
  /** Opens the key where that is encrypted. A secret. */
  readonly passphrase?: string | undefined
}

export interface AcmeEntry {
  readonly kind: 'acme-json'
  readonly path: string
  /** A name that the certificate is for. */
  readonly domain: string
}

/** What the configuration says of certificates. */
export interface PairSettings {
  readonly tlsCert: readonly string[]
  /** As many as there are certificates. */
  readonly tlsKey: readonly string[]
  readonly tlsKeyPassphrase: { reveal(): string } | undefined
  readonly tlsAcmeJson: string | undefined
  readonly tlsDomain: readonly string[]
}

/** The places that the configuration names, the one for clients that name nobody first. */
export function pairPlacesOf(settings: PairSettings): readonly PairPlace[] {
  const { tlsCert, tlsKey, tlsKeyPassphrase, tlsAcmeJson, tlsDomain } = settings
  if (tlsAcmeJson !== undefined) {
    return tlsDomain.map((domain) => ({ kind: 'acme-json', path: tlsAcmeJson, domain }))
  }
  const passphrase = tlsKeyPassphrase?.reveal()
  return tlsCert.map((certPath, at) => {
    return { kind: 'pem', certPath, keyPath: tlsKey[at] ?? certPath, passphrase }
  })
}

/** The files of a place, each once. */
export function filesOf(place: PairPlace): readonly string[] {
  if (place.kind === 'acme-json') return [place.path]
  return [...new Set([place.certPath, place.keyPath])]
}

/** The file that messages are about. */
export function mainFileOf(place: PairPlace): string {
  return place.kind === 'pem' ? place.certPath : place.path
}
