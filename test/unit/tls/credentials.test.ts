import assert from 'node:assert/strict'
import { createPrivateKey, generateKeyPairSync } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { CertificateError } from '../../../src/tls/certificate-error.ts'
import { loadServerCredentials } from '../../../src/tls/credentials.ts'
import { type Issued, issueCa, issueServer } from '../../../src/tls/issue.ts'

const NOW_MS = Date.now()
const DAY_MS = 86_400_000

suite('a certificate and its key', () => {
  const root = mkdtempSync(join(tmpdir(), 'tollgate-tls-'))
  after(() => rmSync(root, { recursive: true }))
  let ca: Issued
  let server: Issued
  let other: Issued
  before(async () => {
    ca = await issueCa('test CA', NOW_MS)
    server = await issueServer(ca, ['localhost'], NOW_MS)
    other = await issueServer(ca, ['localhost'], NOW_MS)
  })

  const load = (cert: string, key: string, wallMs = NOW_MS, clientCa?: string) => {
    const [certPath, keyPath, clientCaPath] = ['cert', 'key', 'ca'].map((name) => join(root, name))
    writeFileSync(join(root, 'cert'), cert)
    writeFileSync(join(root, 'key'), key)
    if (clientCa !== undefined) writeFileSync(join(root, 'ca'), clientCa)
    return loadServerCredentials(
      {
        certPath: certPath ?? '',
        keyPath: keyPath ?? '',
        ...(clientCa === undefined ? {} : { clientCaPath }),
      },
      wallMs,
    )
  }
  const refused = (loading: Promise<unknown>, file: string, words: RegExp) =>
    assert.rejects(loading, (error) => {
      assert.ok(error instanceof CertificateError)
      assert.equal(error.path, join(root, file))
      assert.match(error.message, words)
      return true
    })

  test('with text around it, its chain and a CA for clients', async () => {
    const text = `subject=CN = x\n${server.cert}\n\nissuer\n${ca.cert}`
    const { secrets, facts } = await load(text, server.key, NOW_MS, ca.cert)
    assert.equal(secrets.cert, server.cert + ca.cert)
    assert.equal(secrets.ca, ca.cert)
    assert.deepEqual(facts.names, ['DNS:localhost'])
    assert.deepEqual(facts.warnings, [])
  })

  test('the key as SEC 1, with its parameters in front', async () => {
    const sec1 = createPrivateKey(server.key).export({ type: 'sec1', format: 'pem' })
    const parameters =
      '-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n'
    await load(server.cert, parameters + sec1)
  })

  test('files swapped', () =>
    refused(
      load(server.key, server.cert),
      'cert',
      /found PRIVATE KEY; are certificate and key swapped\?/,
    ))
  test('twice the certificate', () =>
    refused(
      load(server.cert, server.cert),
      'key',
      /found CERTIFICATE; are certificate and key swapped\?/,
    ))
  test('the key of another', () =>
    refused(load(server.cert, other.key), 'key', /does not belong to the certificate/))
  test('chain in the wrong order', () =>
    refused(
      load(ca.cert + server.cert, server.key),
      'cert',
      /key belongs to certificate 2; expected the server's/,
    ))
  test('several keys', () =>
    refused(load(server.cert, server.key + other.key), 'key', /several private keys/))
  test('empty', () => refused(load('', server.key), 'cert', /no PEM block/))
  test('cut off', () =>
    refused(load(server.cert.slice(0, 300), server.key), 'cert', /no PEM block/))
  test('damaged certificate', () =>
    refused(
      load(server.cert.replace(/\n(.{10}).{20}/, '\n$1'), server.key),
      'cert',
      /certificate 1 is damaged/,
    ))
  test('damaged key', () =>
    refused(
      load(server.cert, server.key.replace(/\n(.{10}).{20}/, '\n$1')),
      'key',
      /private key is damaged/,
    ))
  test('encrypted key', () => {
    const encrypted = createPrivateKey(server.key).export({
      type: 'pkcs8',
      format: 'pem',
      cipher: 'aes-256-cbc',
      passphrase: 'x',
    })
    return refused(load(server.cert, `${encrypted}`), 'key', /encrypted; expected one without/)
  })
  test('expired', () =>
    refused(
      load(server.cert, server.key, NOW_MS + 400 * DAY_MS),
      'cert',
      /expired on \d{4}-\d\d-\d\d/,
    ))
  test('not valid yet', () =>
    refused(
      load(server.cert, server.key, NOW_MS - DAY_MS),
      'cert',
      /not valid before .* clock is wrong/,
    ))
  test('a CA for clients that is none', () =>
    refused(load(server.cert, server.key, NOW_MS, other.cert), 'ca', /holds no CA certificate/))
  test('missing', () =>
    assert.rejects(
      loadServerCredentials({ certPath: join(root, 'none'), keyPath: join(root, 'key') }, NOW_MS),
      /none: cannot be read: there is no such file/,
    ))

  test('messages never quote a key', async () => {
    const { privateKey } = generateKeyPairSync('ec', {
      namedCurve: 'P-256',
      privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
      publicKeyEncoding: { type: 'spki', format: 'pem' },
    })
    const body = privateKey.split('\n')[1] ?? ''
    for (const [cert, key] of [
      [server.cert, privateKey],
      [privateKey, privateKey],
    ] as const) {
      await assert.rejects(load(cert, key), (error) => !`${error}`.includes(body))
    }
  })

  test('what not every client takes is said', async () => {
    const { facts } = await load(server.cert + other.cert, server.key)
    assert.deepEqual(facts.warnings, [
      `${join(root, 'cert')}: certificate 1 was not issued by the one after it`,
    ])
    const self = await load(ca.cert, ca.key)
    assert.match(self.facts.warnings.join('\n'), /no subjectAltName.*\n.*is a CA's/)
  })
})
