import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, suite, test } from 'node:test'
import { systemCas, viewOfClient } from '../../../src/tls/client-view.ts'
import { loadServerCredentials } from '../../../src/tls/credentials.ts'
import { issueOdd, type Odd } from '../../support/odd-certificates.ts'

const DAY_MS = 86_400_000

suite('a certificate as a client sees it', () => {
  const root = mkdtempSync(join(tmpdir(), 'tollgate-view-'))
  after(() => rmSync(root, { recursive: true }))
  const load = (cert: string, { key }: Odd) => {
    const [certPath, keyPath] = [join(root, 'cert'), join(root, 'key')]
    writeFileSync(certPath, cert)
    writeFileSync(keyPath, key)
    return loadServerCredentials({ place: { kind: 'pem', certPath, keyPath } }, Date.now())
  }

  test('chains, names and dates', async () => {
    const ca = await issueOdd({ commonName: 'root', isCa: true })
    const intermediate = await issueOdd({ commonName: 'intermediate', isCa: true, issuer: ca })
    const leaf = await issueOdd({ issuer: intermediate })
    const whole = await load(leaf.cert + intermediate.cert, leaf)
    const problem = async (credentials: typeof whole, host: string, cas: readonly string[]) =>
      (await viewOfClient(credentials, host, cas)).problem
    assert.equal(await problem(whole, 'odd.test', [ca.cert]), undefined)
    assert.equal(await problem(whole, 'other.test', [ca.cert]), 'ERR_TLS_CERT_ALTNAME_INVALID')
    assert.equal(await problem(whole, 'odd.test', systemCas()), 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY')
    const alone = await load(leaf.cert, leaf)
    assert.equal(await problem(alone, 'odd.test', [ca.cert]), 'UNABLE_TO_VERIFY_LEAF_SIGNATURE')
    const old = await issueOdd({ issuer: ca, notAfterMs: Date.now() - DAY_MS / 2 })
    assert.equal(
      await problem(await load(old.cert, old), 'odd.test', [ca.cert]),
      'CERT_HAS_EXPIRED',
    )
    const self = await issueOdd()
    assert.equal(
      await problem(await load(self.cert, self), 'odd.test', [ca.cert]),
      'DEPTH_ZERO_SELF_SIGNED_CERT',
    )
  })
})
