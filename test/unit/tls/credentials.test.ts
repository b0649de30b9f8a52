import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { createPrivateKey, generateKeyPairSync, X509Certificate } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { CertificateError } from '../../../src/tls/certificate-error.ts'
import { loadServerCredentials } from '../../../src/tls/credentials.ts'
import { type Issued, issueCa, issueServer } from '../../../src/tls/issue.ts'
import { issueOdd, issuerAt, mustStaple, type OddOptions } from '../../support/odd-certificates.ts'

const NOW_MS = Date.now()
const DAY_MS = 86_400_000

suite('a certificate and its key', () => {
  const root = mkdtempSync(join(tmpdir(), 'tollgate-tls-'))
  after(() => rmSync(root, { recursive: true }))
  const [certPath, keyPath, caPath] = ['cert', 'key', 'ca'].map((name) => join(root, name)) as [
    string,
    string,
    string,
  ]
  let ca: Issued
  let server: Issued
  let other: Issued
  before(async () => {
    ca = await issueCa('test CA', NOW_MS)
    server = await issueServer(ca, ['localhost'], NOW_MS)
    other = await issueServer(ca, ['localhost'], NOW_MS)
  })

  const load = (
    cert: string | Buffer,
    key: string | Buffer,
    { wallMs = NOW_MS, clientCa, passphrase }: Partial<Load> = {},
  ) => {
    writeFileSync(certPath, cert)
    writeFileSync(keyPath, key)
    if (clientCa !== undefined) writeFileSync(caPath, clientCa)
    const clientCaPath = clientCa === undefined ? undefined : caPath
    const place = { kind: 'pem', certPath, keyPath, passphrase } as const
    return loadServerCredentials({ place, clientCaPath }, wallMs)
  }
  interface Load {
    readonly wallMs: number
    readonly clientCa: string
    readonly passphrase: string
  }
  const refused = (loading: Promise<unknown>, file: string, words: RegExp) =>
    assert.rejects(loading, (error) => {
      assert.ok(error instanceof CertificateError)
      assert.equal(error.path, join(root, file))
      assert.match(error.message, words)
      assert.match(error.message, /To see it: \S/)
      return true
    })
  const warningsOf = async (options: OddOptions) => {
    const { cert, key } = await issueOdd(options)
    const { facts } = await load(cert, key)
    return facts.warnings.join('\n')
  }
  const encrypted = (passphrase: string, type: 'pkcs8' | 'sec1' = 'pkcs8') =>
    createPrivateKey(server.key)
      .export({ type, format: 'pem', cipher: 'aes-256-cbc', passphrase })
      .toString()

  suite('taken', () => {
    test('with text around it, its chain and a CA for clients', async () => {
      const text = `subject=CN = x\n${server.cert}\n\nissuer\n${ca.cert}`
      const { secrets, facts } = await load(text, server.key, { clientCa: ca.cert })
      assert.equal(secrets.cert, server.cert + ca.cert)
      assert.equal(secrets.ca, ca.cert)
      assert.deepEqual(facts.names, ['DNS:localhost'])
      assert.equal(facts.subject, 'localhost')
      assert.deepEqual(facts.warnings, [])
    })
    test('the key as SEC 1, with its parameters in front', async () => {
      const sec1 = createPrivateKey(server.key).export({ type: 'sec1', format: 'pem' })
      const parameters =
        '-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n'
      await load(server.cert, parameters + sec1)
    })
    test('an RSA key as PKCS #1', async () => {
      const { cert, key } = await issueOdd({ keyAlgorithm: rsa(2048) })
      const pkcs1 = createPrivateKey(key).export({ type: 'pkcs1', format: 'pem' })
      const { facts } = await load(cert, `${pkcs1}`)
      assert.deepEqual(facts.warnings, [])
    })
    for (const [title, change] of Object.entries({
      CRLF: (text: string) => text.replaceAll('\n', '\r\n'),
      'a byte order mark': (text: string) => `\uFEFF${text}`,
      'UTF-16': (text: string) => Buffer.from(`\uFEFF${text}`, 'utf16le'),
      'no line break at the end': (text: string) => text.trimEnd(),
    })) {
      test(`saved with ${title}`, async () => {
        const { secrets } = await load(change(server.cert), change(server.key))
        assert.equal(secrets.cert, server.cert)
      })
    }
    test('an encrypted key with its passphrase, in both forms', async () => {
      for (const type of ['pkcs8', 'sec1'] as const) {
        const { secrets } = await load(server.cert, encrypted('open sesame', type), {
          passphrase: 'open sesame',
        })
        assert.equal(secrets.key, server.key)
      }
    })
    test('one file with both', async () => {
      writeFileSync(certPath, server.key + server.cert + ca.cert)
      const place = { kind: 'pem', certPath, keyPath: certPath } as const
      const { facts } = await loadServerCredentials({ place }, NOW_MS)
      assert.deepEqual(facts.warnings, [])
    })
  })

  suite('refused', () => {
    test('files swapped', () =>
      refused(
        load(server.key, server.cert),
        'cert',
        /found PRIVATE KEY; it seems that certificate and key are swapped/,
      ))
    test('twice the certificate', () =>
      refused(
        load(server.cert, server.cert),
        'key',
        /found CERTIFICATE; it seems that certificate and key are swapped/,
      ))
    test('the key of another', () =>
      refused(
        load(server.cert, other.key),
        'key',
        /does not belong to the certificate in .*cert\. To see it: openssl pkey -in .*key -pubout; openssl x509/,
      ))
    test('several keys', () =>
      refused(load(server.cert, server.key + other.key), 'key', /several private keys/))
    test('empty', () => refused(load('', server.key), 'cert', /is empty; expected -----BEGIN/))
    test('something else', () => refused(load('hello', server.key), 'cert', /no PEM block/))
    test('cut off', () =>
      refused(
        load(server.cert.slice(0, 300), server.key),
        'cert',
        /begins a CERTIFICATE that does not end; the file is cut off/,
      ))
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
    test('an encrypted key without a passphrase', () =>
      refused(load(server.cert, encrypted('x')), 'key', /encrypted; .*TOLLGATE_TLS_KEY_PASSPHRASE/))
    test('an encrypted key with another passphrase, which is not told', () =>
      assert.rejects(
        load(server.cert, encrypted('right'), { passphrase: 'wrong-one' }),
        (error) => {
          assert.match(`${error}`, /the passphrase does not open the key/)
          assert.doesNotMatch(`${error}`, /wrong-one/)
          return true
        },
      ))
    test('a certificate in DER', () =>
      refused(
        load(new X509Certificate(server.cert).raw, server.key),
        'cert',
        /is a certificate in DER; expected PEM\. To see it: openssl x509 -inform DER -in/,
      ))
    test('a key in DER', () =>
      refused(
        load(
          server.cert,
          createPrivateKey(server.key).export({ type: 'pkcs8', format: 'der' }) as Buffer,
        ),
        'key',
        /is a private key in DER/,
      ))
    test('a PKCS #12 bundle', () => {
      writeFileSync(certPath, server.cert)
      writeFileSync(keyPath, server.key)
      const args = ['pkcs12', '-export', '-passout', 'pass:x', '-in', certPath, '-inkey', keyPath]
      const bundle = execFileSync('openssl', args)
      return refused(load(bundle, server.key), 'cert', /most likely a PKCS #12 bundle, in DER/)
    })
    test('an RSA key that is too short', async () => {
      const { cert, key } = await issueOdd({ keyAlgorithm: rsa(1024) })
      await refused(load(cert, key), 'cert', /RSA of 1024 bits; expected RSA of 2048 bits or more/)
    })
    test('for clients only', async () => {
      const { cert, key } = await issueOdd({ purposes: ['1.3.6.1.5.5.7.3.2'] })
      await refused(load(cert, key), 'cert', /extended key usage lacks serverAuth/)
    })
    test('must-staple', async () => {
      const { cert, key } = await issueOdd({ extensions: [mustStaple()] })
      await refused(load(cert, key), 'cert', /\(must-staple\), and the gateway staples none/)
    })
    test('a CA for clients that is none', () =>
      assert.rejects(
        load(server.cert, server.key, { clientCa: other.cert }),
        /ca: holds no CA certificate/,
      ))
    test('a directory', () => {
      const directory = join(root, 'directory')
      mkdirSync(directory)
      const place = { kind: 'pem', certPath: directory, keyPath } as const
      return refused(
        loadServerCredentials({ place }, NOW_MS),
        'directory',
        /cannot be read: it is a directory/,
      )
    })
    test('missing', () => {
      const place = { kind: 'pem', certPath: join(root, 'none'), keyPath } as const
      return refused(
        loadServerCredentials({ place }, NOW_MS),
        'none',
        /cannot be read: there is no such file/,
      )
    })
  })

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

  suite('taken with a warning', () => {
    test('expired', async () => {
      const { facts } = await load(server.cert, server.key, { wallMs: NOW_MS + 400 * DAY_MS })
      assert.match(facts.warnings.join('\n'), /cert: expired on \d{4}-\d\d-\d\d .* -noout -dates$/)
    })
    test('not valid yet', async () => {
      const { facts } = await load(server.cert, server.key, { wallMs: NOW_MS - DAY_MS })
      assert.match(facts.warnings.join('\n'), /is not valid before .* clock is wrong/)
    })
    test('a chain that is not in order is put in order', async () => {
      const { secrets, facts } = await load(ca.cert + server.cert, server.key)
      assert.equal(secrets.cert, server.cert + ca.cert)
      assert.match(facts.warnings.join('\n'), /not in order .* they are sent in order/)
    })
    test('what is no part of the chain is not sent', async () => {
      const { secrets, facts } = await load(server.cert + other.cert + ca.cert, server.key)
      assert.equal(secrets.cert, server.cert + ca.cert)
      assert.match(facts.warnings.join('\n'), /certificate 2 is no part of the chain/)
    })
    test('a private key beside the certificate', async () => {
      const { facts } = await load(server.cert + server.key, server.key)
      assert.match(facts.warnings.join('\n'), /holds a private key beside the certificate/)
    })
    test('a CA, without names', async () => {
      const { facts } = await load(ca.cert, ca.key)
      assert.match(facts.warnings.join('\n'), /no subjectAltName.*\n.*is a CA's/)
    })
    test('Ed25519', async () => {
      assert.match(await warningsOf({ keyAlgorithm: { name: 'Ed25519' } }), /its key is Ed25519/)
    })
    test('without the intermediate of a public CA: what clients say, and where it is', async () => {
      const intermediate = await issueOdd({ commonName: 'R99', isCa: true })
      const extensions = [issuerAt('http://r99.i.example/')]
      const { cert, key } = await issueOdd({ issuer: intermediate, extensions })
      const alone = await load(cert, key)
      assert.match(
        alone.facts.warnings.join('\n'),
        /ends with a certificate of R99, .* "unable to verify the first certificate" .* \(http:\/\/r99\.i\.example\/\)/,
      )
      const whole = await load(cert + intermediate.cert, key)
      assert.deepEqual(whole.facts.warnings, [])
    })
  })
})

function rsa(modulusLength: number) {
  const publicExponent = new Uint8Array([1, 0, 1])
  return { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256', modulusLength, publicExponent }
}
