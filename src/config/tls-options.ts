/** The options for TLS: where the server's certificates come from, and what is asked of clients. */
import { hostName } from './addresses.ts'
import { listOf } from './kind.ts'
import { option } from './option.ts'
import { oneOf, path, secret } from './words.ts'

const NONE: readonly never[] = Object.freeze([])

export const TLS_OPTIONS = {
  tls: option({
    env: 'TOLLGATE_TLS',
    group: 'TLS',
    kind: oneOf('on', 'off'),
    default: 'on',
    about: 'Whether the public ports speak TLS; off only behind a trusted proxy or on loopback.',
  }),
  tlsCert: option({
    env: 'TOLLGATE_TLS_CERT',
    group: 'TLS',
    kind: listOf(path()),
    unset: NONE,
    about:
      'PEM file with the server certificate, then its chain; watched. Several are chosen from by the name that a client asks for (SNI), the first where none fits. Without one a development certificate is made.',
  }),
  tlsKey: option({
    env: 'TOLLGATE_TLS_KEY',
    group: 'TLS',
    kind: listOf(path()),
    unset: NONE,
    about: 'PEM file with the private key of each certificate, in the same order; watched.',
  }),
  tlsKeyPassphrase: option({
    env: 'TOLLGATE_TLS_KEY_PASSPHRASE',
    group: 'TLS',
    kind: secret('text'),
    isSecret: true,
    about: 'Passphrase of the private keys that are encrypted.',
  }),
  tlsAcmeJson: option({
    env: 'TOLLGATE_TLS_ACME_JSON',
    group: 'TLS',
    kind: path(),
    about:
      "Traefik's acme.json, to take the certificates of `TOLLGATE_TLS_DOMAIN` from; watched. In place of `TOLLGATE_TLS_CERT`.",
  }),
  tlsDomain: option({
    env: 'TOLLGATE_TLS_DOMAIN',
    group: 'TLS',
    kind: listOf(hostName()),
    unset: NONE,
    about:
      'The names by which clients call the gateway. Which certificate of an acme.json is meant; elsewhere a certificate without them is told.',
  }),
  tlsClientCa: option({
    env: 'TOLLGATE_TLS_CLIENT_CA',
    group: 'TLS',
    kind: path(),
    about: 'PEM file with the CAs that sign client certificates; watched.',
  }),
  tlsClientCrl: option({
    env: 'TOLLGATE_TLS_CLIENT_CRL',
    group: 'TLS',
    kind: listOf(path()),
    unset: NONE,
    about:
      'CRLs of these CAs, PEM or DER; watched. With one, every CA needs one, and past its end no client of its CA gets in.',
  }),
  tlsClientAuth: option({
    env: 'TOLLGATE_TLS_CLIENT_AUTH',
    group: 'TLS',
    kind: oneOf('off', 'optional', 'required'),
    default: 'off',
    about: 'Whether clients show a certificate.',
  }),
  tlsClientToken: option({
    env: 'TOLLGATE_TLS_CLIENT_TOKEN',
    group: 'TLS',
    kind: oneOf('beside', 'instead'),
    default: 'beside',
    about:
      'Whether a client certificate comes beside a token, or a verified one that the token set names by `clientCertificate` needs none.',
  }),
} as const
