/**
 * What is made of X.509 here: the request for a certificate, and the certificate that answers a
 * TLS-ALPN-01 challenge. Loaded only where one of them has to be made.
 */
import { randomBytes, webcrypto } from 'node:crypto'
// The dependency injection inside @peculiar/x509 reads metadata of decorators.
import 'reflect-metadata'
import {
  AuthorityKeyIdentifierExtension,
  Extension,
  PemConverter,
  Pkcs10CertificateRequestGenerator,
  SubjectAlternativeNameExtension,
  X509Certificate,
  X509CertificateGenerator,
} from '@peculiar/x509'

const KEY_ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256' } as const
const SIGNING_ALGORITHM = { name: 'ECDSA', hash: 'SHA-256' } as const
const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS

/** id-pe-acmeIdentifier (RFC 8737 §6.1). */
const ACME_IDENTIFIER = '1.3.6.1.5.5.7.1.31'
/** An OCTET STRING of 32 bytes in DER. */
const OCTETS_32 = Buffer.from([0x04, 0x20])

/** A request for a certificate, with the key made for it. */
export interface CertificateRequest {
  /** DER in base64url. */
  readonly csr: string
  /** PKCS #8, PEM. Never log it. */
  readonly key: string
}

/** Makes a fresh ECDSA key on P-256 and a request for these names. */
export async function requestFor(names: readonly string[]): Promise<CertificateRequest> {
  const keys = await webcrypto.subtle.generateKey(KEY_ALGORITHM, true, ['sign', 'verify'])
  const san = names.map((value) => ({ type: 'dns', value }) as const)
  const request = await Pkcs10CertificateRequestGenerator.create(
    {
      keys,
      signingAlgorithm: SIGNING_ALGORITHM,
      extensions: [new SubjectAlternativeNameExtension(san)],
    },
    webcrypto,
  )
  return {
    csr: Buffer.from(request.rawData).toString('base64url'),
    key: await keyPem(keys.privateKey),
  }
}

/** The certificate of RFC 8737 §3: for one name, with the digest of the key authorization in it. */
export async function challengeCertificate(
  name: string,
  digest: Buffer,
  wallMs: number,
): Promise<{ readonly cert: string; readonly key: string }> {
  const keys = await webcrypto.subtle.generateKey(KEY_ALGORITHM, true, ['sign', 'verify'])
  const certificate = await X509CertificateGenerator.createSelfSigned(
    {
      serialNumber: `01${randomBytes(15).toString('hex')}`,
      name: 'CN=ACME challenge',
      notBefore: new Date(wallMs - HOUR_MS),
      notAfter: new Date(wallMs + 7 * DAY_MS),
      signingAlgorithm: SIGNING_ALGORITHM,
      keys,
      extensions: [
        new SubjectAlternativeNameExtension([{ type: 'dns', value: name }]),
        new Extension(ACME_IDENTIFIER, true, Buffer.concat([OCTETS_32, digest])),
      ],
    },
    webcrypto,
  )
  return { cert: `${certificate.toString('pem')}\n`, key: await keyPem(keys.privateKey) }
}

/**
 * How RFC 9773 §4.1 names a certificate: key identifier of its issuer, a dot, serial number, both in
 * base64url. Undefined where the certificate does not name its issuer's key.
 */
export function renewalIdOf(pem: string): string | undefined {
  const certificate = new X509Certificate(pem)
  const keyId = certificate.getExtension(AuthorityKeyIdentifierExtension)?.keyId
  if (keyId === undefined) return undefined
  const serial = Buffer.from(certificate.serialNumber.replace(/^(?=(?:..)*.$)/, '0'), 'hex')
  // The number as DER has it: positive, so with a zero in front of a first bit that is set.
  const isBitSet = (serial[0] ?? 0) >= 0x80
  const der = isBitSet ? Buffer.concat([Buffer.of(0), serial]) : serial
  return `${Buffer.from(keyId, 'hex').toString('base64url')}.${der.toString('base64url')}`
}

async function keyPem(key: webcrypto.CryptoKey): Promise<string> {
  const pkcs8 = await webcrypto.subtle.exportKey('pkcs8', key)
  return `${PemConverter.encode(pkcs8, 'PRIVATE KEY')}\n`
}
