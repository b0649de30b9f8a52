/** Client certificates at the door: who is let in, who is told what, and what stands in for a token. */
import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import type { ConnectionOptions } from 'node:tls'
import { type Issued, issueCa, issueServer } from '../../src/tls/issue.ts'
import { assertAccepted } from '../support/answers.ts'
import { testCa, writeCertificate } from '../support/certs.ts'
import { type Client, WAYS } from '../support/client.ts'
import { crlPem, type IssuedClient, issueClient, issueCrl } from '../support/client-certs.ts'
import { sumOf } from '../support/exposition.ts'
import { startGateway, type TestGateway, TOKEN } from '../support/gateway.ts'

const HOUR_MS = 3_600_000
const now = Date.now()
const ca = await issueCa('Agents CA', now)
const other = await issueCa('Other CA', now)
const stranger = await issueCa('Stranger CA', now)
const SAN = ['agent-7.example.com', 'spiffe://example.com/agent/7', 'seven@Example.com']

const good = await issueClient(ca, { cn: 'agent 7', san: SAN })
const revoked = await issueClient(ca, { cn: 'agent 8' })

/** Each kind of certificate that is not accepted, and the result it is counted under. */
const BAD: Readonly<Record<string, IssuedClient | undefined>> = {
  missing: undefined,
  expired: await issueClient(ca, { notBeforeMs: now - 9 * HOUR_MS, notAfterMs: now - HOUR_MS }),
  not_yet_valid: await issueClient(ca, { notBeforeMs: now + HOUR_MS }),
  revoked,
  unknown_ca: await issueClient(stranger),
  self_signed: await issueClient(ca, { isSelfSigned: true }),
  wrong_purpose: await issueClient(ca, { purpose: 'server' }),
  bad_signature: await issueClient({ cert: ca.cert, key: stranger.key }),
}

