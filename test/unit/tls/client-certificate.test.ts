import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { suite, test } from 'node:test'
import {
  clientCertificateFrom,
  clientResultOf,
  subjectAltNames,
} from '../../../src/tls/client-certificate.ts'
import { certificateMark } from '../../../src/tls/client-trust.ts'
import { issueCa } from '../../../src/tls/issue.ts'
import { issueClient } from '../../support/client-certs.ts'

const ca = await issueCa('Agents CA', Date.now())

suite('what a client certificate says', () => {
  test('its names: the most exact first, hosts in lower case', async () => {
    const san = ['Agent-7.Example.com', 'spiffe://example.com/Agent', 'Seven@Example.com']
    const { cert, serialNumber } = await issueClient(ca, { cn: 'Agent 7', san })
    const x509 = new X509Certificate(cert)
    const certificate = clientCertificateFrom(x509)
    assert.deepEqual(certificate.names, [
      `sha256:${x509.fingerprint256.replaceAll(':', '').toLowerCase()}`,
      'dns:agent-7.example.com',
      'uri:spiffe://example.com/Agent',
      'email:Seven@example.com',
      'cn:Agent 7',
    ])
    assert.equal(certificate.notAfterMs, Date.parse(x509.validTo))
    assert.equal(certificate.mark, certificateMark('CN=Agents CA', serialNumber))
  })

  test('nobody gets a second name by what is inside of one', async () => {
    const san = ['spiffe://a/b, DNS:admin.example.com', 'https://a/"x", email:root@example.com']
    const { cert } = await issueClient(ca, { cn: 'x', san })
    assert.deepEqual(clientCertificateFrom(new X509Certificate(cert)).names.slice(1), [
      `uri:${san[0]}`,
      `uri:${san[1]}`,
      'cn:x',
    ])
  })

  test('a common name with a line break is one name', async () => {
    const { cert } = await issueClient(ca, { cn: 'x\nCN=admin' })
    assert.deepEqual(clientCertificateFrom(new X509Certificate(cert)).names.slice(1), [
      'cn:x\nCN=admin',
    ])
  })

  test('only the first hundred names are taken', async () => {
    const san = Array.from({ length: 300 }, (_, at) => `n${at}.example.com`)
    const { cert } = await issueClient(ca, { san })
    assert.equal(clientCertificateFrom(new X509Certificate(cert)).names.length, 101)
  })

  test('what is not as Node writes it names nobody', () => {
    const parse = (text: string) => [...subjectAltNames(text)]
    assert.deepEqual(parse(''), [])
    assert.deepEqual(parse('DNS:a, IP Address:192.0.2.1'), [
      { type: 'DNS', value: 'a' },
      { type: 'IP Address', value: '192.0.2.1' },
    ])
    assert.deepEqual(parse('no colon'), [])
    assert.deepEqual(parse('DNS:a, "DNS:b'), [{ type: 'DNS', value: 'a' }])
  })
})

test("OpenSSL's words become one of a closed set, and words of others none", () => {
  assert.equal(clientResultOf('CERT_REVOKED'), 'revoked')
  assert.equal(clientResultOf('ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE'), 'missing')
  assert.equal(clientResultOf('ECONNRESET'), undefined)
  assert.equal(clientResultOf('constructor'), undefined)
})
