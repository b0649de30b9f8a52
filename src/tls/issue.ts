/** Makes the development CA and the certificates it signs. Loaded only where one has to be made. */
import { randomBytes, webcrypto } from 'node:crypto'
import { isIP } from 'node:net'
// The dependency injection inside @peculiar/x509 reads metadata of decorators.
import 'reflect-metadata'
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  type Extension,
  KeyUsageFlags,
  KeyUsagesExtension,
  PemConverter,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509Certificate,
  X509CertificateGenerator,
} from '@peculiar/x509'

const KEY_ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256' } as const
const SIGNING_ALGORITHM = { name: 'ECDSA', hash: 'SHA-256' } as const
const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS
const CA_DAYS = 3650
/** With the hour of grace below, under the 397 days that browsers accept. */
const SERVER_DAYS = 396
/** Clocks of clients may be behind. */
const GRACE_MS = HOUR_MS

/** RFC 5280, ub-common-name. */
const MAX_COMMON_NAME = 64

/** A certificate and its private key (PKCS #8), both PEM. */
export interface Issued {
  readonly cert: string
  readonly key: string
}

/** A CA of ten years that may sign server certificates and no further CA. */
export async function issueCa(commonName: string, wallMs: number): Promise<Issued> {
  const keys = await webcrypto.subtle.generateKey(KEY_ALGORITHM, true, ['sign', 'verify'])
  const certificate = await X509CertificateGenerator.createSelfSigned(
    {
      serialNumber: serialNumber(),
      name: [{ CN: [commonName.slice(0, MAX_COMMON_NAME)] }],
      notBefore: new Date(wallMs - GRACE_MS),
      notAfter: new Date(wallMs + CA_DAYS * DAY_MS),
      signingAlgorithm: SIGNING_ALGORITHM,
      keys,
      extensions: [
        new BasicConstraintsExtension(true, 0, true),
        new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
        await SubjectKeyIdentifierExtension.create(keys.publicKey, false, webcrypto),
      ],
    },
    webcrypto,
  )
  return { cert: pem(certificate), key: await keyPem(keys.privateKey) }
}

/** A server certificate for these host names and addresses. The first that is short enough is its common name. */
export async function issueServer(
  ca: Issued,
  names: readonly string[],
  wallMs: number,
): Promise<Issued> {
  const issuer = new X509Certificate(ca.cert)
  const [pkcs8] = PemConverter.decode(ca.key)
  if (pkcs8 === undefined) throw new TypeError('BUG: the key of the CA is empty')
  const signingKey = await webcrypto.subtle.importKey('pkcs8', pkcs8, KEY_ALGORITHM, false, [
    'sign',
  ])
  const keys = await webcrypto.subtle.generateKey(KEY_ALGORITHM, true, ['sign', 'verify'])
  const extensions: Extension[] = [
    new BasicConstraintsExtension(false, undefined, true),
    new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
    new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth]),
    new SubjectAlternativeNameExtension(
      names.map((value) => ({ type: isIP(value) === 0 ? 'dns' : 'ip', value })),
    ),
    await SubjectKeyIdentifierExtension.create(keys.publicKey, false, webcrypto),
    await AuthorityKeyIdentifierExtension.create(issuer, false, webcrypto),
  ]
  const certificate = await X509CertificateGenerator.create(
    {
      serialNumber: serialNumber(),
      subject: [{ CN: [names.find((name) => name.length <= MAX_COMMON_NAME) ?? 'localhost'] }],
      issuer: issuer.subject,
      notBefore: new Date(wallMs - GRACE_MS),
      notAfter: new Date(Math.min(wallMs + SERVER_DAYS * DAY_MS, issuer.notAfter.getTime())),
      signingAlgorithm: SIGNING_ALGORITHM,
      publicKey: keys.publicKey,
      signingKey,
      extensions,
    },
    webcrypto,
  )
  return { cert: pem(certificate), key: await keyPem(keys.privateKey) }
}

function pem(certificate: X509Certificate): string {
  return `${certificate.toString('pem')}\n`
}

async function keyPem(key: webcrypto.CryptoKey): Promise<string> {
  const pkcs8 = await webcrypto.subtle.exportKey('pkcs8', key)
  return `${PemConverter.encode(pkcs8, 'PRIVATE KEY')}\n`
}

/** RFC 5280 §4.1.2.2: positive, at most 20 bytes; 126 random bits. */
function serialNumber(): string {
  const bytes = randomBytes(16)
  bytes[0] = ((bytes[0] ?? 0) & 0x3f) | 0x40
  return bytes.toString('hex')
}
