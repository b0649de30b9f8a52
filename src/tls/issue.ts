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
  Extension,
  type JsonGeneralName,
  KeyUsageFlags,
  KeyUsagesExtension,
  PemConverter,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509Certificate,
  X509CertificateGenerator,
} from '@peculiar/x509'
import { decodePermitted, encodePermitted, NAME_CONSTRAINTS_OID } from './name-constraints.ts'

const KEY_ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256' } as const
const SIGNING_ALGORITHM = { name: 'ECDSA', hash: 'SHA-256' } as const
const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS
const CA_DAYS = 3650
/** With the hour of grace below, under the 397 days that browsers accept. */
const LEAF_DAYS = 396
/** Clocks of clients may be behind; certificates of less than ten hours get a tenth of their life. */
const GRACE_MS = HOUR_MS

/** RFC 5280, ub-common-name. */
export const MAX_COMMON_NAME = 64
const USAGES = {
  server: ExtendedKeyUsage.serverAuth,
  client: ExtendedKeyUsage.clientAuth,
} as const

/** A certificate and its private key (PKCS #8), both PEM. */
export interface Issued {
  readonly cert: string
  readonly key: string
}

/** What a CA may sign, besides what every CA here may. */
export interface CaLimits {
  /** Servers or clients alone; default both. */
  readonly purpose?: 'server' | 'client'
  /** Host names, with all below them, and addresses; default any. */
  readonly permitted?: readonly string[]
}

/** A CA of ten years that may sign certificates of servers and clients, and no further CA. */
export async function issueCa(
  commonName: string,
  wallMs: number,
  { purpose, permitted }: CaLimits = {},
): Promise<Issued> {
  const keys = await newKeys()
  const certificate = await X509CertificateGenerator.createSelfSigned(
    {
      serialNumber: serialNumber(),
      name: [{ CN: [commonName.slice(0, MAX_COMMON_NAME)] }],
      notBefore: new Date(wallMs - GRACE_MS),
      // Ten years at most, the grace included.
      notAfter: new Date(wallMs - GRACE_MS + CA_DAYS * DAY_MS),
      signingAlgorithm: SIGNING_ALGORITHM,
      keys,
      extensions: [
        new BasicConstraintsExtension(true, 0, true),
        new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
        ...(purpose === undefined ? [] : [new ExtendedKeyUsageExtension([USAGES[purpose]])]),
        ...(permitted === undefined
          ? []
          : [new Extension(NAME_CONSTRAINTS_OID, true, encodePermitted(permitted))]),
        await SubjectKeyIdentifierExtension.create(keys.publicKey, false, webcrypto),
      ],
    },
    webcrypto,
  )
  return { cert: pem(certificate), key: await keyPem(keys.privateKey) }
}

/** The names that a CA is limited to; undefined where it may sign for any. */
export function permittedBy(caCert: string): readonly string[] | undefined {
  const extension = new X509Certificate(caCert).getExtension(NAME_CONSTRAINTS_OID)
  return extension === null ? undefined : decodePermitted(new Uint8Array(extension.value))
}

/**
 * A server certificate for these host names and addresses, for `lifeMs` (default and at most 396
 * days), and never longer than its CA. The first name that is short enough is its common name.
 */
export function issueServer(
  ca: Issued,
  names: readonly string[],
  wallMs: number,
  lifeMs?: number,
): Promise<Issued> {
  return issueLeaf(ca, wallMs, {
    purpose: 'server',
    commonName: names.find((name) => name.length <= MAX_COMMON_NAME) ?? 'localhost',
    names: names.map((value) => ({ type: isIP(value) === 0 ? 'dns' : 'ip', value })),
    lifeMs,
  })
}

/**
 * A client certificate: common name and alternative name are `name`, a URI where it has a colon, else
 * a DNS name; at most 64 characters. `lifeMs` as for servers.
 */
export function issueClient(
  ca: Issued,
  name: string,
  wallMs: number,
  lifeMs?: number,
): Promise<Issued> {
  return issueLeaf(ca, wallMs, {
    purpose: 'client',
    commonName: name,
    names: [{ type: name.includes(':') ? 'url' : 'dns', value: name }],
    lifeMs,
  })
}

interface Leaf {
  readonly purpose: 'server' | 'client'
  readonly commonName: string
  readonly names: JsonGeneralName[]
  readonly lifeMs: number | undefined
}

async function issueLeaf(
  ca: Issued,
  wallMs: number,
  { purpose, commonName, names, lifeMs = LEAF_DAYS * DAY_MS }: Leaf,
): Promise<Issued> {
  const issuer = new X509Certificate(ca.cert)
  const [pkcs8] = PemConverter.decode(ca.key)
  if (pkcs8 === undefined) throw new TypeError('BUG: the key of the CA is empty')
  const signingKey = await webcrypto.subtle.importKey('pkcs8', pkcs8, KEY_ALGORITHM, false, [
    'sign',
  ])
  const keys = await newKeys()
  const life = Math.min(lifeMs, LEAF_DAYS * DAY_MS)
  const certificate = await X509CertificateGenerator.create(
    {
      serialNumber: serialNumber(),
      subject: [{ CN: [commonName] }],
      issuer: issuer.subject,
      notBefore: new Date(wallMs - Math.min(GRACE_MS, life / 10)),
      notAfter: new Date(Math.min(wallMs + life, issuer.notAfter.getTime())),
      signingAlgorithm: SIGNING_ALGORITHM,
      publicKey: keys.publicKey,
      signingKey,
      extensions: [
        new BasicConstraintsExtension(false, undefined, true),
        new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
        new ExtendedKeyUsageExtension([USAGES[purpose]]),
        new SubjectAlternativeNameExtension(names),
        await SubjectKeyIdentifierExtension.create(keys.publicKey, false, webcrypto),
        await AuthorityKeyIdentifierExtension.create(issuer, false, webcrypto),
      ],
    },
    webcrypto,
  )
  return { cert: pem(certificate), key: await keyPem(keys.privateKey) }
}

function newKeys(): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(KEY_ALGORITHM, true, ['sign', 'verify'])
}

function pem(certificate: X509Certificate): string {
  return `${certificate.toString('pem')}\n`
}

async function keyPem(key: webcrypto.CryptoKey): Promise<string> {
  const pkcs8 = await webcrypto.subtle.exportKey('pkcs8', key)
  return `${PemConverter.encode(pkcs8, 'PRIVATE KEY')}\n`
}

/** 128 random bits; written as a positive number (RFC 5280 §4.1.2.2). */
function serialNumber(): string {
  return randomBytes(16).toString('hex')
}
