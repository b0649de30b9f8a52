import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { connect, createServer, type Server } from 'node:tls'
import { CertificateError } from '../../../src/tls/certificate-error.ts'
import { type Issued, issueCa, issueServer } from '../../../src/tls/issue.ts'
import type { PairPlace } from '../../../src/tls/pair-place.ts'
import type { CertificateEvent } from '../../../src/tls/server-certificate.ts'
import { ServerCertificates } from '../../../src/tls/server-certificates.ts'

const NOW_MS = Date.now()

suite('several certificates', () => {
  const root = mkdtempSync(join(tmpdir(), 'tollgate-certs-'))
  after(() => rmSync(root, { recursive: true }))
  let ca: Issued
  before(async () => {
    ca = await issueCa('test CA', NOW_MS)
  })

  const place = (name: string): PairPlace => {
    return { kind: 'pem', certPath: join(root, `${name}.crt`), keyPath: join(root, `${name}.key`) }
  }
  const write = async (name: string, ...names: string[]) => {
    const { cert, key } = await issueServer(ca, names, NOW_MS)
    writeFileSync(join(root, `${name}.crt`), cert)
    writeFileSync(join(root, `${name}.key`), key)
  }
  const open = (names: readonly string[], told: [CertificateEvent, string][] = []) =>
    ServerCertificates.open({
      places: names.map(place),
      clientAuth: 'off',
      onEvent: (event, file) => told.push([event, file]),
    })

  test('the name that a client asks for chooses, and each is swapped by itself', async () => {
    await write('first', 'first.test')
    await write('wild', '*.example.test')
    await write('exact', 'otlp.example.test')
    const told: [CertificateEvent, string][] = []
    const certificates = await open(['first', 'wild', 'exact'], told)
    const server = createServer(certificates.tlsOptions, (socket) => {
      socket.on('error', () => {})
      socket.end()
    }).listen(0)
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const served = async (servername: string | undefined) => {
      const socket = connect({
        port,
        ca: ca.cert,
        checkServerIdentity: () => undefined,
        ALPNProtocols: ['h2'],
        ...(servername !== undefined && { servername }),
      })
      await once(socket, 'secureConnect')
      const { subjectaltname } = socket.getPeerCertificate()
      assert.equal(socket.alpnProtocol, 'h2')
      assert.equal(socket.getProtocol(), 'TLSv1.3')
      socket.destroy()
      return subjectaltname
    }
    try {
      assert.equal(await served('first.test'), 'DNS:first.test')
      assert.equal(await served('otlp.example.test'), 'DNS:otlp.example.test')
      assert.equal(await served('web.example.test'), 'DNS:*.example.test')
      assert.equal(await served('unknown.test'), 'DNS:first.test')
      assert.equal(await served(undefined), 'DNS:first.test')
      await write('exact', 'otlp.example.test', 'more.test')
      writeFileSync(join(root, 'wild.key'), '')
      await certificates.reload()
      server.setSecureContext(certificates.tlsOptions)
      assert.equal(await served('more.test'), 'DNS:otlp.example.test, DNS:more.test')
      assert.equal(await served('web.example.test'), 'DNS:*.example.test')
    } finally {
      server.close()
      certificates.close()
    }
    const kinds = told.map(([{ kind }, file]) => [kind, file]).toSorted()
    assert.deepEqual(kinds, [
      ['kept', join(root, 'wild.crt')],
      ['swapped', join(root, 'exact.crt')],
    ])
    assert.equal(certificates.isGood, false)
    assert.deepEqual(certificates.reloads, { swapped: 1, unchanged: 1, kept: 1 })
    await write('wild', '*.example.test')
    await certificates.reload()
    assert.equal(certificates.isGood, true)
  })

  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    test(`${version}: sessions go on under the same certificates, and not after one of them changed`, async () => {
      await write('first', 'first.test')
      await write('second', 'second.test')
      const certificates = await open(['first', 'second'])
      // As gateways that follow each other share them.
      const ticketKeys = randomBytes(48)
      const serve = async () => {
        const server = createServer({ ...certificates.tlsOptions, ticketKeys }, (socket) => {
          socket.on('error', () => {})
          socket.end('hello')
        }).listen(0)
        await once(server, 'listening')
        return server
      }
      const shake = async (server: Server, servername: string, session?: Buffer) => {
        const { port } = server.address() as AddressInfo
        const socket = connect({
          ...{ port, servername, ca: ca.cert, minVersion: version, maxVersion: version },
          ...(session !== undefined && { session }),
        })
        let given = session
        socket.on('session', (fresh: Buffer) => (given = fresh))
        await once(socket, 'secureConnect')
        const isReused = socket.isSessionReused()
        await once(socket.resume(), 'close')
        return { given, isReused }
      }
      const before = await serve()
      const after = await serve()
      try {
        for (const name of ['first.test', 'second.test']) {
          const { given } = await shake(before, name)
          assert.equal((await shake(after, name, given)).isReused, true, name)
        }
        const { given } = await shake(before, 'first.test')
        await write('second', 'second.test')
        await certificates.reload()
        after.setSecureContext({ ...certificates.tlsOptions, ticketKeys })
        assert.equal((await shake(after, 'first.test', given)).isReused, false)
      } finally {
        before.close()
        after.close()
        certificates.close()
      }
    })
  }

  test('with one there is no callback at all', async () => {
    await write('first', 'first.test')
    const certificates = await open(['first'])
    assert.equal(certificates.tlsOptions.SNICallback, undefined)
    certificates.close()
  })

  test('does not open where one cannot be used', async () => {
    await write('first', 'first.test')
    await assert.rejects(open(['first', 'missing']), CertificateError)
  })
})
