/** Client certificates for tests, good and bad, and the CRLs that name them. */
import { randomBytes, webcrypto } from 'node:crypto'
import 'reflect-metadata'
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  PemConverter,
  SubjectAlternativeNameExtension,
  X509Certificate,
  X509CertificateGenerator,
  X509CrlGenerator,
} from '@peculiar/x509'
import type { Issued } from '../../src/tls/issue.ts'

const KEY_ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256' } as const
const SIGNING_ALGORITHM = { name: 'ECDSA', hash: 'SHA-256' } as const
const HOUR_MS = 3_600_000

/** A certificate, its key, and its serial number in hexadecimal. */
export interface IssuedClient extends Issued {
  readonly serialNumber: string
}

export interface ClientSubject {
  readonly cn?: string
  /** DNS names, URIs and e-mail addresses, told apart by what is in them. */
  readonly san?: readonly string[]
  readonly notBeforeMs?: number
  readonly notAfterMs?: number
  readonly purpose?: 'client' | 'server' | 'any'
  readonly isSelfSigned?: boolean
}

/** A client certificate by this CA, valid from an hour ago for a day unless told otherwise. */
export async function issueClient(
  ca: Issued,
  {
    cn = 'agent',
    san = [],
    notBeforeMs = Date.now() - HOUR_MS,
    notAfterMs = Date.now() + 24 * HOUR_MS,
    purpose = 'client',
    isSelfSigned = false,
  }: ClientSubject = {},
): Promise<IssuedClient> {
  const issuer = new X509Certificate(ca.cert)
  const keys = await webcrypto.subtle.generateKey(KEY_ALGORITHM, true, ['sign', 'verify'])
  const usage = purpose === 'server' ? ExtendedKeyUsage.serverAuth : ExtendedKeyUsage.clientAuth
  const subject = [{ CN: [cn] }]
  const certificate = await X509CertificateGenerator.create(
    {
      serialNumber: randomBytes(12).toString('hex'),
      subject,
      issuer: isSelfSigned ? subject : issuer.subject,
      notBefore: new Date(notBeforeMs),
      notAfter: new Date(notAfterMs),
      signingAlgorithm: SIGNING_ALGORITHM,
      publicKey: keys.publicKey,
      signingKey: isSelfSigned ? keys.privateKey : await signingKeyOf(ca),
      extensions: [
        new BasicConstraintsExtension(false, undefined, true),
        new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
        ...(purpose === 'any' ? [] : [new ExtendedKeyUsageExtension([usage])]),
        ...(san.length === 0
          ? []
          : [
              new SubjectAlternativeNameExtension(
                san.map((value) => ({ type: kindOf(value), value })),
              ),
            ]),
        ...(isSelfSigned
          ? []
          : [await AuthorityKeyIdentifierExtension.create(issuer, false, webcrypto)]),
      ],
    },
    webcrypto,
  )
  const pkcs8 = await webcrypto.subtle.exportKey('pkcs8', keys.privateKey)
  return {
    cert: `${certificate.toString('pem')}\n`,
    key: `${PemConverter.encode(pkcs8, 'PRIVATE KEY')}\n`,
    serialNumber: certificate.serialNumber,
  }
}

/** A CRL of this CA, as DER. */
export async function issueCrl(
  ca: Issued,
  revoked: readonly IssuedClient[],
  {
    thisUpdateMs = Date.now() - HOUR_MS,
    nextUpdateMs = Date.now() + 24 * HOUR_MS,
  }: { readonly thisUpdateMs?: number; readonly nextUpdateMs?: number } = {},
): Promise<Buffer> {
  const crl = await X509CrlGenerator.create(
    {
      issuer: new X509Certificate(ca.cert).subject,
      thisUpdate: new Date(thisUpdateMs),
      nextUpdate: new Date(nextUpdateMs),
      signingAlgorithm: SIGNING_ALGORITHM,
      signingKey: await signingKeyOf(ca),
      entries: revoked.map(({ serialNumber }) => {
        return { serialNumber, revocationDate: new Date(thisUpdateMs) }
      }),
    },
    webcrypto,
  )
  return Buffer.from(crl.rawData)
}

/** The same as PEM, as OpenSSL writes it. */
export function crlPem(der: Buffer): string {
  return `${PemConverter.encode(der, 'X509 CRL')}\n`
}

async function signingKeyOf({ key }: Issued): Promise<webcrypto.CryptoKey> {
  const [pkcs8] = PemConverter.decode(key)
  if (pkcs8 === undefined) throw new TypeError('no key')
  return await webcrypto.subtle.importKey('pkcs8', pkcs8, KEY_ALGORITHM, false, ['sign'])
}

function kindOf(name: string): 'url' | 'email' | 'dns' {
  if (name.includes(':')) return 'url'
  return name.includes('@') ? 'email' : 'dns'
}
