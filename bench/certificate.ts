/** The one certificate that all proxies of a run show. */
import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** PEM files. `bundlePath` holds certificate and key, as HAProxy wants them. */
export interface Certificate {
  readonly certPath: string
  readonly keyPath: string
  readonly bundlePath: string
}

/** Makes a self-signed P-256 certificate for localhost and 127.0.0.1, good for a week. */
export function makeCertificate(directory: string): Certificate {
  const certPath = join(directory, 'cert.pem')
  const keyPath = join(directory, 'key.pem')
  const bundlePath = join(directory, 'bundle.pem')
  execFileSync(
    'openssl',
    [
      ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'],
      ...['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1'],
      ...['-days', '7', '-keyout', keyPath, '-out', certPath],
    ],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  )
  writeFileSync(bundlePath, readFileSync(certPath, 'utf8') + readFileSync(keyPath, 'utf8'), {
    mode: 0o600,
  })
  return { certPath, keyPath, bundlePath }
}
