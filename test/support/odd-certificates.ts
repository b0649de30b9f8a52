/** Certificates that the development CA does not make: other keys, purposes, dates, extensions. */
import { webcrypto } from 'node:crypto'
import 'reflect-metadata'
import {
  BasicConstraintsExtension,
  ExtendedKeyUsageExtension,
  Extension,
  PemConverter,
  SubjectAlternativeNameExtension,
  X509Certificate,
  X509CertificateGenerator,
} from '@peculiar/x509'

export interface Odd {
  readonly cert: string
  readonly key: string
}

export interface OddOptions {
  readonly keyAlgorithm?: Parameters<typeof webcrypto.subtle.generateKey>[0] & object
  readonly commonName?: string
  /** Default `DNS:odd.test`. */
  readonly names?: readonly string[]
  readonly purposes?: readonly string[]
  readonly isCa?: boolean
  readonly notBeforeMs?: number
  readonly notAfterMs?: number
  readonly extensions?: readonly Extension[]
  /** Default: it signs itself. */
  readonly issuer?: Odd
}

const P256 = { name: 'ECDSA', namedCurve: 'P-256' } as const
const SIGNING = { name: 'ECDSA', hash: 'SHA-256' } as const
const DAY_MS = 86_400_000

export async function issueOdd(options: OddOptions = {}): Promise<Odd> {
  const { keyAlgorithm = P256, commonName = 'odd', names = ['odd.test'], issuer } = options
  const { notBeforeMs = Date.now() - DAY_MS, notAfterMs = Date.now() + 90 * DAY_MS } = options
  const keys = (await webcrypto.subtle.generateKey(keyAlgorithm, true, [
    'sign',
    'verify',
  ])) as webcrypto.CryptoKeyPair
  const subject = [{ CN: [commonName] }]
  const certificate = await X509CertificateGenerator.create(
    {
      serialNumber: '01',
      subject,
      issuer: issuer === undefined ? subject : new X509Certificate(issuer.cert).subject,
      notBefore: new Date(notBeforeMs),
      notAfter: new Date(notAfterMs),
      signingAlgorithm: signingOf(issuer === undefined ? keyAlgorithm : P256),
      publicKey: keys.publicKey,
      signingKey: issuer === undefined ? keys.privateKey : await importKey(issuer.key),
      extensions: [
        new BasicConstraintsExtension(options.isCa ?? false, undefined, true),
        ...(options.isCa
          ? []
          : [
              new SubjectAlternativeNameExtension(names.map((value) => ({ type: 'dns', value }))),
              new ExtendedKeyUsageExtension([...(options.purposes ?? ['1.3.6.1.5.5.7.3.1'])]),
            ]),
        ...(options.extensions ?? []),
      ],
    },
    webcrypto,
  )
  const pkcs8 = await webcrypto.subtle.exportKey('pkcs8', keys.privateKey)
  return {
    cert: `${certificate.toString('pem')}\n`,
    key: `${PemConverter.encode(pkcs8, 'PRIVATE KEY')}\n`,
  }
}

/** RFC 7633: TLS feature `status_request`. */
export function mustStaple(): Extension {
  return new Extension('1.3.6.1.5.5.7.1.24', false, Buffer.from('3003020105', 'hex'))
}

/** RFC 5280 §4.2.2.1: where the certificate of the CA is, as public CAs say. */
export function issuerAt(url: string): Extension {
  const uri = Buffer.from(url)
  const part = (tag: number, ...content: Buffer[]) => {
    const body = Buffer.concat(content)
    return Buffer.concat([Buffer.from([tag, body.length]), body])
  }
  const caIssuers = Buffer.from('06082b06010505073002', 'hex')
  const value = part(0x30, part(0x30, caIssuers, part(0x86, uri)))
  return new Extension('1.3.6.1.5.5.7.1.1', false, value)
}

function signingOf({ name }: { readonly name: string }) {
  if (name === 'ECDSA') return SIGNING
  return name === 'Ed25519' ? { name } : { name, hash: 'SHA-256' }
}

async function importKey(pem: string): Promise<webcrypto.CryptoKey> {
  const [pkcs8] = PemConverter.decode(pem)
  if (pkcs8 === undefined) throw new Error('no key')
  return await webcrypto.subtle.importKey('pkcs8', pkcs8, P256, false, ['sign'])
}
