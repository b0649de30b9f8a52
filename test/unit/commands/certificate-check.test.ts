/** What `tollgate check` says of a certificate that is for another host. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { lookAtCertificates } from '../../../src/commands/certificate-check.ts'
import { parseConfig } from '../../../src/config/config.ts'
import { writeCertificate } from '../../support/certs.ts'

test('a domain that no certificate is for: the file, what is wrong, and how to see it', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'tollgate-check-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const { certPath, keyPath } = await writeCertificate(folder)
  const badOf = async (cert: string) => {
    const env = {
      TOLLGATE_TLS_CERT: cert,
      TOLLGATE_TLS_KEY: keyPath,
      TOLLGATE_TLS_DOMAIN: 'localhost,otlp.example.test',
      TOLLGATE_TOKENS: 'tests=a-token-of-the-tests-0123456789abcdef',
      TOLLGATE_COLLECTOR_GRPC: 'http://127.0.0.1:1',
    }
    const { findings } = await lookAtCertificates(parseConfig(env, [], { cwd: folder }))
    return findings.filter(({ level }) => level === 'bad').map(({ text }) => text)
  }
  assert.deepEqual(await badOf(certPath), [
    `certificate: ${certPath}: no certificate is for otlp.example.test (TOLLGATE_TLS_DOMAIN); clients that call it refuse it. It is for DNS:localhost, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1. To see it: openssl x509 -in ${certPath} -noout -ext subjectAltName`,
  ])
  const unreadable = await badOf(keyPath)
  assert.equal(unreadable.length, 1, 'not a word of names where the certificate cannot be read')
})
