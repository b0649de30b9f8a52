import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { after, before, suite, test } from 'node:test'
import {
  type ConnectionOptions,
  connect,
  createSecureContext,
  createServer,
  type Server,
  type TLSSocket,
} from 'node:tls'
import { type Issued, issueCa, issueServer } from '../../../src/tls/issue.ts'
import { TLS_SETTINGS } from '../../../src/tls/settings.ts'

suite('what the public ports speak', () => {
  let ca: Issued
  let server: Server

  before(async () => {
    ca = await issueCa('test CA', Date.now())
    server = createServer({
      ...TLS_SETTINGS,
      ...(await issueServer(ca, ['localhost'], Date.now())),
    })
    server.on('tlsClientError', () => {})
    server.on('secureConnection', (socket) => socket.on('error', () => {}).end('.'))
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
  })
  const open: TLSSocket[] = []
  after(() => {
    server.close()
    for (const socket of open) socket.destroy()
  })

  const shake = async (options: ConnectionOptions): Promise<TLSSocket> => {
    const { port } = server.address() as AddressInfo
    const socket = connect({ port, ca: ca.cert, servername: 'localhost', ...options })
    open.push(socket)
    await once(socket, 'secureConnect')
    socket.on('error', () => {})
    return socket
  }

  test('TLS 1.3, and a post-quantum key exchange where OpenSSL has it', async () => {
    const socket = await shake({})
    assert.equal(socket.getProtocol(), 'TLSv1.3')
    const hasHybrid = canUse('X25519MLKEM768')
    assert.equal(TLS_SETTINGS.ecdhCurve.startsWith('X25519MLKEM768:'), hasHybrid)
    socket.destroy()
    // The group that a client must use is the one that the handshake takes.
    for (const group of TLS_SETTINGS.ecdhCurve.split(':')) {
      const one = await shake({ ecdhCurve: group })
      one.destroy()
    }
    await assert.rejects(shake({ ecdhCurve: 'P-521' }))
  })

  test('TLS 1.2 with authenticated encryption and forward secrecy', async () => {
    const socket = await shake({ maxVersion: 'TLSv1.2' })
    assert.equal(socket.getProtocol(), 'TLSv1.2')
    assert.match(socket.getCipher().name, /^ECDHE-.*(GCM|POLY1305)/)
    socket.destroy()
  })

  const refused: Record<string, ConnectionOptions> = {
    'TLS 1.1': { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'ALL:@SECLEVEL=0' },
    'CBC ciphers': { maxVersion: 'TLSv1.2', ciphers: 'ECDHE-ECDSA-AES128-SHA256' },
    'no forward secrecy': { maxVersion: 'TLSv1.2', ciphers: 'AES128-GCM-SHA256' },
    'an unknown ALPN protocol': { ALPNProtocols: ['spdy/3'] },
  }
  for (const [what, options] of Object.entries(refused)) {
    test(`refuses ${what}`, async () => {
      await assert.rejects(shake(options), /alert|handshake/)
    })
  }

  test('prefers h2 and knows http/1.1', async () => {
    for (const [offered, taken] of [
      [['http/1.1', 'h2'], 'h2'],
      [['http/1.1'], 'http/1.1'],
      [undefined, false],
    ] as const) {
      const socket = await shake(offered === undefined ? {} : { ALPNProtocols: [...offered] })
      assert.equal(socket.alpnProtocol, taken)
      socket.destroy()
    }
  })

  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    test(`resumes sessions in ${version}`, async () => {
      const first = await shake({ minVersion: version, maxVersion: version })
      // TLS 1.3 sends the ticket after the handshake, TLS 1.2 within it.
      if (version === 'TLSv1.3') await once(first, 'session')
      const session = first.getSession()
      assert.ok(session)
      assert.equal(first.isSessionReused(), false)
      first.destroy()
      const second = await shake({ minVersion: version, maxVersion: version, session })
      assert.equal(second.isSessionReused(), true)
      second.destroy()
    })
  }
})

function canUse(ecdhCurve: string): boolean {
  try {
    createSecureContext({ ecdhCurve })
    return true
  } catch {
    return false
  }
}