for (const way of WAYS) {
  test(`${way}: required lets in who has a certificate and a token, on both ports`, async (t) => {
    const gateway = await start(t, { auth: 'required', crl: await issueCrl(ca, [revoked]) })
    for (const port of ['grpc', 'http'] as const) {
      const client = show(gateway, way, good, { address: gateway.addresses[port] })
      assertAccepted(await client.send())
      const { httpStatus, grpcStatus } = await client.send({ token: null })
      assert.equal(grpcStatus ?? httpStatus, way === 'gRPC' ? 16 : 401)
    }
    await counted(gateway, 'verified', 2)
    assert.deepEqual(await gateway.outcomes(), { accepted: 2, token_missing: 2 })
  })

  test(`${way}: required ends the handshake of everybody else, and it is no strike`, async (t) => {
    const gateway = await start(t, { auth: 'required', crl: await issueCrl(ca, [revoked]) })
    let count = 0
    for (const [result, certificate] of Object.entries(BAD)) {
      for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
        const tls = { minVersion: version, maxVersion: version }
        const client = show(gateway, way, certificate, { tls })
        await assert.rejects(client.send(), result)
        count += 1
      }
      await counted(gateway, result, 2)
      const line = (await gateway.log()).findLast(({ event }) => event === 'handshake_failed')
      assert.equal(line?.result, result)
      assert.match(String(line?.msg), /^No TLS with 127\.0\.0\.1: .*(?:certificate|CRL)/)
    }
    const page = await gateway.metrics()
    const refused = sumOf(page, 'tollgate_connections_refused_total', { reason: 'handshake' })
    assert.equal(refused, count)
    assert.equal(sumOf(page, 'tollgate_strikes_total'), 0)
    assert.equal(sumOf(page, 'tollgate_bans'), 0)
    assert.deepEqual(await gateway.outcomes(), {})
  })

  test(`${way}: optional lets everybody through to the token`, async (t) => {
    const gateway = await start(t, { auth: 'optional', crl: await issueCrl(ca, [revoked]) })
    for (const [result, certificate] of Object.entries({ verified: good, ...BAD })) {
      assertAccepted(await show(gateway, way, certificate).send())
      await counted(gateway, result, 1)
    }
    const told = (await gateway.log()).filter(({ event }) => event === 'client_certificate_ignored')
    assert.deepEqual(
      told.map(({ result }) => result),
      Object.keys(BAD).filter((result) => result !== 'missing'),
    )
  })

  test(`${way}: off asks nobody`, async (t) => {
    const gateway = await start(t, { auth: 'off' })
    const client = show(gateway, way, good)
    assertAccepted(await client.send())
    const entry = [{ id: 'seven', clientCertificate: { san: SAN[0] } }]
    await put(gateway, entry)
    await gateway.reload()
    const { httpStatus, grpcStatus } = await client.send({ token: null })
    assert.equal(grpcStatus ?? httpStatus, way === 'gRPC' ? 16 : 401)
  })

  test(`${way}: several CAs in one bundle, each with its CRL`, async (t) => {
    const theirs = await issueClient(other)
    const gateway = await start(t, {
      auth: 'required',
      cas: [ca, other],
      crl: crlPem(await issueCrl(ca, [revoked])) + crlPem(await issueCrl(other, [])),
    })
    for (const certificate of [good, theirs])
      assertAccepted(await show(gateway, way, certificate).send())
    await assert.rejects(show(gateway, way, revoked).send())
    await counted(gateway, 'revoked', 1)
    await counted(gateway, 'verified', 2)
  })

  for (const matcher of [
    ...SAN.map((san) => ({ san })),
    { cn: 'agent 7' },
    { sha256: fingerprintOf(good) },
  ]) {
    test(`${way}: instead of a token: ${Object.keys(matcher)} ${Object.values(matcher)}`, async (t) => {
      const gateway = await start(t, { auth: 'required', token: 'instead' })
      await put(gateway, [{ id: 'seven', scopes: ['traces'], clientCertificate: matcher }])
      await gateway.reload()
      const client = show(gateway, way, good)
      assertAccepted(await client.send({ token: null }))
      const denied = await client.send({ token: null, signal: 'logs' })
      assert.equal(denied.grpcStatus ?? denied.httpStatus, way === 'gRPC' ? 7 : 403)
      const unknown = await client.send({ token: 'another-token-0123456789' })
      assert.equal(unknown.grpcStatus ?? unknown.httpStatus, way === 'gRPC' ? 16 : 401)
      assertAccepted(await client.send({ token: TOKEN, signal: 'logs' }))
      const page = await gateway.metrics()
      const requests = (token: string) => sumOf(page, 'tollgate_token_requests_total', { token })
      assert.deepEqual([requests('seven'), requests('test-0')], [1, 1])
      assert.deepEqual(await gateway.outcomes(), { accepted: 2, scope_denied: 1, token_unknown: 1 })
    })
  }
}

test('with several server certificates each asks for the same of clients', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'tollgate-mtls-sni-'))
  const second = await issueServer(await testCa(), ['second.example.com'], now)
  const at = (name: string) => join(folder, name)
  await writeFile(at('second.pem'), second.cert)
  await writeFile(at('second.key'), second.key)
  const first = await writeCertificate(folder)
  const gateway = await start(t, {
    auth: 'required',
    token: 'instead',
    crl: await issueCrl(ca, [revoked]),
    env: {
      TLS_CERT: `${first.certPath},${at('second.pem')}`,
      TLS_KEY: `${first.keyPath},${at('second.key')}`,
    },
  })
  t.after(() => rm(folder, { recursive: true, force: true }))
  await put(gateway, [{ id: 'seven', clientCertificate: { san: SAN[0] } }])
  await gateway.reload()
  const servernames = ['localhost', 'second.example.com']
  for (const servername of servernames) {
    const client = show(gateway, 'gRPC', good, { tls: { servername } })
    assertAccepted(await client.send({ token: null }))
    const { subject } = socketOf(client).getPeerX509Certificate() ?? {}
    assert.equal(subject, `CN=${servername}`)
    for (const certificate of Object.values(BAD))
      await assert.rejects(show(gateway, 'gRPC', certificate, { tls: { servername } }).send())
  }
  for (const result of Object.keys(BAD)) await counted(gateway, result, 2)
  await replace(crlFile(gateway), await issueCrl(ca, [good]))
  await gateway.reload()
  for (const servername of servernames)
    await assert.rejects(show(gateway, 'gRPC', good, { tls: { servername } }).send())
  await counted(gateway, 'revoked', 4)
})

