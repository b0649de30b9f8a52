import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { type AddressInfo, connect, createServer } from 'node:net'
import { test } from 'node:test'
import { mistakeOf } from '../../../src/commands/mistake.ts'
import { canHoldSockets, holdSockets } from '../../../src/parent/held-sockets.ts'

const FREE = { host: '127.0.0.1', port: 0 }
const OFF = { grpc: undefined, http: undefined, admin: undefined }

test('the Node.js of the tests can hold sockets', () => {
  assert.ok(canHoldSockets())
})

test('addresses are bound in a fixed order; what is off is not, and what is given is taken', async () => {
  const held = await holdSockets({ grpc: FREE, http: undefined, admin: FREE }, { admin: 7 })
  assert.deepEqual(
    held.map(({ name }) => name),
    ['grpc', 'admin'],
  )
  assert.match(String(held[0]?.address), /^127\.0\.0\.1:\d+$/)
  assert.deepEqual(held[1], { name: 'admin', descriptor: 7, address: undefined })
})

test('nothing is accepted, and nobody is promised anything, before a gateway listens', async () => {
  const [held] = await holdSockets({ ...OFF, grpc: FREE }, {})
  const socket = connect(Number(held?.address?.split(':')[1]), '127.0.0.1')
  const [error] = (await once(socket, 'error')) as [NodeJS.ErrnoException]
  assert.equal(error.code, 'ECONNREFUSED')
})

test('a host name and IPv6', async () => {
  const at = { ...OFF, grpc: { host: 'localhost', port: 0 }, http: { host: '::1', port: 0 } }
  const [grpc, http] = await holdSockets(at, {})
  assert.match(String(grpc?.address), /^(127\.0\.0\.1|\[::1\]):\d+$/)
  assert.match(String(http?.address), /^\[::1\]:\d+$/)
})

test('a port that is taken has its words, and what was bound before is closed', async (t) => {
  const server = createServer().listen(0, '127.0.0.1')
  t.after(() => server.close())
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const taken = { host: '127.0.0.1', port }
  const openBefore = readdirSync('/dev/fd').length
  const error = await holdSockets({ ...OFF, grpc: FREE, http: taken }, {}).catch((said) => said)
  assert.match(String(mistakeOf(error)?.lines[0]), new RegExp(`^127\\.0\\.0\\.1:${port} is taken`))
  assert.equal(mistakeOf(error)?.exitCode, 69)
  // A handle is closed in the next turn of the event loop.
  await new Promise(setImmediate)
  assert.equal(readdirSync('/dev/fd').length, openBefore)
})

test('a host that nobody knows has its words', async () => {
  const at = { host: 'no-such-host.invalid', port: 4317 }
  const error = await holdSockets({ ...OFF, grpc: at }, {}).catch((said) => said)
  assert.match(String(mistakeOf(error)?.lines[0]), /^no-such-host\.invalid:4317: cannot listen: /)
})
