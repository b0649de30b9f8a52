/** Hellos of challenges are told from all others, and those reach TLS as they came. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, connect as connectTcp, createServer, type Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import {
  type ConnectionOptions,
  connect,
  createSecureContext,
  createServer as createTlsServer,
} from 'node:tls'
import { challengeCertificate } from '../../../src/acme/certificates.ts'
import { ChallengeDoor } from '../../../src/edge/challenge-door.ts'
import { MAX_HELLO_BYTES, offeredProtocols } from '../../../src/edge/client-hello.ts'
import { issueServer } from '../../../src/tls/issue.ts'
import { testCa } from '../../support/certs.ts'

const NAME = 'otlp.example.test'
const DIGEST = Buffer.alloc(32, 7)
const LATE_MS = 60_000

/** What a client sends first. */
async function helloOf(options: ConnectionOptions): Promise<Buffer> {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const client = connect({ host: '127.0.0.1', port, servername: NAME, ...options })
  client.on('error', () => {})
  const [socket] = (await once(server, 'connection')) as [Socket]
  const [hello] = (await once(socket, 'data')) as [Buffer]
  socket.destroy()
  client.destroy()
  server.close()
  return hello
}

/** The hello in records of so many bytes. */
function inRecords(hello: Buffer, bytes: number): Buffer {
  const message = hello.subarray(5)
  const records: Buffer[] = []
  for (let at = 0; at < message.length; at += bytes) {
    const piece = message.subarray(at, at + bytes)
    records.push(Buffer.from([22, 3, 1, piece.length >> 8, piece.length & 255]), piece)
  }
  return Buffer.concat(records)
}

test('the protocols that are offered are read from the hello', async () => {
  for (const offered of [['acme-tls/1'], ['h2', 'http/1.1'], ['h2', 'acme-tls/1'], []]) {
    const hello = await helloOf({ ALPNProtocols: offered })
    assert.deepEqual(offeredProtocols(hello), offered)
    const tls12 = await helloOf({ ALPNProtocols: offered, maxVersion: 'TLSv1.2' })
    assert.deepEqual(offeredProtocols(tls12), offered)
    for (const bytes of [1, 3, 100])
      assert.deepEqual(offeredProtocols(inRecords(hello, bytes)), offered)
  }
})

test('a part of a hello is waited for, byte by byte', async () => {
  const hello = await helloOf({ ALPNProtocols: ['acme-tls/1'] })
  for (let length = 0; length < hello.length; length += 1)
    assert.equal(offeredProtocols(hello.subarray(0, length)), 'incomplete', `${length} bytes`)
})

test('what is no hello offers nothing, whatever its lengths say', async () => {
  const hello = await helloOf({ ALPNProtocols: ['acme-tls/1'] })
  assert.deepEqual(offeredProtocols(Buffer.from('PRI * HTTP/2.0')), [])
  assert.deepEqual(offeredProtocols(Buffer.from('GET / HTTP/1.1')), [])
  const server = Buffer.from(hello)
  server[5] = 2
  assert.deepEqual(offeredProtocols(server), [])
  const large = Buffer.from([22, 3, 1, 0x40, 0, 1, 0xff, 0xff, 0xff])
  assert.deepEqual(offeredProtocols(Buffer.concat([large, Buffer.alloc(MAX_HELLO_BYTES)])), [])
  for (let at = 9; at < hello.length; at += 1) {
    const bent = Buffer.from(hello)
    bent[at] = 0xff
    assert.ok(Array.isArray(offeredProtocols(bent)), `byte ${at}`)
  }
})

/** A port with the door in front of a TLS server, as the listener has it. */
async function openPort(t: TestContext, waitsFor: string) {
  const challenge = await challengeCertificate(waitsFor, DIGEST, Date.now())
  const context = createSecureContext(challenge)
  const door = new ChallengeDoor({
    challenges: {
      isWaiting: true,
      contextFor: (name) => (name === waitsFor ? context : undefined),
    },
    handshakeTimeoutMs: LATE_MS,
  })
  const ca = await testCa()
  const tls = createTlsServer({
    ...(await issueServer(ca, [NAME], Date.now())),
    ALPNProtocols: ['h2', 'http/1.1'],
  })
  tls.on('tlsClientError', () => {})
  tls.on('secureConnection', (socket) => socket.on('error', () => {}).end('ordinary'))
  const sockets = new Set<Socket>()
  const port = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    door.take(
      socket,
      () => tls.emit('connection', socket),
      () => assert.fail('too early'),
    )
  })
  port.listen(0, '127.0.0.1')
  await once(port, 'listening')
  t.after(() => {
    for (const socket of sockets) socket.destroy()
    port.close()
  })
  const { port: number } = port.address() as AddressInfo
  return { at: { host: '127.0.0.1', port: number, servername: NAME }, caPem: ca.cert }
}

for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
  test(`${version}: a challenge gets its certificate, with the digest in a critical extension`, async (t) => {
    const { at } = await openPort(t, NAME)
    const options = { minVersion: version, maxVersion: version } as const
    const socket = connect({
      ...at,
      ...options,
      ALPNProtocols: ['acme-tls/1'],
      rejectUnauthorized: false,
    })
    await once(socket, 'secureConnect')
    assert.equal(socket.alpnProtocol, 'acme-tls/1')
    const certificate = socket.getPeerX509Certificate()
    assert.equal(certificate?.subjectAltName, `DNS:${NAME}`)
    // id-pe-acmeIdentifier, critical, an OCTET STRING with an OCTET STRING in it: RFC 8737 section 3.
    const extension = Buffer.concat([
      Buffer.from('06082b0601050507011f0101ff04220420', 'hex'),
      DIGEST,
    ])
    assert.ok(certificate.raw.includes(extension))
    // The handshake was the answer: the server hangs up.
    await once(socket.resume(), 'close')
  })
}

test('a challenge for a name that waits for none is refused', async (t) => {
  const { at } = await openPort(t, 'b.example.test')
  const socket = connect({ ...at, ALPNProtocols: ['acme-tls/1'], rejectUnauthorized: false })
  await assert.rejects(once(socket, 'secureConnect'))
})

for (const offered of [['h2', 'http/1.1'], ['h2', 'acme-tls/1'], []]) {
  test(`everybody else gets the ordinary certificate: ${offered.join(', ') || 'no ALPN'}`, async (t) => {
    const { at, caPem } = await openPort(t, NAME)
    const socket = connect({ ...at, ca: caPem, ALPNProtocols: offered })
    const [text] = (await once(socket, 'data')) as [Buffer]
    assert.equal(text.toString(), 'ordinary')
    socket.destroy()
  })
}

test('a hello that comes byte by byte is not disturbed', async (t) => {
  const { at } = await openPort(t, NAME)
  const hello = await helloOf({ ALPNProtocols: ['h2'] })
  const raw = connectTcp(at).setNoDelay(true)
  await once(raw, 'connect')
  for (const byte of hello) {
    await new Promise((resolve) => raw.write(Buffer.of(byte), resolve))
  }
  const [answer] = (await once(raw, 'data')) as [Buffer]
  // A ServerHello in a handshake record, and no alert.
  assert.deepEqual([answer[0], answer[5]], [22, 2])
  raw.destroy()
})
