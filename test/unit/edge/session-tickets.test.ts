import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import { connect, createServer } from 'node:tls'
import { TicketKey } from '../../../src/edge/session-tickets.ts'
import { issueCa, issueServer } from '../../../src/tls/issue.ts'

const HOUR_MS = 3_600_000

for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
  test(`${version}: tickets are good until the key changes, every eight hours`, async (t) => {
    const { handshake, server } = await serve(version)
    t.after(() => server.close())
    t.mock.timers.enable({ apis: ['setInterval'] })
    const key = new TicketKey(server)
    const keys = new Set([server.getTicketKeys().toString('hex')])
    let { session } = await handshake()
    for (let shift = 1; shift <= 3; shift += 1) {
      t.mock.timers.tick(8 * HOUR_MS - 1)
      assert.equal((await handshake(session)).isReused, true)
      t.mock.timers.tick(1)
      keys.add(server.getTicketKeys().toString('hex'))
      const after = await handshake(session)
      assert.equal(after.isReused, false)
      ;({ session } = after)
      assert.equal((await handshake(session)).isReused, true)
    }
    assert.equal(keys.size, 4)
    key.stop()
    t.mock.timers.tick(8 * HOUR_MS)
    assert.equal((await handshake(session)).isReused, true)
  })
}

test('a key that is shared is used for every context, and is not for the server to replace', async (t) => {
  const { server, context } = await serve('TLSv1.3')
  t.after(() => server.close())
  t.mock.timers.enable({ apis: ['setInterval'] })
  const key = new TicketKey(server)
  const inUse = () => server.getTicketKeys().toString('hex')
  const [first, second] = [randomBytes(48), randomBytes(48)]
  for (const shared of [first, second]) {
    key.take(shared)
    assert.equal(inUse(), shared.toString('hex'))
    server.setSecureContext(context)
    assert.notEqual(inUse(), shared.toString('hex'), 'else nothing is tested here')
    key.renew()
    assert.equal(inUse(), shared.toString('hex'))
    t.mock.timers.tick(24 * HOUR_MS)
    assert.equal(inUse(), shared.toString('hex'))
  }
})

async function serve(version: 'TLSv1.2' | 'TLSv1.3') {
  const ca = await issueCa('Test CA', Date.now())
  const { cert, key } = await issueServer(ca, ['localhost'], Date.now())
  const context = { cert, key, minVersion: version, maxVersion: version }
  const server = createServer(context)
  server.on('secureConnection', (socket) => socket.on('error', () => {}))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const handshake = async (session?: Buffer) => {
    const socket = connect({
      ...{ host: '127.0.0.1', port, servername: 'localhost', ca: ca.cert },
      ...(session === undefined ? {} : { session }),
    })
    const isTicket = once(socket, 'session')
    await once(socket, 'secureConnect')
    const isReused = socket.isSessionReused()
    // In TLS 1.2 a ticket that was taken need not be followed by another.
    const [ticket] = isReused ? [session] : ((await isTicket) as [Buffer])
    socket.destroy()
    return { isReused, session: ticket }
  }
  return { server, context, handshake }
}
