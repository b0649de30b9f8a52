import { createPrivateKey, type KeyObject, type X509Certificate } from 'node:crypto'
import { createSecureContext } from 'node:tls'
import { CertificateError } from './certificate-error.ts'
import { certificatesOf, type PemBlock, readPem } from './pem.ts'
import { TLS_SETTINGS } from './settings.ts'

/** Where the server's certificate, key and the CA of clients are. PEM. */
export interface CredentialPaths {
  readonly certPath: string
  readonly keyPath: string
  readonly clientCaPath?: string | undefined
}

/** What may be shown of a certificate. */
export interface CertificateFacts {
  readonly notBeforeMs: number
  readonly notAfterMs: number
  /** What the certificate is for: `DNS:example.com`, `IP Address:192.0.2.1`. */
  readonly names: readonly string[]
  /** SHA-256 of the leaf, as OpenSSL prints it. */
  readonly fingerprint: string
  /** What works here but will not work for every client, a sentence each. */
  readonly warnings: readonly string[]
}

/** A pair that was checked and tried. */
export interface ServerCredentials {
  /** Values for `tls.createSecureContext`. The key is in them: never log them. */
  readonly secrets: { readonly cert: string; readonly key: string; readonly ca?: string }
  readonly facts: CertificateFacts
}

/**
 * Reads and checks a certificate with its key: kinds of PEM, one belongs to the other, dates, and a
 * trial with OpenSSL. Throws a `CertificateError`, which never quotes a key.
 */
export async function loadServerCredentials(
  paths: CredentialPaths,
  wallMs: number,
): Promise<ServerCredentials> {
  const { certPath, keyPath, clientCaPath } = paths
  const certBlocks = await readPem(certPath)
  const [leaf, ...chain] = certificatesOf(certPath, certBlocks)
  if (leaf === undefined) throw notCertificate(certPath, certBlocks)
  const key = readKey(keyPath, await readPem(keyPath))
  checkPair(leaf, chain, key.object, certPath, keyPath)
  const notBeforeMs = Date.parse(leaf.validFrom)
  const notAfterMs = Date.parse(leaf.validTo)
  if (wallMs >= notAfterMs) {
    throw new CertificateError(
      certPath,
      `expired on ${day(notAfterMs)}; expected one that is valid`,
    )
  }
  if (wallMs < notBeforeMs) {
    throw new CertificateError(
      certPath,
      `not valid before ${day(notBeforeMs)}; expected one that is valid, or this machine's clock is wrong`,
    )
  }
  const ca = clientCaPath === undefined ? undefined : await readCa(clientCaPath)
  const cert = [leaf, ...chain].map(String).join('')
  const secrets = { cert, key: key.text, ...(ca === undefined ? {} : { ca }) }
  try {
    createSecureContext({ ...TLS_SETTINGS, ...secrets })
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error)
    throw new CertificateError(certPath, `OpenSSL does not take it: ${why}`, { cause: error })
  }
  const names = leaf.subjectAltName?.split(', ') ?? []
  const warnings = findWarnings(certPath, leaf, chain)
  const fingerprint = leaf.fingerprint256
  return { secrets, facts: { notBeforeMs, notAfterMs, names, fingerprint, warnings } }
}

interface Key {
  readonly text: string
  readonly object: KeyObject
}

function readKey(path: string, blocks: readonly PemBlock[]): Key {
  // OpenSSL writes the curve as a block of its own in front of an EC key.
  const keys = blocks.filter(({ label }) => label.endsWith('PRIVATE KEY'))
  const [block] = keys
  if (block === undefined) {
    const swapped = blocks.some(({ label }) => label.endsWith('CERTIFICATE'))
    throw new CertificateError(
      path,
      `expected a private key, found ${labelsOf(blocks)}${swapped ? '; are certificate and key swapped?' : ''}`,
    )
  }
  if (keys.length > 1) throw new CertificateError(path, 'holds several private keys; expected one')
  if (block.label.startsWith('ENCRYPTED') || /^Proc-Type:.*ENCRYPTED/m.test(block.text)) {
    throw new CertificateError(path, 'the key is encrypted; expected one without a passphrase')
  }
  try {
    return { text: `${block.text}\n`, object: createPrivateKey(block.text) }
  } catch {
    throw new CertificateError(path, 'the private key is damaged')
  }
}

function checkPair(
  leaf: X509Certificate,
  chain: readonly X509Certificate[],
  key: KeyObject,
  certPath: string,
  keyPath: string,
): void {
  if (leaf.checkPrivateKey(key)) return
  const misplaced = chain.findIndex((certificate) => certificate.checkPrivateKey(key))
  throw misplaced < 0
    ? new CertificateError(keyPath, `does not belong to the certificate in ${certPath}`)
    : new CertificateError(
        certPath,
        `the key belongs to certificate ${misplaced + 2}; expected the server's certificate first, then its chain`,
      )
}

async function readCa(path: string): Promise<string> {
  const blocks = await readPem(path)
  const certificates = certificatesOf(path, blocks)
  if (certificates.length === 0) throw notCertificate(path, blocks)
  if (!certificates.some(({ ca }) => ca)) {
    throw new CertificateError(path, 'holds no CA certificate; expected the one that signs clients')
  }
  return certificates.map(String).join('')
}

function notCertificate(path: string, blocks: readonly PemBlock[]): CertificateError {
  const swapped = blocks.some(({ label }) => label.endsWith('PRIVATE KEY'))
  return new CertificateError(
    path,
    `expected a certificate, found ${labelsOf(blocks)}${swapped ? '; are certificate and key swapped?' : ''}`,
  )
}

function findWarnings(
  path: string,
  leaf: X509Certificate,
  chain: readonly X509Certificate[],
): readonly string[] {
  const warnings: string[] = []
  if (leaf.subjectAltName === undefined) {
    warnings.push(`${path}: has no subjectAltName; clients will not find their host name in it`)
  }
  if (leaf.ca)
    warnings.push(`${path}: the server's certificate is a CA's; many clients refuse that`)
  const links = [leaf, ...chain]
  for (const [at, issuer] of chain.entries()) {
    if (links[at]?.checkIssued(issuer) === false) {
      warnings.push(`${path}: certificate ${at + 1} was not issued by the one after it`)
    }
  }
  return Object.freeze(warnings)
}

function labelsOf(blocks: readonly PemBlock[]): string {
  return [...new Set(blocks.map(({ label }) => label))].join(', ')
}

function day(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10)
}
