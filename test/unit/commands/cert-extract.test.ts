import assert from 'node:assert/strict'
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, beforeEach, suite, test } from 'node:test'
import { dispatch } from '../../../src/commands/dispatch.ts'
import { type Issued, issueCa, issueServer } from '../../../src/tls/issue.ts'
import { type AcmeEntry, acmeJson } from '../../support/acme-json.ts'
import { Child, runToEnd } from '../../support/child.ts'
import { eventually } from '../../support/eventually.ts'
import { ROOT } from '../../support/tools.ts'

const DOMAIN = 'otlp.test'

suite('tollgate cert extract', () => {
  const root = mkdtempSync(join(tmpdir(), 'tollgate-extract-'))
  after(() => rmSync(root, { recursive: true }))
  let ca: Issued
  let from: string
  let to: string
  before(async () => {
    ca = await issueCa('test CA', Date.now())
  })
  beforeEach(() => {
    const folder = mkdtempSync(join(root, 'd'))
    from = join(folder, 'acme.json')
    to = join(folder, 'out')
  })

  const entry = async (...names: string[]): Promise<AcmeEntry> => {
    const { cert, key } = await issueServer(ca, names, Date.now())
    return { names, cert: cert + ca.cert, key }
  }
  const run = async (...args: string[]) => {
    let [out, err] = ['', '']
    const code = await dispatch(['cert', 'extract', ...args], {
      stdout: { write: (text: string) => (out += text) },
      stderr: { write: (text: string) => (err += text) },
      stdin: (async function* () {})(),
      env: {},
    })
    return { code, out, err }
  }
  const extract = (...more: string[]) =>
    run('--from', from, '--domain', DOMAIN, '--to', to, ...more)
  const written = () => ({
    cert: readFileSync(join(to, 'tls.crt'), 'utf8'),
    key: readFileSync(join(to, 'tls.key'), 'utf8'),
  })
  const generations = () => readdirSync(to).filter((name) => /^\.\.\d/.test(name))

  test('writes that pair and nothing of the other sites', async () => {
    const [shop, otlp] = [await entry('shop.test'), await entry(DOMAIN)]
    writeFileSync(from, acmeJson({ letsencrypt: [shop, otlp] }))
    const { code, out, err } = await extract()
    assert.deepEqual([code, err], [0, ''])
    assert.match(
      out,
      /^Wrote the certificate for DNS:otlp\.test, valid until .*tls\.crt, .*tls\.key\n$/,
    )
    assert.deepEqual(written(), { cert: otlp.cert, key: otlp.key })
    assert.equal(statSync(join(to, 'tls.key')).mode & 0o777, 0o600)
    assert.equal(statSync(join(to, 'tls.crt')).mode & 0o777, 0o640)
    assert.deepEqual(readdirSync(to).toSorted(), [...generations(), '..data', 'tls.crt', 'tls.key'])
  })

  test('both change as one, and only the one before is kept', async () => {
    for (let round = 0; round < 4; round += 1) {
      const renewed = await entry(DOMAIN)
      writeFileSync(from, acmeJson({ letsencrypt: [renewed] }))
      assert.equal((await extract()).code, 0)
      assert.deepEqual(written(), { cert: renewed.cert, key: renewed.key })
      assert.equal(generations().length, Math.min(round + 1, 2))
    }
    for (const name of ['..data', 'tls.crt', 'tls.key']) {
      assert.ok(lstatSync(join(to, name)).isSymbolicLink(), name)
    }
  })

  test('writes nothing where nothing is new', async () => {
    writeFileSync(from, acmeJson({ letsencrypt: [await entry(DOMAIN)] }))
    await extract()
    const before = generations()
    assert.match((await extract()).out, /^Already there:/)
    assert.deepEqual(generations(), before)
  })

  test('a file that cannot be used leaves what was written', async () => {
    const good = await entry(DOMAIN)
    const text = acmeJson({ letsencrypt: [good] })
    writeFileSync(from, text)
    await extract()
    writeFileSync(from, text.slice(0, text.length / 2))
    const { code, err } = await extract()
    assert.equal(code, 64)
    assert.match(err, /acme\.json: is not whole JSON/)
    assert.equal(written().key, good.key)
  })

  test('does not touch a directory with files of somebody else', async () => {
    writeFileSync(from, acmeJson({ letsencrypt: [await entry(DOMAIN)] }))
    mkdirSync(to)
    writeFileSync(join(to, 'tls.key'), 'mine')
    const { code, err } = await extract()
    assert.equal(code, 73)
    assert.match(err, /tls\.key: is there already and was not written by this program/)
    assert.equal(readFileSync(join(to, 'tls.key'), 'utf8'), 'mine')
  })

  const isRoot = process.getuid?.() === 0
  const skip = isRoot ? false : 'SKIP: only root can give files away'
  for (const [owner, uid, gid, keyMode] of [
    ['10001:10002', 10001, 10002, 0o600],
    ['10001', 10001, undefined, 0o600],
    [':10002', undefined, 10002, 0o640],
  ] as const) {
    test(`--owner ${owner}`, { skip }, async () => {
      writeFileSync(from, acmeJson({ letsencrypt: [await entry(DOMAIN)] }))
      assert.equal((await extract('--owner', owner)).code, 0)
      for (const [file, mode] of [
        ['tls.key', keyMode],
        ['tls.crt', 0o640],
      ] as const) {
        const stats = statSync(join(to, file))
        assert.equal(stats.uid, uid ?? process.getuid?.())
        assert.equal(stats.gid, gid ?? process.getgid?.())
        assert.equal(stats.mode & 0o777, mode)
      }
    })
  }

  test('root with no power but to give files away, as in the compose file', { skip }, async () => {
    const bare = ['--bounding-set=-all,+chown', '--inh-caps=-all', process.execPath]
    const main = ['--disable-warning=ExperimentalWarning', join(ROOT, 'src/main.ts')]
    const args = ['--from', from, '--domain', DOMAIN, '--to', to, '--owner', '10001:10001']
    for (const verbs of [['Wrote', 'Already there'], ['Wrote'], ['Wrote']]) {
      const renewed = await entry(DOMAIN)
      writeFileSync(from, acmeJson({ letsencrypt: [renewed] }), { mode: 0o600 })
      for (const verb of verbs) {
        const all = [...bare, ...main, 'cert', 'extract', ...args]
        const { code, stdout, stderr } = await runToEnd('setpriv', all)
        assert.equal(code, 0, stderr)
        assert.ok(stdout.startsWith(verb), stdout)
        assert.equal(written().key, renewed.key)
      }
    }
    assert.equal(generations().length, 2)
    assert.equal(statSync(join(to, 'tls.key')).uid, 10001)
  })

  test('a wrong command line is told in words', async () => {
    for (const [args, words] of [
      [[], /--from: expected Traefik's acme\.json/],
      [['--from', 'f'], /--domain: expected a name/],
      [['--from', 'f', '--domain', DOMAIN], /--to: expected a directory/],
      [
        ['--from', 'f', '--domain', 'https://x', '--to', 't'],
        /"https:\/\/x": expected a host name/,
      ],
      [
        ['--from', 'f', '--domain', DOMAIN, '--to', 't', '--owner', 'root'],
        /--owner: "root": expected numbers such as 10001:10001/,
      ],
      [['--form', 'f'], /Unknown option '--form'/],
    ] as const) {
      const { code, err } = await run(...args)
      assert.equal(code, 64, err)
      assert.match(err, words)
    }
  })

  test('--watch waits for the file, follows it, tells trouble once, and ends at SIGTERM', async (t) => {
    const child = new Child(
      process.execPath,
      [
        '--disable-warning=ExperimentalWarning',
        join(ROOT, 'src/main.ts'),
        ...['cert', 'extract', '--from', from, '--domain', DOMAIN, '--to', to, '--watch'],
      ],
      { cwd: root, env: process.env },
    )
    t.after(() => child.kill('SIGKILL'))
    await child.line('stderr', (line) => (/no such file/.test(line) ? true : undefined))
    const hasKey = ({ key }: AcmeEntry) => existsSync(join(to, 'tls.key')) && written().key === key
    const put = async () => {
      const renewed = await entry(DOMAIN)
      // Traefik truncates and writes.
      writeFileSync(from, acmeJson({ letsencrypt: [renewed] }))
      await eventually(() => hasKey(renewed), 'the renewed certificate')
    }
    await put()
    await put()
    writeFileSync(from, '{"half')
    await child.line('stderr', (line) => (/is not whole JSON/.test(line) ? true : undefined))
    const renewed = await entry(DOMAIN)
    writeFileSync(`${from}.new`, acmeJson({ letsencrypt: [renewed] }))
    renameSync(`${from}.new`, from)
    await eventually(() => hasKey(renewed), 'the certificate after the trouble')
    child.kill('SIGTERM')
    assert.deepEqual(await child.exit, { code: 0, signal: null })
  })
})