test('a certificate that no entry names is known by name, and never banned', async (t) => {
  const gateway = await start(t, {
    auth: 'required',
    token: 'instead',
    env: { BAN_EXEMPT: 'none', BAN_STRIKES: '2' },
  })
  const client = show(gateway, 'gRPC', good)
  for (let turn = 0; turn < 4; turn += 1) {
    const { grpcStatus, grpcMessage } = await client.send({ token: null })
    assert.equal(grpcStatus, 16)
    assert.match(grpcMessage ?? '', /client certificate is not known here/)
  }
  assert.deepEqual(await gateway.outcomes(), { certificate_unknown: 4 })
  assert.equal(sumOf(await gateway.metrics(), 'tollgate_strikes_total'), 0)
})

test('where certificates are optional, a bad one stands in for nothing', async (t) => {
  const gateway = await start(t, { auth: 'optional', token: 'instead' })
  await put(gateway, [{ id: 'any', clientCertificate: { cn: 'agent' } }])
  await gateway.reload()
  for (const result of ['expired', 'unknown_ca', 'self_signed', 'wrong_purpose', 'bad_signature']) {
    const { grpcStatus } = await show(gateway, 'gRPC', BAD[result]).send({ token: null })
    assert.equal(grpcStatus, 16, result)
  }
  const plain = await issueClient(ca, { cn: 'agent', purpose: 'any' })
  assertAccepted(await show(gateway, 'gRPC', plain).send({ token: null }))
  assert.deepEqual(await gateway.outcomes(), { accepted: 1, token_missing: 5 })
})

for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
  test(`${version}: a resumed session keeps its certificate, until it is revoked`, async (t) => {
    const gateway = await start(t, {
      auth: 'required',
      token: 'instead',
      crl: await issueCrl(ca, []),
    })
    await put(gateway, [{ id: 'seven', clientCertificate: { san: SAN[0] } }])
    await gateway.reload()
    const tls = { minVersion: version, maxVersion: version } as const
    const first = show(gateway, 'gRPC', good, { tls })
    const handshake = first.handshake()
    const sessions = once(socketOf(first), 'session') as Promise<[Buffer]>
    await handshake
    assertAccepted(await first.send({ token: null }))
    const [session] = await sessions
    const again = show(gateway, 'gRPC', good, { tls: { ...tls, session } })
    assertAccepted(await again.send({ token: null }))
    assert.equal(socketOf(again).isSessionReused(), true)

    await replace(crlFile(gateway), crlPem(await issueCrl(ca, [good])))
    await gateway.reload()
    await assert.rejects(show(gateway, 'gRPC', good, { tls: { ...tls, session } }).send())
    await counted(gateway, 'revoked', 1)
    const { grpcStatus, grpcMessage } = await first.send({ token: null })
    assert.equal(grpcStatus, 16)
    assert.match(grpcMessage ?? '', /its client certificate was revoked/)
    // The connection itself goes on: with a token of its own it is as good as before.
    assertAccepted(await first.send({ token: TOKEN }))
    assert.deepEqual(await gateway.outcomes(), { accepted: 3, token_expired: 1 })
  })
}

test('beside a token, entries that name a certificate are told of as idle', async (t) => {
  const gateway = await start(t, { auth: 'required' })
  await put(gateway, [{ id: 'seven', clientCertificate: { san: SAN[0] } }])
  await gateway.reload()
  assert.match(
    await gateway.logText(),
    /certificate \(1\) let nobody in: TOLLGATE_TLS_CLIENT_TOKEN/,
  )
  const { grpcStatus } = await show(gateway, 'gRPC', good).send({ token: null })
  assert.equal(grpcStatus, 16)
})

