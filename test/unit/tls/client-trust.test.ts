import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, suite, test } from 'node:test'
import { CertificateError } from '../../../src/tls/certificate-error.ts'
import { certificateMark, loadClientTrust } from '../../../src/tls/client-trust.ts'
import { issueCa, issueServer } from '../../../src/tls/issue.ts'
import { crlPem, issueClient, issueCrl } from '../../support/client-certs.ts'

const NOW_MS = Date.now()
const HOUR_MS = 3_600_000
const ca = await issueCa('Agents CA', NOW_MS)
const other = await issueCa('Other CA', NOW_MS)
const revoked = await issueClient(ca)
const crl = await issueCrl(ca, [revoked])

suite('CAs of clients and their CRLs', () => {
  const root = mkdtempSync(join(tmpdir(), 'tollgate-trust-'))
  after(() => rmSync(root, { recursive: true }))

  const load = (cas: string, crls: readonly (string | Uint8Array)[] = [], wallMs = NOW_MS) => {
    writeFileSync(join(root, 'ca.pem'), cas)
    for (const [at, content] of crls.entries()) writeFileSync(join(root, `${at}.crl`), content)
    const clientCrlPaths = crls.map((_, at) => join(root, `${at}.crl`))
    return loadClientTrust({ clientCaPath: join(root, 'ca.pem'), clientCrlPaths }, wallMs)
  }
  const refused = (loading: Promise<unknown>, file: string, words: RegExp) =>
    assert.rejects(loading, (error) => {
      assert.ok(error instanceof CertificateError)
      assert.equal(error.path, join(root, file))
      assert.match(error.message, words)
      return true
    })

  test('a bundle without CRLs', async () => {
    const { secrets, facts } = await load(ca.cert + other.cert)
    assert.deepEqual(secrets, { ca: ca.cert + other.cert })
    assert.deepEqual(facts, { crls: [], hasAllCrls: false, warnings: [] })
  })

  for (const [name, content] of [
    ['DER', crl],
    ['PEM', crlPem(crl)],
    ['PEM with text around it', `Certificate Revocation List\n${crlPem(crl)}\nbye`],
  ] as const) {
    test(`a CRL as ${name}`, async () => {
      const { secrets, facts, revoked: marks } = await load(ca.cert, [content])
      assert.deepEqual(secrets.crl, [crlPem(crl)])
      assert.deepEqual([...marks], [certificateMark('CN=Agents CA', revoked.serialNumber)])
      assert.equal(facts.hasAllCrls, true)
      assert.deepEqual(facts.warnings, [])
      assert.deepEqual(
        facts.crls.map(({ issuer }) => issuer),
        ['Agents CA'],
      )
    })
  }

  test('several, in one file or in several', async () => {
    const second = await issueCrl(other, [])
    for (const crls of [[crlPem(crl) + crlPem(second)], [crl, crlPem(second)]]) {
      const { facts, secrets } = await load(ca.cert + other.cert, crls)
      assert.equal(secrets.crl?.length, 2)
      assert.equal(facts.hasAllCrls, true)
    }
  })

  test('one that has expired is taken, and what it does is said', async () => {
    const { facts } = await load(ca.cert, [crl], NOW_MS + 48 * HOUR_MS)
    assert.equal(facts.warnings.length, 1)
    assert.match(facts.warnings[0] ?? '', /expired on .*every client of Agents CA is turned away/)
  })

  test('so is one that is not valid yet, and a CA without one', async () => {
    const { facts } = await load(ca.cert + other.cert, [crl], NOW_MS - 2 * HOUR_MS)
    assert.match(facts.warnings[0] ?? '', /not valid before/)
    assert.match(facts.warnings[1] ?? '', /there is no CRL of Other CA/)
    assert.equal(facts.hasAllCrls, false)
  })

  test('a CA that has expired is told', async () => {
    const { facts } = await load(ca.cert, [], NOW_MS + 4000 * 24 * HOUR_MS)
    assert.match(facts.warnings[0] ?? '', /Agents CA expired on/)
  })

  test('what is no CA, and what is no CRL', async () => {
    const server = await issueServer(ca, ['localhost'], NOW_MS)
    await refused(load(server.cert), 'ca.pem', /holds no CA certificate/)
    await refused(load(server.key), 'ca.pem', /expected a certificate, found PRIVATE KEY/)
    await refused(load(ca.cert, [ca.cert]), '0.crl', /expected a CRL, found CERTIFICATE/)
    await refused(load(ca.cert, ['']), '0.crl', /empty/)
    await refused(load(ca.cert, [crl.subarray(0, 50)]), '0.crl', /the CRL is damaged/)
    const missing = { clientCaPath: join(root, 'ca.pem'), clientCrlPaths: [join(root, 'no.crl')] }
    await refused(loadClientTrust(missing, NOW_MS), 'no.crl', /there is no such file/)
  })

  test('a CRL of somebody else, or that somebody else has signed', async () => {
    await refused(load(other.cert, [crl]), '0.crl', /by CN=Agents CA, which is none of the CAs/)
    const forged = await issueCrl({ cert: ca.cert, key: other.key }, [])
    await refused(load(ca.cert, [forged]), '0.crl', /is not signed by the key of CN=Agents CA/)
  })
})
