/** The order of a chain: the server's certificate, the one that signed it, and so on. */
import type { KeyObject, X509Certificate } from 'node:crypto'

/** A chain in order. */
export interface Chain {
  /** The server's certificate first. */
  readonly links: readonly X509Certificate[]
  /** Whether they had to be put in order. */
  readonly wasMixed: boolean
  /** What belongs to no link, by its place in the file, from 1. */
  readonly strays: readonly number[]
}

/** Puts certificates in order, from the one that the key belongs to. Undefined where it belongs to none. */
export function chainFor(
  key: KeyObject,
  certificates: readonly X509Certificate[],
): Chain | undefined {
  const leaf = certificates.find((certificate) => certificate.checkPrivateKey(key))
  if (leaf === undefined) return undefined
  const links = [leaf]
  const left = new Set(certificates)
  left.delete(leaf)
  for (let last = leaf; !isSelfSigned(last); ) {
    const issuer = [...left].find((candidate) => hasSigned(candidate, last))
    if (issuer === undefined) break
    left.delete(issuer)
    links.push(issuer)
    last = issuer
  }
  const places = links.map((link) => certificates.indexOf(link))
  return {
    links,
    wasMixed: places.some((place, at) => at > 0 && place < (places[at - 1] ?? 0)),
    strays: certificates.flatMap((certificate, at) => (left.has(certificate) ? [at + 1] : [])),
  }
}

/** Whether `issuer` has signed `certificate`: names, identifiers and the signature itself. */
export function hasSigned(issuer: X509Certificate, certificate: X509Certificate): boolean {
  return certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey)
}

/** Whether a certificate is its own issuer, as roots are. */
export function isSelfSigned(certificate: X509Certificate): boolean {
  return certificate.subject === certificate.issuer && certificate.verify(certificate.publicKey)
}