test('a set that is swapped is asked again on open connections', async (t) => {
  const gateway = await start(t, { auth: 'required', token: 'instead' })
  const client = show(gateway, 'gRPC', good)
  const ask = async () => (await client.send({ token: null })).grpcStatus
  assert.equal(await ask(), 16)
  const entry = { id: 'seven', clientCertificate: { san: SAN[1] } }
  await put(gateway, [entry])
  await gateway.reload()
  assert.equal(await ask(), 0)
  await put(gateway, [{ ...entry, revokedAt: '2026-01-01T00:00:00Z' }])
  await gateway.reload()
  assert.equal(await ask(), 16)
  await put(gateway, [{ ...entry, allowFrom: ['192.0.2.0/24'] }])
  await gateway.reload()
  assert.equal(await ask(), 7)
  assert.equal(sumOf(await gateway.metrics(), 'tollgate_connections_total'), 1)
})

test('a certificate that ends while its connection is open does not stand in any more', async (t) => {
  const gateway = await start(t, { auth: 'required', token: 'instead' })
  await put(gateway, [{ id: 'brief', clientCertificate: { cn: 'brief' } }])
  await gateway.reload()
  // Certificates know whole seconds only.
  const notAfterMs = Math.ceil(Date.now() / 1000) * 1000 + 2000
  const brief = await issueClient(ca, { cn: 'brief', notAfterMs })
  const client = show(gateway, 'gRPC', brief)
  const handshake = client.handshake()
  const sessions = once(socketOf(client), 'session') as Promise<[Buffer]>
  await handshake
  const [session] = await sessions
  assertAccepted(await client.send({ token: null }))
  let answer = await client.send({ token: null })
  while (Date.now() < notAfterMs || answer.grpcStatus === 0)
    answer = await client.send({ token: null })
  assert.equal(answer.grpcStatus, 16)
  assert.match(answer.grpcMessage ?? '', /its client certificate expired on/)
  await assert.rejects(show(gateway, 'gRPC', brief, { tls: { session } }).send())
  await counted(gateway, 'expired', 1)
  assert.equal(sumOf(await gateway.metrics(), 'tollgate_strikes_total'), 0)
})

test('a CRL past its end turns its clients away, and it is said before and after', async (t) => {
  const nextUpdateMs = Math.ceil(now / 1000) * 1000 + HOUR_MS / 2
  const crl = await issueCrl(ca, [], { thisUpdateMs: now - 9 * HOUR_MS, nextUpdateMs })
  const gateway = await start(t, { auth: 'required', crl })
  const page = await gateway.metrics()
  const next = sumOf(page, 'tollgate_crl_next_update_timestamp_seconds', { issuer: 'Agents CA' })
  assert.equal(next * 1000, nextUpdateMs)
  assert.ok((await gateway.log()).some(({ event }) => event === 'crl_expiring'))
  await replace(crlFile(gateway), await issueCrl(ca, [], { nextUpdateMs: now - 1000 }))
  await gateway.reload()
  const words = (await gateway.log()).map(({ event, msg }) => `${event} ${msg}`).join('\n')
  assert.match(words, /^crl_expired The CRL of Agents CA .* expired on/m)
  assert.match(words, /^client_trust_warning .*every client of Agents CA is turned away/m)
  await assert.rejects(show(gateway, 'gRPC', good).send())
  await counted(gateway, 'crl_expired', 1)
})

test('a CA without a CRL beside one that has one is told of', async (t) => {
  const gateway = await start(t, {
    auth: 'required',
    cas: [ca, other],
    crl: await issueCrl(ca, []),
  })
  assert.match(await gateway.logText(), /there is no CRL of Other CA/)
  await assert.rejects(show(gateway, 'gRPC', await issueClient(other)).send())
  await counted(gateway, 'crl_missing', 1)
  assertAccepted(await show(gateway, 'gRPC', good).send())
})

