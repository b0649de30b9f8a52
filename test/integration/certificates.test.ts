/** Where certificates come from, and what the gateway does with those that are not right. */
import assert from 'node:assert/strict'
import { createPrivateKey } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { connect } from 'node:tls'
import { request } from 'undici'
import { issueServer } from '../../src/tls/issue.ts'
import { acmeJson } from '../support/acme-json.ts'
import { assertAccepted } from '../support/answers.ts'
import { testCa } from '../support/certs.ts'
import { eventually } from '../support/eventually.ts'
import { sumOf } from '../support/exposition.ts'
import { startGateway, type TestGateway } from '../support/gateway.ts'

const DAY_MS = 86_400_000

async function folderFor(t: TestContext): Promise<(name: string) => string> {
  const folder = await mkdtemp(join(tmpdir(), 'tollgate-certificates-'))
  t.after(() => rm(folder, { recursive: true }))
  return (name) => join(folder, name)
}

async function issue(names: readonly string[], issuedMs = Date.now()) {
  const { cert, key } = await issueServer(await testCa(), names, issuedMs)
  return { names, cert, key }
}

/** The names in what a client is served that asks for this one. */
async function namesServed(
  { addresses, caPem }: TestGateway,
  port: 'grpc' | 'http',
  servername: string,
): Promise<string | undefined> {
  const { hostname, port: number } = new URL(`http://${addresses[port]}`)
  const socket = connect({
    host: hostname,
    port: Number(number),
    servername,
    ca: caPem,
    ALPNProtocols: ['h2'],
    checkServerIdentity: () => undefined,
  })
  await once(socket, 'secureConnect')
  const { subjectaltname } = socket.getPeerCertificate()
  socket.end()
  await once(socket.resume(), 'close')
  return subjectaltname
}

async function readyz({ addresses }: TestGateway): Promise<{ status: number; text: string }> {
  const { statusCode, body } = await request(`http://${addresses.admin}/readyz`)
  return { status: statusCode, text: await body.text() }
}

async function eventsOf(gateway: TestGateway, event: string): Promise<string[]> {
  const lines = await gateway.log()
  return lines.filter((line) => line.event === event).map(({ msg }) => String(msg))
}

test('several certificates: each name gets its own, on both ports, and each is renewed by itself', async (t) => {
  const at = await folderFor(t)
  const write = async (name: string, names: readonly string[]) => {
    const { cert, key } = await issue(names)
    await writeFile(at(`${name}.key`), key)
    await writeFile(at(`${name}.pem`), cert)
  }
  await write('first', ['localhost', '127.0.0.1'])
  await write('wild', ['*.example.test'])
  await write('exact', ['otlp.example.test'])
  const files = (end: string) => ['first', 'wild', 'exact'].map((name) => at(name + end)).join(',')
  const gateway = await startGateway(t, {
    env: { TLS_CERT: files('.pem'), TLS_KEY: files('.key') },
  })
  assertAccepted(await gateway.connect('gRPC').send())
  for (const port of ['grpc', 'http'] as const) {
    const served = (name: string) => namesServed(gateway, port, name)
    assert.equal(await served('otlp.example.test'), 'DNS:otlp.example.test')
    assert.equal(await served('web.example.test'), 'DNS:*.example.test')
    assert.equal(await served('elsewhere.test'), 'DNS:localhost, IP Address:127.0.0.1')
  }
  await write('exact', ['otlp.example.test', 'again.test'])
  await eventually(
    async () => (await namesServed(gateway, 'grpc', 'again.test'))?.includes('again.test'),
    'the renewed certificate',
  )
  assert.equal(await namesServed(gateway, 'http', 'web.example.test'), 'DNS:*.example.test')
  const page = await gateway.metrics()
  for (const subject of ['localhost', '*.example.test', 'otlp.example.test']) {
    const endSeconds = sumOf(page, 'tollgate_certificate_not_after_seconds', { subject })
    assert.ok(endSeconds > Date.now() / 1000, subject)
  }
})

