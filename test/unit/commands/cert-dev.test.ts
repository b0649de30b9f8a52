import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { mkdtempSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { after, suite, test } from 'node:test'
import { runCertDev } from '../../../src/commands/cert-dev.ts'

const DAY_MS = 86_400_000
const root = mkdtempSync(join(tmpdir(), 'tollgate-cert-dev-'))
after(() => rmSync(root, { recursive: true }))
const fresh = () => join(mkdtempSync(join(root, 'set-')), 'certs')

async function run(...argv: string[]): Promise<string> {
  let out = ''
  const write = (text: string) => (out += text)
  await runCertDev(argv, {
    stdout: { write },
    stderr: { write },
    stdin: Readable.from([]),
    env: {},
  })
  return out
}
const certIn = (out: string, file: string) => new X509Certificate(readFileSync(join(out, file)))

suite('tollgate cert dev', () => {
  test('makes a CA, a server and clients, with keys for their owner alone', async () => {
    const out = fresh()
    const text = await run('--out', out, '--name', 'otlp.example.test', '--client', 'agent-1')
    assert.match(text, /OTEL_EXPORTER_OTLP_CLIENT_KEY=.*client-agent-1\.key/)
    for (const name of ['ca', 'server', 'clients-ca', 'client-agent-1']) {
      assert.equal(statSync(join(out, `${name}.key`)).mode & 0o777, 0o600, name)
      assert.equal(statSync(join(out, `${name}.pem`)).mode & 0o777, 0o644, name)
    }
    const client = certIn(out, 'client-agent-1.pem')
    assert.equal(client.subject, 'CN=agent-1')
    assert.equal(client.subjectAltName, 'DNS:agent-1')
    assert.deepEqual(client.keyUsage, ['1.3.6.1.5.5.7.3.2'])
    const server = certIn(out, 'server.pem')
    assert.equal(server.subjectAltName, 'DNS:otlp.example.test')
    const lifeMs = Date.parse(server.validTo) - Date.parse(server.validFrom)
    assert.ok(lifeMs <= 397 * DAY_MS)
  })

  test('run again it changes nothing, and --renew keeps the CA and the names', async () => {
    const out = fresh()
    await run('--out', out, '--name', 'otlp.example.test', '--name', 'fd00::7', '--days', '7')
    const [ca, server] = [certIn(out, 'ca.pem'), certIn(out, 'server.pem')]
    assert.equal(JSON.parse(await run('--out', out, '--json')).server.new, false)
    assert.equal(certIn(out, 'server.pem').serialNumber, server.serialNumber)
    assert.equal(JSON.parse(await run('--out', out, '--json', '--renew')).server.new, true)
    assert.equal(certIn(out, 'ca.pem').serialNumber, ca.serialNumber)
    assert.notEqual(certIn(out, 'server.pem').serialNumber, server.serialNumber)
    assert.equal(certIn(out, 'server.pem').subjectAltName, server.subjectAltName)
  })

  test('overwrites nothing that it did not make', async () => {
    const out = fresh()
    const other = fresh()
    await run('--out', out)
    await run('--out', other)
    for (const file of ['server.pem', 'server.key']) {
      renameSync(join(other, file), join(out, file))
    }
    const before = readFileSync(join(out, 'server.pem'), 'utf8')
    await assert.rejects(
      run('--out', out, '--renew'),
      /was not signed by .*ca\.pem; it is not over/,
    )
    assert.equal(readFileSync(join(out, 'server.pem'), 'utf8'), before)
    writeFileSync(join(other, 'server.key'), 'mine')
    await assert.rejects(run('--out', other), /server\.key: does not belong to a certificate/)
    rmSync(join(other, 'ca.key'))
    await assert.rejects(run('--out', other), /ca\.pem: has no key in /)
  })

  test('a CA signs for the names of its first use and below them', async () => {
    const out = fresh()
    await run('--out', out, '--name', 'example.test')
    await run('--out', out, '--name', 'otlp.example.test', '--name', '::1')
    assert.equal(certIn(out, 'server.pem').checkHost('otlp.example.test'), 'otlp.example.test')
    for (const name of ['example.org', '10.0.0.1', 'badexample.test']) {
      await assert.rejects(run('--out', out, '--name', name), new RegExp(`not sign for ${name}, `))
    }
  })

  for (const [argv, message] of [
    [['--name', 'https://a:4317'], /"https:\/\/a:4317": expected a host name or an address/],
    [['--name', '300.1.1.1'], /expected a host name/],
    [['--client', 'two words'], /--client: "two words": expected letters/],
    [['--client', 'a'.repeat(65)], /at most 64 characters/],
    [['--days', '0'], /from 1 to 396/],
    [['--days', '397'], /from 1 to 396/],
    [['--frob'], /Unknown option '--frob'; see tollgate cert dev --help/],
    [['--out', ''], /--out: is empty/],
    [['--out', '/proc/x/y'], /cannot keep certificates here/],
  ] as const) {
    test(`says what is wrong with ${argv.join(' ').slice(0, 30)}`, async () => {
      await assert.rejects(run('--out', fresh(), ...argv), message)
    })
  }
})
