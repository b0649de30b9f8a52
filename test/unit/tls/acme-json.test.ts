import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { X509Certificate } from 'node:crypto'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { readAcmePair } from '../../../src/tls/acme-json.ts'
import { CertificateError } from '../../../src/tls/certificate-error.ts'
import { loadServerCredentials } from '../../../src/tls/credentials.ts'
import { type Issued, issueCa, issueServer } from '../../../src/tls/issue.ts'
import { acmeJson } from '../../support/acme-json.ts'

const NOW_MS = Date.now()
const DAY_MS = 86_400_000

suite("Traefik's acme.json", () => {
  const root = mkdtempSync(join(tmpdir(), 'tollgate-acme-json-'))
  const path = join(root, 'acme.json')
  after(() => rmSync(root, { recursive: true }))
  let ca: Issued
  before(async () => {
    ca = await issueCa('test CA', NOW_MS - 800 * DAY_MS)
  })
  const entry = async (names: readonly string[], issuedMs = NOW_MS) => {
    const { cert, key } = await issueServer(ca, names, issuedMs)
    return { names, cert: cert + ca.cert, key }
  }
  const serialOf = (pem: string | Buffer) => new X509Certificate(pem).serialNumber
  const picked = async (domain: string) => serialOf((await readAcmePair(path, domain, NOW_MS)).cert)
  const refused = (domain: string, words: RegExp) =>
    assert.rejects(readAcmePair(path, domain, NOW_MS), (error) => {
      assert.ok(error instanceof CertificateError)
      assert.match(error.message, words)
      return true
    })

  test('the certificate of a domain, whichever resolver has it', async () => {
    const [shop, otlp] = [await entry(['shop.test']), await entry(['x.test', 'otlp.test'])]
    writeFileSync(path, acmeJson({ empty: null, web: [shop], dns: [otlp] }))
    assert.equal(await picked('otlp.test'), serialOf(otlp.cert))
    const { secrets, facts } = await loadServerCredentials(
      { place: { kind: 'acme-json', path, domain: 'otlp.test' } },
      NOW_MS,
    )
    assert.equal(secrets.cert, otlp.cert)
    assert.equal(secrets.key, otlp.key)
    assert.deepEqual(facts.warnings, [])
  })

  test('a wildcard covers one label, and no more', async () => {
    writeFileSync(path, acmeJson({ dns: [await entry(['*.example.test'])] }))
    await picked('otlp.example.test')
    await refused('a.otlp.example.test', /no certificate for a\.otlp\.example\.test/)
    await refused('example.test', /it has DNS:\*\.example\.test/)
  })

  test('of several the one issued last, unless it is not valid', async () => {
    const [old, newer, future] = [
      await entry(['otlp.test'], NOW_MS - 60 * DAY_MS),
      await entry(['otlp.test'], NOW_MS - DAY_MS),
      await entry(['otlp.test'], NOW_MS + DAY_MS),
    ]
    writeFileSync(path, acmeJson({ a: [old], b: [newer, future] }))
    assert.equal(await picked('otlp.test'), serialOf(newer.cert))
  })

  test('an expired one where there is no other', async () => {
    const old = await entry(['otlp.test'], NOW_MS - 500 * DAY_MS)
    writeFileSync(path, acmeJson({ a: [old] }))
    assert.equal(await picked('otlp.test'), serialOf(old.cert))
  })

  test('every beginning of the file is refused, and quotes no key', async () => {
    const text = acmeJson({ a: [await entry(['otlp.test'])] })
    for (let length = 0; length < text.length; length += 97) {
      writeFileSync(path, text.slice(0, length))
      await assert.rejects(readAcmePair(path, 'otlp.test', NOW_MS), (error) => {
        assert.match(`${error}`, length === 0 ? /is empty; Traefik writes it/ : /is not whole JSON/)
        return true
      })
    }
    writeFileSync(path, text.replace('"key": "', '"key": x"'))
    await assert.rejects(
      readAcmePair(path, 'otlp.test', NOW_MS),
      (error) => !/LS0t/.test(`${error} ${(error as Error).cause}`),
    )
  })

  test('other JSON, and entries that are damaged', async () => {
    writeFileSync(path, '[]')
    await refused('otlp.test', /expected an object of resolvers/)
    const good = await entry(['otlp.test'])
    const file = JSON.parse(acmeJson({ a: [good, good] }))
    file.a.Certificates[0].certificate = 'AAAA'
    file.b = 'text'
    file.c = { Certificates: [null, 7, {}] }
    writeFileSync(path, JSON.stringify(file))
    assert.equal(await picked('otlp.test'), serialOf(good.cert))
    writeFileSync(path, '{}')
    await refused('otlp.test', /it holds no certificate\. Traefik asks for one only when a router/)
  })

  test('a file for root alone is told with the way out', { skip: skipUnlessRoot() }, async () => {
    writeFileSync(path, '{}')
    chmodSync(path, 0o600)
    chmodSync(root, 0o755)
    const script = `
      import { readAcmePair } from ${JSON.stringify(join(import.meta.dirname, '../../../src/tls/acme-json.ts'))}
      process.setgid(65534); process.setuid(65534)
      await readAcmePair(${JSON.stringify(path)}, 'otlp.test', 0).catch((error) => console.log(error.message))`
    const said = execFileSync(process.execPath, ['--input-type=module', '-e', script], {
      encoding: 'utf8',
    })
    assert.match(said, /for root alone \(mode 0600\)/)
    assert.match(said, /tollgate cert extract --from .*acme\.json .* --owner 65534 --watch/)
  })
})

function skipUnlessRoot(): string | false {
  return process.getuid?.() === 0 ? false : 'SKIP: only root can become somebody else'
}