test('CAs and CRLs are swapped under load: nothing is dropped, newcomers are judged anew', async (t) => {
  const theirs = await issueClient(other)
  const gateway = await start(t, { auth: 'required', crl: await issueCrl(ca, []) })
  const caFile = join(gateway.folder, 'client-ca.pem')
  const clients = WAYS.map((way) => show(gateway, way, good))
  let isOver = false
  let sent = 0
  const load = clients.map(async (client) => {
    while (!isOver) {
      assertAccepted(await client.send())
      sent += 1
    }
  })
  for (let turn = 0; turn < 5; turn += 1) {
    const isTheirs = turn % 2 === 0
    const [next, isIn, isOut] = isTheirs ? [other, theirs, good] : [ca, good, theirs]
    await replace(caFile, next.cert)
    await replace(crlFile(gateway), await issueCrl(next, []))
    await gateway.reload()
    assertAccepted(await show(gateway, 'gRPC', isIn).send())
    await assert.rejects(show(gateway, 'gRPC', isOut).send())
    const before = sent
    while (sent < before + 20) await new Promise((resolve) => setImmediate(resolve))
  }
  isOver = true
  await Promise.all(load)
  await counted(gateway, 'verified', clients.length + 5)
  await counted(gateway, 'unknown_ca', 5)
})

interface Start {
  readonly auth: 'off' | 'optional' | 'required'
  readonly token?: 'beside' | 'instead'
  readonly cas?: readonly Issued[]
  readonly crl?: string | Uint8Array
  readonly env?: Readonly<Record<string, string>>
}

async function start(
  t: TestContext,
  { auth, token = 'beside', cas = [ca], crl, env = {} }: Start,
): Promise<TestGateway> {
  const folder = await mkdtemp(join(tmpdir(), 'tollgate-mtls-'))
  const caPath = join(folder, 'client-ca.pem')
  const crlPath = join(folder, 'client.crl')
  await writeFile(caPath, cas.map(({ cert }) => cert).join(''))
  if (crl !== undefined) await writeFile(crlPath, crl)
  const gateway = await startGateway(t, {
    folder,
    env: {
      RATE: 'off',
      TLS_CLIENT_AUTH: auth,
      TLS_CLIENT_CA: caPath,
      TLS_CLIENT_TOKEN: token,
      ...(crl === undefined ? {} : { TLS_CLIENT_CRL: crlPath }),
      ...env,
    },
  })
  // Hooks run in their order: the gateway stops before.
  t.after(() => rm(folder, { recursive: true, force: true }))
  return gateway
}

function crlFile({ folder }: TestGateway): string {
  return join(folder, 'client.crl')
}

function show(
  gateway: TestGateway,
  way: (typeof WAYS)[number],
  certificate: Issued | undefined,
  options: { readonly address?: string; readonly tls?: ConnectionOptions } = {},
): Client {
  const { tls, ...rest } = options
  const pair = certificate && { cert: certificate.cert, key: certificate.key }
  return gateway.connect(way, { ...rest, tls: { ...tls, ...pair } })
}

/** The token of the tests, and these entries. */
async function put(gateway: TestGateway, entries: readonly object[]): Promise<void> {
  await gateway.writeTokens([{ token: TOKEN }])
  const { tokens } = JSON.parse(await readFile(gateway.tokensFile, 'utf8')) as { tokens: object[] }
  const more = entries.map((entry) => ({ holder: 'agents', ...entry }))
  await replace(gateway.tokensFile, JSON.stringify({ tokens: [...tokens, ...more] }))
}

async function replace(path: string, content: string | Uint8Array): Promise<void> {
  await writeFile(`${path}.new`, content)
  await rename(`${path}.new`, path)
}

/** Waits until a result has been counted so often: the gateway may learn of it after the client. */
async function counted(gateway: TestGateway, result: string, times: number): Promise<void> {
  const of = (page: Parameters<typeof sumOf>[0]) =>
    sumOf(page, 'tollgate_client_certificates_total', { result })
  const page = await gateway.until((now) => of(now) >= times, `${times} × ${result}`)
  assert.equal(of(page), times, result)
}

function socketOf({ socket }: Client) {
  if (socket === undefined) throw new Error('not connected')
  return socket
}

function fingerprintOf({ cert }: Issued): string {
  return new X509Certificate(cert).fingerprint256
}
