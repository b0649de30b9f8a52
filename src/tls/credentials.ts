/** A server's certificate, chain and key: read, checked, put in order, and tried. */
import type { X509Certificate } from 'node:crypto'
import { createSecureContext } from 'node:tls'
import { readAcmePair } from './acme-json.ts'
import { CertificateError, inShell } from './certificate-error.ts'
import { chainFor } from './chain.ts'
import { type ClientTrust, loadClientTrust } from './client-trust.ts'
import { checkLeaf, findWarnings, validityProblem } from './leaf-check.ts'
import { namesOf, subjectOf } from './names.ts'
import type { PairPlace } from './pair-place.ts'
import { blocksOf, certificatesOf, labelsOf, type PemBlock, readPem } from './pem.ts'
import { checkStrength, privateKeyOf } from './private-key.ts'
import { TLS_SETTINGS } from './settings.ts'

/** Where the server's certificate and key are, and the CAs of clients with their CRLs. */
export interface CredentialPaths {
  readonly place: PairPlace
  readonly clientCaPath?: string | undefined
  readonly clientCrlPaths?: readonly string[]
}

/** What may be shown of the certificate. */
export interface CertificateFacts {
  readonly notBeforeMs: number
  readonly notAfterMs: number
  /** What the certificate is for: `DNS:example.com`, `IP Address:192.0.2.1`. */
  readonly names: readonly string[]
  /** What people call it by: its first name. */
  readonly subject: string
  /** SHA-256 of the leaf, as OpenSSL prints it. */
  readonly fingerprint: string
  /** The chain as it is sent, the server's certificate first. */
  readonly chain: readonly X509Certificate[]
  /** What works here but will not work for every client, a sentence each. */
  readonly warnings: readonly string[]
}

/** A pair that was checked and tried. */
export interface ServerCredentials {
  /** Values for `tls.createSecureContext`. The key is in them: never log them. */
  readonly secrets: { readonly cert: string; readonly key: string } & Partial<
    ClientTrust['secrets']
  >
  readonly facts: CertificateFacts
  /** Whom client certificates have to come from; undefined where nobody said. */
  readonly clientTrust: ClientTrust | undefined
}

/**
 * Reads and checks a certificate with its key: kinds of PEM, one belongs to the other, order of the
 * chain, strength, purpose, and a trial with OpenSSL. Dates that are not right are a warning here:
 * what is better than a certificate that has expired is for the caller to know. Throws a
 * `CertificateError`, which never quotes a key.
 */
export async function loadServerCredentials(
  { place, clientCaPath, clientCrlPaths = [] }: CredentialPaths,
  wallMs: number,
): Promise<ServerCredentials> {
  const { certPath, certBlocks, keyPath, keyBlocks, passphrase } = await read(place, wallMs)
  const certificates = certificatesOf(certPath, certBlocks)
  if (certificates.length === 0) throw notCertificate(certPath, certBlocks)
  const key = privateKeyOf(keyPath, keyBlocks, passphrase)
  const chain = chainFor(key, certificates)
  const [leaf] = chain?.links ?? []
  if (chain === undefined || leaf === undefined) throw notPair(certPath, keyPath)
  checkStrength(certPath, leaf.publicKey)
  checkLeaf(certPath, leaf)
  const clientTrust =
    clientCaPath === undefined
      ? undefined
      : await loadClientTrust({ clientCaPath, clientCrlPaths }, wallMs)
  const secrets = {
    cert: chain.links.map(String).join(''),
    key: key.export({ type: 'pkcs8', format: 'pem' }).toString(),
    ...clientTrust?.secrets,
  }
  try {
    createSecureContext({ ...TLS_SETTINGS, ...secrets })
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error)
    throw new CertificateError(certPath, `OpenSSL does not take it: ${why}`, { cause: error })
  }
  const warnings = [...findWarnings(certPath, chain, wallMs)]
  if (keyPath !== certPath && certBlocks.some(isKey)) {
    warnings.push(
      `${certPath}: holds a private key beside the certificate; whoever may read certificates may read it. To see it: grep -- -----BEGIN ${inShell(certPath)}`,
    )
  }
  const facts = {
    notBeforeMs: Date.parse(leaf.validFrom),
    notAfterMs: Date.parse(leaf.validTo),
    names: namesOf(leaf),
    subject: subjectOf(leaf),
    fingerprint: leaf.fingerprint256,
    chain: chain.links,
    warnings: Object.freeze(warnings),
  }
  return { secrets, facts, clientTrust }
}

/** What is wrong with the dates of a certificate now, in words; undefined where nothing is. */
export function datesProblem({ chain }: CertificateFacts, wallMs: number): string | undefined {
  const [leaf] = chain
  return leaf === undefined ? undefined : validityProblem(leaf, wallMs)
}

async function read(place: PairPlace, wallMs: number) {
  if (place.kind === 'acme-json') {
    const { path, domain } = place
    const { cert, key } = await readAcmePair(path, domain, wallMs)
    return {
      ...{ certPath: path, certBlocks: blocksOf(path, cert) },
      ...{ keyPath: path, keyBlocks: blocksOf(path, key), passphrase: undefined },
    }
  }
  const { certPath, keyPath, passphrase } = place
  const certBlocks = await readPem(certPath)
  return { certPath, certBlocks, keyPath, keyBlocks: await readPem(keyPath), passphrase }
}

function isKey({ label }: PemBlock): boolean {
  return label.endsWith('PRIVATE KEY')
}

function notPair(certPath: string, keyPath: string): CertificateError {
  return new CertificateError(keyPath, `does not belong to the certificate in ${certPath}`, {
    look: `openssl pkey -in ${inShell(keyPath)} -pubout; openssl x509 -in ${inShell(certPath)} -noout -pubkey (they should be the same)`,
  })
}

function notCertificate(path: string, blocks: readonly PemBlock[]): CertificateError {
  const isSwapped = blocks.some(isKey)
  return new CertificateError(
    path,
    `expected a certificate, found ${labelsOf(blocks)}${isSwapped ? '; it seems that certificate and key are swapped' : ''}`,
    { look: `grep -- -----BEGIN ${inShell(path)}` },
  )
}
