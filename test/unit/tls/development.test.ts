import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, suite, test } from 'node:test'
import { connect, createServer } from 'node:tls'
import { StateDirError } from '../../../src/tls/certificate-error.ts'
import { loadServerCredentials } from '../../../src/tls/credentials.ts'
import { ensureDevelopmentCertificate } from '../../../src/tls/development.ts'
import { TLS_SETTINGS } from '../../../src/tls/settings.ts'

const DAY_MS = 86_400_000
const placed = ({ certPath, keyPath }: { certPath: string; keyPath: string }) => ({
  place: { kind: 'pem', certPath, keyPath } as const,
})
const NOW_MS = Date.now()
const root = mkdtempSync(join(tmpdir(), 'tollgate-dev-'))
after(() => rmSync(root, { recursive: true }))
let directories = 0
const freshDirectory = () => join(root, `${++directories}`, 'state')
const ensure = (stateDir: string, wallMs = NOW_MS, hostName = 'vps-1') =>
  ensureDevelopmentCertificate({ stateDir, wallMs, hostName })

suite('the development certificate', () => {
  test('is private to its owner and kept out of git', async () => {
    const stateDir = freshDirectory()
    const { made } = await ensure(stateDir)
    assert.equal(made, 'ca')
    assert.equal(statSync(stateDir).mode & 0o777, 0o700)
    for (const file of ['ca.pem', 'ca.key', 'server.pem', 'server.key']) {
      assert.equal(statSync(join(stateDir, file)).mode & 0o777, 0o600, file)
    }
    assert.equal(readFileSync(join(stateDir, '.gitignore'), 'utf8'), '*\n')
  })

  test('is good for the names of this machine, for at most 397 days', async () => {
    const paths = await ensure(freshDirectory())
    const { facts } = await loadServerCredentials(placed(paths), NOW_MS)
    assert.deepEqual(facts.warnings, [])
    assert.ok(facts.notAfterMs - facts.notBeforeMs <= 397 * DAY_MS)
    const leaf = new X509Certificate(readFileSync(paths.certPath))
    assert.deepEqual(
      ['vps-1', 'localhost', 'example.com'].map((name) => leaf.checkHost(name)),
      ['vps-1', 'localhost', undefined],
    )
    for (const ip of ['127.0.0.1', '::1']) assert.equal(leaf.checkIP(ip), ip)
    const ca = new X509Certificate(readFileSync(paths.caPath))
    assert.ok(ca.ca && Date.parse(ca.validTo) > NOW_MS + 3649 * DAY_MS)
  })

  test('is taken by a TLS client that trusts the CA, and by no other', async () => {
    const paths = await ensure(freshDirectory())
    const { secrets } = await loadServerCredentials(placed(paths), NOW_MS)
    const server = createServer({ ...TLS_SETTINGS, ...secrets }, (socket) => {
      socket.on('error', () => {})
      socket.end()
    })
    server.on('tlsClientError', () => {})
    server.listen(0)
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    try {
      const ca = readFileSync(paths.caPath)
      const socket = connect({ port, host: '127.0.0.1', ca })
      await once(socket, 'secureConnect')
      assert.equal(socket.authorized, true)
      socket.destroy()
      await assert.rejects(once(connect({ port, host: '127.0.0.1' }), 'secureConnect'), {
        code: 'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
      })
    } finally {
      server.close()
    }
  })

  test('stands up to the strictest checks of OpenSSL', async (t) => {
    if (spawnSync('openssl', ['version']).status !== 0) {
      assert.notEqual(process.env.CI, 'true', 'openssl is missing')
      return t.skip('SKIP: openssl is not installed')
    }
    const { caPath, certPath } = await ensure(freshDirectory())
    const args = ['verify', '-x509_strict', '-purpose', 'sslserver', '-verify_ip', '::1']
    const { stdout, stderr } = spawnSync('openssl', [...args, '-CAfile', caPath, certPath], {
      encoding: 'utf8',
    })
    assert.equal(stdout, `${certPath}: OK\n`, stderr)
  })

  test('is used again, and renewed under the same CA in the last third of its life', async () => {
    const stateDir = freshDirectory()
    const { caPath, certPath } = await ensure(stateDir)
    const read = () => [readFileSync(caPath, 'utf8'), readFileSync(certPath, 'utf8')]
    const [ca, server] = read()
    assert.equal((await ensure(stateDir, NOW_MS + 263 * DAY_MS)).made, 'nothing')
    assert.deepEqual(read(), [ca, server])
    assert.equal((await ensure(stateDir, NOW_MS + 265 * DAY_MS)).made, 'server')
    const [sameCa, renewed] = read()
    assert.equal(sameCa, ca)
    assert.notEqual(renewed, server)
  })

  test('is made anew for another host name', async () => {
    const stateDir = freshDirectory()
    await ensure(stateDir)
    const { made, certPath } = await ensure(stateDir, NOW_MS, 'vps-2')
    assert.equal(made, 'server')
    assert.equal(new X509Certificate(readFileSync(certPath)).checkHost('vps-2'), 'vps-2')
  })

  test('leaves out a host name that cannot stand in a certificate', async () => {
    const { names } = await ensure(freshDirectory(), NOW_MS, 'my laptop!')
    assert.deepEqual(names, ['localhost', '127.0.0.1', '::1'])
  })

  test('takes a host name of any length', async () => {
    const paths = await ensure(
      freshDirectory(),
      NOW_MS,
      `${'a'.repeat(60)}.${'b'.repeat(60)}.example`,
    )
    await loadServerCredentials(placed(paths), NOW_MS)
  })

  test('without the key of the CA it serves on, and a new CA comes with the renewal', async () => {
    const stateDir = freshDirectory()
    await ensure(stateDir)
    rmSync(join(stateDir, 'ca.key'))
    assert.equal((await ensure(stateDir)).made, 'nothing')
    assert.equal((await ensure(stateDir, NOW_MS + 370 * DAY_MS)).made, 'ca')
  })

  for (const file of ['server.pem', 'server.key', 'ca.pem', 'ca.key']) {
    test(`a damaged ${file} is replaced where it is needed`, async () => {
      const stateDir = freshDirectory()
      await ensure(stateDir)
      writeFileSync(
        join(stateDir, file),
        '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n',
      )
      const paths = await ensure(stateDir)
      const { facts } = await loadServerCredentials(placed(paths), NOW_MS)
      assert.equal(facts.fingerprint.length, 95)
      assert.equal((await ensure(stateDir)).made, 'nothing')
    })
  }

  test('a directory that cannot be made is told in words', async () => {
    const file = join(root, 'file')
    writeFileSync(file, '')
    await assert.rejects(ensure(join(file, 'state')), (error) => {
      assert.ok(error instanceof StateDirError)
      assert.match(error.message, /a part of the path is a file; expected a directory/)
      return true
    })
  })
})