test("Traefik's acme.json: a rewrite in progress changes nothing, and the end of it does", async (t) => {
  const at = await folderFor(t)
  const path = at('acme.json')
  const others = await issue(['shop.test'])
  const write = async (text: string) => await writeFile(path, text)
  await write(acmeJson({ letsencrypt: [others, await issue(['localhost'])] }))
  const gateway = await startGateway(t, {
    env: { TLS_CERT: '', TLS_KEY: '', TLS_ACME_JSON: path, TLS_DOMAIN: 'localhost' },
  })
  const before = gateway.connect('gRPC')
  assertAccepted(await before.send())
  const next = acmeJson({ letsencrypt: [others, await issue(['localhost', 'new.test'])] })
  await write(next.slice(0, next.length / 2))
  await gateway.reload()
  assert.equal(await namesServed(gateway, 'grpc', 'localhost'), 'DNS:localhost')
  assert.match((await eventsOf(gateway, 'certificate_kept_last_good')).join(), /not whole JSON/)
  assert.equal(sumOf(await gateway.metrics(), 'tollgate_certificate_last_reload_success'), 0)
  await write(next)
  await gateway.until(
    (page) => sumOf(page, 'tollgate_certificate_last_reload_success') === 1,
    'a good certificate',
  )
  assert.equal(await namesServed(gateway, 'http', 'localhost'), 'DNS:localhost, DNS:new.test')
  assertAccepted(await before.send())
  const text = await gateway.logText()
  for (const { key } of [others]) assert.ok(!text.includes(key.split('\n')[1] ?? ''))
})

for (const [title, first, second] of [
  ['the certificate first', 'test.pem', 'test.key'],
  ['the key first', 'test.key', 'test.pem'],
] as const) {
  test(`${title}, the other a moment later: nothing half is used, and the new pair is`, async (t) => {
    const gateway = await startGateway(t)
    const { cert, key } = await issue(['localhost', 'new.test'])
    const texts = { 'test.pem': cert, 'test.key': key }
    const replace = async (name: keyof typeof texts) => {
      await writeFile(join(gateway.folder, 'next'), texts[name])
      await rename(join(gateway.folder, 'next'), join(gateway.folder, name))
    }
    await replace(first)
    // The half is looked at, found wrong, and told.
    await gateway.until(
      (page) => sumOf(page, 'tollgate_certificate_last_reload_success') === 0,
      'trouble with half a pair',
    )
    assertAccepted(await gateway.connect('HTTP/1.1').send())
    await replace(second)
    await gateway.until(
      (page) => sumOf(page, 'tollgate_certificate_last_reload_success') === 1,
      'the whole pair',
    )
    assert.equal(await namesServed(gateway, 'grpc', 'localhost'), 'DNS:localhost, DNS:new.test')
  })
}

test('expired at the start: it starts, says so, is not ready, and is when a new one comes', async (t) => {
  const at = await folderFor(t)
  const write = async (issuedMs: number) => {
    const { cert, key } = await issue(['localhost'], issuedMs)
    await writeFile(at('key'), key)
    await writeFile(at('cert'), cert)
  }
  await write(Date.now() - 500 * DAY_MS)
  const gateway = await startGateway(t, { env: { TLS_CERT: at('cert'), TLS_KEY: at('key') } })
  const [warning = ''] = await eventsOf(gateway, 'certificate_warning')
  assert.match(warning, /cert: expired on .*; clients refuse it\. To see it: openssl x509 -in/)
  const expired = await readyz(gateway)
  assert.equal(expired.status, 503)
  assert.match(expired.text, /the certificate expired on/)
  await write(Date.now())
  await gateway.reload()
  assert.equal((await readyz(gateway)).status, 200)
  // What clients refuse does not replace what they take.
  await write(Date.now() - 500 * DAY_MS)
  await gateway.reload()
  assert.match((await eventsOf(gateway, 'certificate_kept_last_good')).join(), /expired on/)
  assert.equal((await readyz(gateway)).status, 200)
  assertAccepted(await gateway.connect('gRPC').send())
})

test('an encrypted key, and a host name that the certificate does not have', async (t) => {
  const at = await folderFor(t)
  const { cert, key } = await issue(['localhost'])
  const passphrase = 'the passphrase of the tests'
  const encrypted = createPrivateKey(key).export({
    ...{ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase },
  } as const)
  await writeFile(at('cert'), cert)
  await writeFile(at('key'), encrypted)
  const gateway = await startGateway(t, {
    env: {
      ...{ TLS_CERT: at('cert'), TLS_KEY: at('key'), TLS_KEY_PASSPHRASE: passphrase },
      TLS_DOMAIN: 'localhost, otlp.example.test',
    },
  })
  assertAccepted(await gateway.connect('HTTP/2').send())
  const warnings = await eventsOf(gateway, 'certificate_warning')
  assert.equal(warnings.length, 1)
  assert.match(warnings.join(), /no certificate is for otlp\.example\.test \(TOLLGATE_TLS_DOMAIN\)/)
  assert.ok(!(await gateway.logText()).includes(passphrase))
})
