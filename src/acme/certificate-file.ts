/**
 * The file with the certificate: where it is from, key and chain, in one file, so that they are
 * replaced as one. What stands before the first block is no part of PEM (RFC 7468 §2) and is skipped by
 * everybody else.
 */
import { createPrivateKey, X509Certificate } from 'node:crypto'
import { AcmeFault } from './acme-fault.ts'
import type { Issue } from './order.ts'

const HEADING = 'ACME-Directory: '
const CERTIFICATE = /-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/

/** What may be known of the certificate that came from a directory. */
export interface Kept {
  readonly directory: string
  readonly leaf: X509Certificate
  readonly notBeforeMs: number
  readonly notAfterMs: number
}

/** The text of the file. */
export function certificateText(directory: string, { key, chain }: Issue): string {
  return `${HEADING}${directory}\n${key.trim()}\n${chain.trim()}\n`
}

/** Reads it. Undefined for what is not from a directory, such as the certificate that stands in. */
export function keptFrom(text: string | undefined): Kept | undefined {
  const [, directory] = new RegExp(`^${HEADING}(\\S+)\\n`).exec(text ?? '') ?? []
  const [pem] = CERTIFICATE.exec(text ?? '') ?? []
  if (directory === undefined || pem === undefined) return undefined
  try {
    const leaf = new X509Certificate(pem)
    const [notBeforeMs, notAfterMs] = [Date.parse(leaf.validFrom), Date.parse(leaf.validTo)]
    return { directory, leaf, notBeforeMs, notAfterMs }
  } catch {
    return undefined
  }
}

/** Whether a certificate is for exactly these names. */
export function isFor(leaf: X509Certificate, names: readonly string[]): boolean {
  const own = (leaf.subjectAltName ?? '').split(', ').map((name) => name.toLowerCase())
  return own.length === names.length && names.every((name) => own.includes(`dns:${name}`))
}

/** Looks at what an authority has sent before it is put in place. @throws {AcmeFault} where it is not what was ordered. */
export function assertOrdered(text: string, key: string, names: readonly string[], wallMs: number) {
  const kept = keptFrom(text)
  const wrong =
    kept === undefined
      ? 'no certificate that can be read'
      : !kept.leaf.checkPrivateKey(createPrivateKey(key))
        ? 'a certificate for another key'
        : !isFor(kept.leaf, names)
          ? `a certificate for ${kept.leaf.subjectAltName ?? 'no name'}`
          : kept.notAfterMs <= wallMs
            ? `a certificate that expired on ${new Date(kept.notAfterMs).toISOString()}; is this machine's clock right?`
            : undefined
  if (wrong !== undefined) {
    throw new AcmeFault(
      'refused',
      `the directory sent ${wrong}; expected one for ${names.join(', ')}`,
    )
  }
}
