/** What a client certificate says of its owner, and why one was not accepted. */
import type { X509Certificate } from 'node:crypto'
import type { ClientCertificate } from '../pipeline/arrival.ts'
import { certificateMark } from './client-trust.ts'

/** Names taken from one certificate; more are left out. */
const MAX_NAMES = 100

/** What can become of a client certificate. Metric labels. */
export const CLIENT_RESULTS = [
  'verified',
  'missing',
  'expired',
  'not_yet_valid',
  'revoked',
  'unknown_ca',
  'self_signed',
  'wrong_purpose',
  'bad_signature',
  'crl_expired',
  'crl_missing',
  'other',
] as const
export type ClientResult = (typeof CLIENT_RESULTS)[number]

/** OpenSSL's words for it, of verification and of the handshake. */
const RESULTS: Readonly<Record<string, ClientResult>> = {
  ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE: 'missing',
  CERT_HAS_EXPIRED: 'expired',
  CERT_NOT_YET_VALID: 'not_yet_valid',
  CERT_REVOKED: 'revoked',
  UNABLE_TO_GET_ISSUER_CERT: 'unknown_ca',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'unknown_ca',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'unknown_ca',
  SELF_SIGNED_CERT_IN_CHAIN: 'unknown_ca',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'self_signed',
  INVALID_PURPOSE: 'wrong_purpose',
  CERT_SIGNATURE_FAILURE: 'bad_signature',
  ERR_SSL_BAD_SIGNATURE: 'bad_signature',
  CRL_HAS_EXPIRED: 'crl_expired',
  UNABLE_TO_GET_CRL: 'crl_missing',
  CRL_NOT_YET_VALID: 'other',
  CRL_SIGNATURE_FAILURE: 'other',
  UNABLE_TO_DECRYPT_CERT_SIGNATURE: 'other',
  UNABLE_TO_DECODE_ISSUER_PUBLIC_KEY: 'other',
  ERROR_IN_CERT_NOT_BEFORE_FIELD: 'other',
  ERROR_IN_CERT_NOT_AFTER_FIELD: 'other',
  CERT_CHAIN_TOO_LONG: 'other',
  INVALID_CA: 'other',
  PATH_LENGTH_EXCEEDED: 'other',
  CERT_UNTRUSTED: 'other',
  CERT_REJECTED: 'other',
  UNSPECIFIED: 'other',
}

/** What a failed handshake or verification says of the client's certificate; undefined where it says nothing. */
export function clientResultOf(code: string): ClientResult | undefined {
  return Object.hasOwn(RESULTS, code) ? RESULTS[code] : undefined
}

/** What the token set may know a certificate by. */
export function clientCertificateFrom(certificate: X509Certificate): ClientCertificate {
  const { fingerprint256, subjectAltName, validTo, issuer, serialNumber } = certificate
  const names = [`sha256:${fingerprint256.replaceAll(':', '').toLowerCase()}`]
  for (const { type, value } of subjectAltNames(subjectAltName)) {
    if (type === 'DNS') names.push(`dns:${value.toLowerCase()}`)
    else if (type === 'URI') names.push(`uri:${value}`)
    else if (type === 'email') names.push(`email:${withPlainHost(value)}`)
    if (names.length === MAX_NAMES) break
  }
  const commonName: unknown = certificate.toLegacyObject().subject.CN
  // Where there are several, none of them is the name.
  if (typeof commonName === 'string') names.push(`cn:${commonName}`)
  return {
    names,
    notAfterMs: Date.parse(validTo),
    mark: certificateMark(issuer, serialNumber),
  }
}

/**
 * Takes Node's text apart: `DNS:a.example, URI:"spiffe://a/b\u002cc"`. A value with anything in it that
 * could be mistaken for the text's own punctuation is quoted as JSON.
 */
export function* subjectAltNames(text = ''): Generator<{ type: string; value: string }> {
  const one = /([A-Za-z ]+):("(?:[^"\\]|\\.)*"|[^",]*)(?:, |$)/y
  while (one.lastIndex < text.length) {
    const [, type = '', value = ''] = one.exec(text) ?? []
    // A text that is not as it should be names nobody.
    if (type === '') return
    if (!value.startsWith('"')) yield { type, value }
    else {
      const unquoted: unknown = JSON.parse(value)
      if (typeof unquoted === 'string') yield { type, value: unquoted }
    }
  }
}

function withPlainHost(address: string): string {
  const at = address.lastIndexOf('@')
  return address.slice(0, at) + address.slice(at).toLowerCase()
}
