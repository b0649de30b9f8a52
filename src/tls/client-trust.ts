/** Whom client certificates have to come from, and which of them were revoked: the CA bundle and its CRLs. */
import type { X509Certificate } from 'node:crypto'
import { CertificateError } from './certificate-error.ts'
import { blocksOf, certificatesOf, labelsOf, readBytes, readPem } from './pem.ts'

/** Larger CRLs are not read: some hundred thousand entries come to it. */
const MAX_CRL_BYTES = 16 * 2 ** 20

export interface ClientTrustPaths {
  /** CAs that sign client certificates. PEM. */
  readonly clientCaPath: string
  /** CRLs of these CAs, PEM (one or several in a file) or DER. */
  readonly clientCrlPaths: readonly string[]
}

/** A CRL in use. */
export interface CrlFacts {
  readonly path: string
  /** Common name of the CA, or its whole name where it has none. */
  readonly issuer: string
  readonly thisUpdateMs: number
  /** Until then it is good, and no client of this CA gets in afterwards. Undefined where it names no end. */
  readonly nextUpdateMs: number | undefined
}

/** What may be shown of both. */
export interface ClientTrustFacts {
  readonly crls: readonly CrlFacts[]
  /** Whether there are CRLs, and one of each CA. */
  readonly hasAllCrls: boolean
  /** What will turn clients away, a sentence each. */
  readonly warnings: readonly string[]
}

/** CAs and CRLs that were checked. */
export interface ClientTrust {
  /** Values for `tls.createSecureContext`. */
  readonly secrets: { readonly ca: string; readonly crl?: string[] }
  readonly facts: ClientTrustFacts
  /** Certificates that the CRLs name, as `certificateMark` writes them. */
  readonly revoked: ReadonlySet<string>
}

/**
 * Reads and checks both. Throws a `CertificateError` for what cannot be used. A CRL that is past its
 * end can: OpenSSL then turns away every client of its CA, which is what the warning says.
 */
export async function loadClientTrust(
  { clientCaPath, clientCrlPaths }: ClientTrustPaths,
  wallMs: number,
): Promise<ClientTrust> {
  const blocks = await readPem(clientCaPath)
  const cas = certificatesOf(clientCaPath, blocks)
  if (cas.length === 0) {
    throw new CertificateError(clientCaPath, `expected a certificate, found ${labelsOf(blocks)}`)
  }
  if (!cas.some(({ ca }) => ca)) {
    throw new CertificateError(
      clientCaPath,
      'holds no CA certificate; expected the one that signs clients',
    )
  }
  const warnings = cas
    .filter(({ validTo }) => Date.parse(validTo) <= wallMs)
    .map((ca) => `${clientCaPath}: ${nameOf(ca)} expired on ${day(Date.parse(ca.validTo))}`)
  const ca = cas.map(String).join('')
  if (clientCrlPaths.length === 0)
    return { secrets: { ca }, facts: { crls: [], hasAllCrls: false, warnings }, revoked: new Set() }
  const { crl, facts, revoked } = await loadCrls(clientCrlPaths, cas, wallMs)
  warnings.push(...facts.warnings)
  return { secrets: { ca, crl }, facts: { ...facts, warnings }, revoked }
}

/** What tells a certificate from all others of its CA, as the CA's CRL names it. */
export function certificateMark(issuer: string, serialNumber: string): string {
  return `${serialNumber.replace(/^0+/, '').toLowerCase()} ${issuer}`
}

async function loadCrls(paths: readonly string[], cas: readonly X509Certificate[], wallMs: number) {
  const { readRevocationList } = await import('./revocation-list.ts')
  const ders = cas.map(({ raw }) => new Uint8Array(raw))
  const crl: string[] = []
  const crls: CrlFacts[] = []
  const warnings: string[] = []
  const revoked = new Set<string>()
  const covered = new Set<X509Certificate>()
  for (const path of paths) {
    for (const der of await crlsIn(path)) {
      const list = await readRevocationList(der, ders)
      if (typeof list === 'string') throw new CertificateError(path, list)
      const { thisUpdateMs, nextUpdateMs } = list
      const issuer = cas[list.issuerAt]
      if (issuer === undefined) throw new TypeError('BUG: a CRL of nobody')
      covered.add(issuer)
      crl.push(list.pem)
      crls.push({ path, issuer: nameOf(issuer), thisUpdateMs, nextUpdateMs })
      for (const serial of list.revoked) revoked.add(certificateMark(issuer.subject, serial))
      const flaw = dateFlaw(list, wallMs)
      if (flaw !== undefined)
        warnings.push(`${path}: ${flaw}: every client of ${nameOf(issuer)} is turned away`)
    }
  }
  for (const issuer of cas) {
    if (covered.has(issuer)) continue
    warnings.push(
      `there is no CRL of ${nameOf(issuer)}, so every client of it is turned away; expected one of each CA, if an empty one`,
    )
  }
  const hasAllCrls = covered.size === cas.length
  return { crl, facts: { crls, hasAllCrls, warnings }, revoked }
}

/** DER of each CRL in a file. */
async function crlsIn(path: string): Promise<Uint8Array<ArrayBuffer>[]> {
  const bytes = await readBytes(path, MAX_CRL_BYTES)
  // DER begins with a SEQUENCE.
  if (bytes[0] === 0x30) return [new Uint8Array(bytes)]
  const blocks = blocksOf(path, bytes)
  const lists = blocks.filter(({ label }) => label === 'X509 CRL' || label === 'CRL')
  if (lists.length === 0) {
    throw new CertificateError(path, `expected a CRL, found ${labelsOf(blocks)}`)
  }
  return lists.map(({ text }) => {
    const body = text.replace(/-----[^-]+-----/g, '')
    return new Uint8Array(Buffer.from(body, 'base64'))
  })
}

function dateFlaw(
  { thisUpdateMs, nextUpdateMs }: Pick<CrlFacts, 'thisUpdateMs' | 'nextUpdateMs'>,
  wallMs: number,
): string | undefined {
  if (wallMs < thisUpdateMs) return `the CRL is not valid before ${time(thisUpdateMs)}`
  if (nextUpdateMs !== undefined && wallMs >= nextUpdateMs)
    return `the CRL expired on ${time(nextUpdateMs)}`
  return undefined
}

function nameOf({ subject }: X509Certificate): string {
  const commonName = /^CN=(.+)$/m.exec(subject)?.[1]
  return commonName ?? subject.replaceAll('\n', ', ')
}

function day(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10)
}

function time(ms: number): string {
  return new Date(ms).toISOString().replace('.000Z', 'Z')
}
