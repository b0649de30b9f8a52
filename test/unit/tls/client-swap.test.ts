/** CAs of clients and CRLs are swapped with the server's pair, and sessions do not carry over. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { EventEmitter, once } from 'node:events'
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, suite, test } from 'node:test'
import { connect, createServer, type SecureVersion } from 'node:tls'
import { FileWatch } from '../../../src/secrets/file-watch.ts'
import { certificateMark } from '../../../src/tls/client-trust.ts'
import { issueCa, issueServer } from '../../../src/tls/issue.ts'
import { type CertificateEvent, ServerCertificate } from '../../../src/tls/server-certificate.ts'
import { crlPem, issueClient, issueCrl } from '../../support/client-certs.ts'

const NOW_MS = Date.now()
const ca = await issueCa('Agents CA', NOW_MS)
const pair = await issueServer(ca, ['localhost'], NOW_MS)
const client = await issueClient(ca)
const root = mkdtempSync(join(tmpdir(), 'tollgate-swap-'))
after(() => rmSync(root, { recursive: true }))

suite('client CAs and CRLs while the server runs', () => {
  const told: CertificateEvent[] = []
  const bell = new EventEmitter()
  let opened: ServerCertificate | undefined
  afterEach(() => opened?.close())

  const put = (name: string, content: string | Uint8Array) => {
    writeFileSync(join(root, `${name}.new`), content)
    renameSync(join(root, `${name}.new`), join(root, name))
  }
  const open = async () => {
    put('tls.crt', pair.cert)
    put('tls.key', pair.key)
    put('ca.crt', ca.cert)
    put('ca.crl', await issueCrl(ca, []))
    told.length = 0
    opened = await ServerCertificate.open({
      place: { kind: 'pem', certPath: join(root, 'tls.crt'), keyPath: join(root, 'tls.key') },
      clientAuth: 'required',
      clientCaPath: join(root, 'ca.crt'),
      clientCrlPaths: [join(root, 'ca.crl')],
      settleMs: 20,
      watch: (path, onChange) => new FileWatch({ path, debounceMs: 20, pollMs: 60_000, onChange }),
      onEvent: (event) => {
        told.push(event)
        bell.emit(event.kind)
      },
    })
    return opened
  }

  test('a CRL is followed to its file', async () => {
    const certificate = await open()
    const swapped = once(bell, 'swapped')
    put('ca.crl', crlPem(await issueCrl(ca, [client])))
    await swapped
    const mark = certificateMark('CN=Agents CA', client.serialNumber)
    assert.equal(certificate.clientTrust?.revoked.has(mark), true)
  })

  test('a damaged CRL changes nothing and is told', async () => {
    const certificate = await open()
    const before = certificate.tlsOptions
    const kept = once(bell, 'kept')
    put('ca.crl', '-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n')
    await kept
    assert.deepEqual(certificate.tlsOptions, before)
    const [event] = told
    assert.ok(event?.kind === 'kept')
    assert.match(event.error.message, /ca\.crl: the CRL is damaged/)
  })

  for (const version of ['TLSv1.2', 'TLSv1.3'] as const satisfies SecureVersion[]) {
    test(`${version}: a session that began before is not resumed, whatever the keys of tickets`, async () => {
      const certificate = await open()
      // Keys that outlive the swap, as several processes share them.
      const ticketKeys = randomBytes(48)
      const server = createServer({ ...certificate.tlsOptions, ticketKeys })
      server.on('secureConnection', (socket) => socket.on('error', () => {}).end('hello'))
      server.listen(0, '127.0.0.1')
      await once(server, 'listening')
      const { port } = server.address() as AddressInfo
      const shake = async (session?: Buffer) => {
        const socket = connect({
          ...{ port, host: '127.0.0.1', servername: 'localhost', ca: ca.cert },
          ...{ cert: client.cert, key: client.key, minVersion: version, maxVersion: version },
          ...(session === undefined ? {} : { session }),
        })
        let given = session
        let text = ''
        let isReused = false
        socket.on('secureConnect', () => {
          isReused = socket.isSessionReused()
        })
        socket.on('session', (fresh: Buffer) => {
          given = fresh
        })
        socket.on('data', (data) => {
          text += data
        })
        socket.on('error', () => {})
        await new Promise((resolve) => socket.once('close', resolve))
        return { given, text, isReused }
      }
      try {
        const { given } = await shake()
        assert.equal((await shake(given)).isReused, true)
        put('ca.crl', await issueCrl(ca, [await issueClient(ca)]))
        assert.equal(await certificate.reload(), 'swapped')
        server.setSecureContext({ ...certificate.tlsOptions, ticketKeys })
        assert.deepEqual(await shake(given).then(({ text, isReused }) => ({ text, isReused })), {
          text: 'hello',
          isReused: false,
        })
        put('ca.crl', await issueCrl(ca, [client]))
        await certificate.reload()
        server.setSecureContext({ ...certificate.tlsOptions, ticketKeys })
        assert.equal((await shake(given)).text, '')
      } finally {
        server.close()
      }
    })
  }
})
