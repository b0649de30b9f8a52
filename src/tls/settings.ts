import { constants } from 'node:crypto'
import { createSecureContext, type TlsOptions } from 'node:tls'

/**
 * What the public ports speak: TLS 1.3, and 1.2 with authenticated encryption and forward secrecy
 * only (RFC 9325 §4.2), whatever the certificate. Sessions are resumed by tickets, which is Node's
 * default. All of it has to go into every `createSecureContext` and `setSecureContext`, or Node
 * falls back to its own lists.
 */
export const TLS_SETTINGS = Object.freeze({
  minVersion: 'TLSv1.2',
  maxVersion: 'TLSv1.3',
  // Node reads both versions from one list; without the first three it would drop TLS 1.3.
  ciphers: [
    'TLS_AES_128_GCM_SHA256',
    'TLS_AES_256_GCM_SHA384',
    'TLS_CHACHA20_POLY1305_SHA256',
    'ECDHE-ECDSA-AES128-GCM-SHA256',
    'ECDHE-RSA-AES128-GCM-SHA256',
    'ECDHE-ECDSA-AES256-GCM-SHA384',
    'ECDHE-RSA-AES256-GCM-SHA384',
    'ECDHE-ECDSA-CHACHA20-POLY1305',
    'ECDHE-RSA-CHACHA20-POLY1305',
  ].join(':'),
  honorCipherOrder: true,
  ecdhCurve: supportedGroups(),
  ALPNProtocols: ['h2', 'http/1.1'],
  // RFC 9113 §9.2.1 forbids renegotiation, and under TLS 1.2 it lets a client make us work for nothing.
  secureOptions: constants.SSL_OP_NO_RENEGOTIATION,
  /** Seconds that a session may be resumed. */
  sessionTimeout: 7200,
} satisfies TlsOptions)

/** Key exchange groups, the first we share with a client being taken. Post-quantum where OpenSSL (3.5) has it. */
function supportedGroups(): string {
  const groups = 'X25519:P-256:P-384'
  const hybrid = `X25519MLKEM768:${groups}`
  try {
    createSecureContext({ ecdhCurve: hybrid })
    return hybrid
  } catch {
    return groups
  }
}
