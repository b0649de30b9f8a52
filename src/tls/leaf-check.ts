/** What a server's certificate must have, and what not every client takes. */
import type { X509Certificate } from 'node:crypto'
import { rootCertificates } from 'node:tls'
import { CertificateError, inShell } from './certificate-error.ts'
import { type Chain, isSelfSigned } from './chain.ts'
import { parseRoots, signerAmong } from './roots.ts'

const SERVER_AUTH = '1.3.6.1.5.5.7.3.1'
const ANY_PURPOSE = '2.5.29.37.0'
/** The extension TLS Feature (RFC 7633), and `status_request` in it: a stapled OCSP answer must come. */
const TLS_FEATURE = Buffer.from('06082b06010505070118', 'hex')
const STATUS_REQUEST = 5

/** Throws a `CertificateError` for what clients refuse whatever its dates. */
export function checkLeaf(path: string, leaf: X509Certificate): void {
  const file = inShell(path)
  // Node calls the extended key usage so.
  const purposes: readonly string[] | undefined = leaf.keyUsage
  if (
    purposes !== undefined &&
    !purposes.includes(SERVER_AUTH) &&
    !purposes.includes(ANY_PURPOSE)
  ) {
    throw new CertificateError(
      path,
      'is not for servers: its extended key usage lacks serverAuth, and clients refuse it',
      { look: `openssl x509 -in ${file} -noout -ext extendedKeyUsage` },
    )
  }
  if (mustStaple(leaf.raw)) {
    throw new CertificateError(
      path,
      'asks for a stapled OCSP answer (must-staple), and the gateway staples none, so clients that heed it would refuse every connection; expected a certificate without it (most CAs have given up OCSP)',
      { look: `openssl x509 -in ${file} -noout -ext tlsfeature` },
    )
  }
}

/** Whether the DER of a certificate has the TLS feature `status_request`. */
function mustStaple(der: Buffer): boolean {
  const at = der.indexOf(TLS_FEATURE)
  if (at < 0) return false
  let next = at + TLS_FEATURE.length
  // BOOLEAN critical, where it is there.
  if (der[next] === 0x01) next += 3
  // OCTET STRING, SEQUENCE, and INTEGERs of one or two bytes: all lengths are short.
  const end = next + 2 + (der[next + 1] ?? 0)
  for (next += 4; next < end; next += 2 + (der[next + 1] ?? 0)) {
    if (der[next] === 0x02 && der[next + 1] === 1 && der[next + 2] === STATUS_REQUEST) return true
  }
  return false
}

/** What works here but will not work for every client, a sentence each. */
export function findWarnings(
  path: string,
  { links, wasMixed, strays }: Chain,
  wallMs: number,
): readonly string[] {
  const warnings: string[] = []
  const warn = (text: string, look: string) => warnings.push(`${path}: ${text}. To see it: ${look}`)
  const [leaf] = links
  const last = links.at(-1)
  if (leaf === undefined || last === undefined) return warnings
  const file = inShell(path)
  const listing = `openssl crl2pkcs7 -nocrl -certfile ${file} | openssl pkcs7 -print_certs -noout`
  const text = `openssl x509 -in ${file} -noout -text`
  const problem = validityProblem(leaf, wallMs)
  if (problem !== undefined) warn(problem, `openssl x509 -in ${file} -noout -dates`)
  if (wasMixed) {
    warn(
      'the certificates are not in order (the server’s first, then the one that signed it, and so on); they are sent in order',
      listing,
    )
  }
  if (strays.length > 0) {
    warn(
      `certificate ${strays.join(', ')} is no part of the chain and is not sent; is another one missing?`,
      listing,
    )
  }
  if (leaf.subjectAltName === undefined) {
    warn('has no subjectAltName; clients will not find their host name in it', text)
  }
  if (leaf.ca) warn("the server's certificate is a CA's; many clients refuse that", text)
  if (leaf.publicKey.asymmetricKeyType === 'ed25519') {
    warn(
      'its key is Ed25519, which browsers and older clients do not take; P-256 suits everybody',
      text,
    )
  }
  for (const link of links.slice(1)) {
    const old = validityProblem(link, wallMs)
    if (old !== undefined) warn(`the CA certificate of ${nameOf(link.subject)} ${old}`, listing)
  }
  if (lacksIntermediate(last)) {
    warn(
      `the chain ends with a certificate of ${nameOf(last.issuer)}, which is not in the file and no root either: clients will say "unable to verify the first certificate" (OpenSSL, Node.js), "certificate signed by unknown authority" (Go) or "PKIX path building failed" (Java). Append the certificate of that CA${whereToGet(last)}`,
      listing,
    )
  }
  return warnings
}

/** What is wrong with the dates of a certificate now, in words; undefined where nothing is. */
export function validityProblem(
  { validFrom, validTo }: Pick<X509Certificate, 'validFrom' | 'validTo'>,
  wallMs: number,
): string | undefined {
  const [from, to] = [Date.parse(validFrom), Date.parse(validTo)]
  if (wallMs >= to) return `expired on ${inUtc(to)}; clients refuse it`
  if (wallMs < from) {
    return `is not valid before ${inUtc(from)}, or this machine's clock is wrong; clients refuse it`
  }
  return undefined
}

/**
 * Whether a CA that publishes its own certificate has signed this one and is no root. A CA of one's
 * own says nothing of where its certificate is, and its clients have it.
 */
function lacksIntermediate(last: X509Certificate): boolean {
  if (isSelfSigned(last) || whereToGet(last) === '') return false
  return signerAmong(parseRoots(rootCertificates), last) === undefined
}

function whereToGet({ infoAccess }: X509Certificate): string {
  const [, url] = /CA Issuers - URI:(\S+)/.exec(infoAccess ?? '') ?? []
  return url === undefined ? '' : ` (${url.slice(0, 200)})`
}

/** The common name in a distinguished name, or the whole of it. Node has none for an empty one, though its types say otherwise. */
export function nameOf(distinguished: string | undefined): string {
  if (distinguished === undefined) return 'no name'
  const [, commonName] = /(?:^|\n)CN=([^\n]*)/.exec(distinguished) ?? []
  return (commonName ?? distinguished.replaceAll('\n', ', ')).slice(0, 200)
}

function inUtc(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 16).replace('T', ' ')} UTC`
}
