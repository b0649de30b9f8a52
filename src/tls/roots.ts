/** The CAs that clients know without being told. */
import { X509Certificate } from 'node:crypto'
import { hasSigned } from './chain.ts'

/** Reads root certificates; what cannot be read is left out, for it is nobody's here to mend. */
export function parseRoots(pems: Iterable<string>): readonly X509Certificate[] {
  return Array.from(pems).flatMap((pem) => {
    try {
      return [new X509Certificate(pem)]
    } catch {
      return []
    }
  })
}

/** The CA among these that has signed a certificate. */
export function signerAmong(
  roots: readonly X509Certificate[],
  certificate: X509Certificate,
): X509Certificate | undefined {
  return roots.find((root) => root.subject === certificate.issuer && hasSigned(root, certificate))
}
