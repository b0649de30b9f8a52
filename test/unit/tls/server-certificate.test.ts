import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { EventEmitter, once } from 'node:events'
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, before, beforeEach, suite, test } from 'node:test'
import { connect, createServer } from 'node:tls'
import { FileWatch } from '../../../src/secrets/file-watch.ts'
import { CertificateError } from '../../../src/tls/certificate-error.ts'
import { type Issued, issueCa, issueServer } from '../../../src/tls/issue.ts'
import {
  type CertificateEvent,
  ServerCertificate,
  type ServerCertificateOptions,
} from '../../../src/tls/server-certificate.ts'

const NOW_MS = Date.now()
const root = mkdtempSync(join(tmpdir(), 'tollgate-cert-'))
after(() => rmSync(root, { recursive: true }))

suite('the certificate of the server', () => {
  let ca: Issued
  let one: Issued
  let two: Issued
  before(async () => {
    ca = await issueCa('test CA', NOW_MS)
    one = await issueServer(ca, ['one.test'], NOW_MS)
    two = await issueServer(ca, ['two.test'], NOW_MS)
  })

  let directory: string
  let told: CertificateEvent[]
  let bell: EventEmitter
  let opened: ServerCertificate | undefined
  beforeEach(() => {
    directory = mkdtempSync(join(root, 'd'))
    told = []
    bell = new EventEmitter()
  })
  afterEach(() => opened?.close())

  const write = ({ cert, key }: Issued, into = directory) => {
    writeFileSync(join(into, 'tls.crt'), cert)
    writeFileSync(join(into, 'tls.key'), key)
  }
  const open = async (options: Partial<ServerCertificateOptions> = {}) => {
    opened = await ServerCertificate.open({
      place: {
        kind: 'pem',
        certPath: join(directory, 'tls.crt'),
        keyPath: join(directory, 'tls.key'),
      },
      clientAuth: 'off',
      settleMs: 20,
      onEvent: (event) => {
        told.push(event)
        bell.emit(event.kind)
      },
      ...options,
    })
    return opened
  }
  const watched: Partial<ServerCertificateOptions> = {
    watch: (path, onChange) => new FileWatch({ path, debounceMs: 20, pollMs: 60_000, onChange }),
  }
  const namesTold = () =>
    told.map((event) => (event.kind === 'swapped' ? event.facts.names[0] : event.kind))

  test('does not open on files that cannot be used', async () => {
    await assert.rejects(open(), CertificateError)
  })

  test('says nothing on opening and nothing where nothing changed', async () => {
    write(one)
    const certificate = await open()
    assert.equal(await certificate.reload(), 'unchanged')
    assert.deepEqual(told, [])
    assert.deepEqual(certificate.facts.names, ['DNS:one.test'])
    assert.equal(certificate.notAfterMs, certificate.facts.notAfterMs)
  })

  test('reload takes a new pair, for new connections of a running server', async () => {
    write(one)
    const certificate = await open()
    const server = createServer(certificate.tlsOptions, (socket) => {
      socket.on('error', () => {})
      socket.end()
    }).listen(0)
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const nameServed = async (servername: string) => {
      const socket = connect({ port, ca: ca.cert, servername })
      await once(socket, 'secureConnect')
      const { subjectaltname } = socket.getPeerCertificate()
      const version = socket.getProtocol()
      socket.destroy()
      return [subjectaltname, version]
    }
    try {
      assert.deepEqual(await nameServed('one.test'), ['DNS:one.test', 'TLSv1.3'])
      write(two)
      assert.equal(await certificate.reload(), 'swapped')
      server.setSecureContext(certificate.tlsOptions)
      assert.deepEqual(await nameServed('two.test'), ['DNS:two.test', 'TLSv1.3'])
    } finally {
      server.close()
    }
  })

  test('a bad pair changes nothing and is told once', async () => {
    write(one)
    const certificate = await open()
    const context = certificate.secureContext
    writeFileSync(join(directory, 'tls.crt'), two.cert)
    assert.equal(await certificate.reload(), 'kept')
    assert.equal(await certificate.reload(), 'kept')
    assert.deepEqual(namesTold(), ['kept'])
    assert.equal(certificate.secureContext, context)
    const [event] = told
    assert.ok(event?.kind === 'kept')
    assert.match(event.error.message, /tls\.key: does not belong to the certificate/)
    assert.equal(event.notAfterMs, certificate.notAfterMs)
  })

  test('tells that the files are right again, be it the same pair', async () => {
    write(one)
    const certificate = await open()
    writeFileSync(join(directory, 'tls.crt'), '')
    await certificate.reload()
    write(one)
    assert.equal(await certificate.reload(), 'unchanged')
    assert.deepEqual(namesTold(), ['kept', 'DNS:one.test'])
    rmSync(join(directory, 'tls.key'))
    await certificate.reload()
    assert.deepEqual(namesTold(), ['kept', 'DNS:one.test', 'kept'])
  })

  test('tells when the certificate in use has come to its end', async () => {
    write(one)
    const { validTo } = new X509Certificate(one.cert)
    const beganMs = performance.now()
    const wallMs = () => Date.parse(validTo) - 50 + performance.now() - beganMs
    const expired = once(bell, 'expired')
    const certificate = await open({ wallMs })
    assert.equal(certificate.notAfterMs, Date.parse(validTo))
    await expired
    assert.deepEqual(namesTold(), ['expired'])
    assert.equal(await certificate.reload(), 'unchanged')
  })

  test('one that has expired does not replace one that is valid, and anything replaces it', async () => {
    const [old, older] = await Promise.all(
      [500, 900].map(async (days) => {
        const issuedMs = NOW_MS - days * 86_400_000
        return await issueServer(await issueCa('old CA', issuedMs), ['old.test'], issuedMs)
      }),
    )
    assert.ok(old !== undefined && older !== undefined)
    write(one)
    const certificate = await open()
    write(old)
    assert.equal(await certificate.reload(), 'kept')
    const [event] = told
    assert.ok(event?.kind === 'kept')
    assert.match(event.error.message, /tls\.crt: expired on .* -noout -dates$/)
    certificate.close()
    const expired = await open()
    assert.match(expired.facts.warnings.join(), /expired on/)
    write(older)
    assert.equal(await expired.reload(), 'swapped')
    write(two)
    assert.equal(await expired.reload(), 'swapped')
  })

  test('sees files that are written over', async () => {
    write(one)
    await open({ ...watched, settleMs: 60_000 })
    const swapped = once(bell, 'swapped')
    write(two)
    await swapped
    assert.deepEqual(namesTold(), ['DNS:two.test'])
  })

  test('waits for the key where the certificate comes first', async () => {
    write(one)
    await open({ ...watched, settleMs: 60_000 })
    const swapped = once(bell, 'swapped')
    writeFileSync(join(directory, 'tls.crt'), two.cert)
    // Long enough for the first look, which is not told: the key may follow, and it does.
    await new Promise((resolve) => setTimeout(resolve, 100))
    writeFileSync(join(directory, 'tls.key'), two.key)
    await swapped
    assert.deepEqual(namesTold(), ['DNS:two.test'])
  })

  test('tells of a key that does not follow', async () => {
    write(one)
    await open(watched)
    const kept = once(bell, 'kept')
    writeFileSync(join(directory, 'tls.crt'), two.cert)
    await kept
    assert.deepEqual(namesTold(), ['kept'])
  })

  test('follows a volume that is switched by a symlink', async () => {
    for (const [name, pair] of Object.entries({ '..1': one, '..2': two })) {
      mkdirSync(join(directory, name))
      write(pair, join(directory, name))
    }
    symlinkSync('..1', join(directory, '..data'))
    for (const file of ['tls.crt', 'tls.key']) {
      symlinkSync(join('..data', file), join(directory, file))
    }
    await open(watched)
    const swapped = once(bell, 'swapped')
    symlinkSync('..2', join(directory, '..data_tmp'))
    renameSync(join(directory, '..data_tmp'), join(directory, '..data'))
    await swapped
    assert.deepEqual(namesTold(), ['DNS:two.test'])
  })

  for (const [clientAuth, requestCert, rejectUnauthorized] of [
    ['off', false, false],
    ['optional', true, false],
    ['required', true, true],
  ] as const) {
    test(`client certificates ${clientAuth}`, async () => {
      write(one)
      const clientCaPath = join(directory, 'ca.crt')
      writeFileSync(clientCaPath, ca.cert)
      const { tlsOptions } = await open({ clientAuth, clientCaPath })
      assert.equal(tlsOptions.requestCert, requestCert)
      assert.equal(tlsOptions.rejectUnauthorized, rejectUnauthorized)
      assert.equal(tlsOptions.ca, ca.cert)
    })
  }
})
