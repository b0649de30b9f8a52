import assert from 'node:assert/strict'
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { afterEach, beforeEach, describe, it, type TestContext } from 'node:test'
import fc from 'fast-check'
import { runTokenCommand } from '../../../src/commands/token.ts'
import { createToken, digestOf, verifyChecksum } from '../../../src/stores/token-secret.ts'
import { parseTokenSet } from '../../../src/stores/token-set.ts'
import { TokenStore } from '../../../src/stores/tokens.ts'
import { runToEnd } from '../../support/child.ts'
import { ROOT } from '../../support/tools.ts'

const DAY_MS = 86_400_000

let dir: string
let path: string

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'token-command-'))
  path = join(dir, 'tokens.json')
})

afterEach(() => rm(dir, { recursive: true, force: true }))

/** Runs a command on the file of this test. */
async function run(argv: readonly string[], input = '', env: Record<string, string> = {}) {
  let out = ''
  let err = ''
  const code = await runTokenCommand(argv, {
    stdout: { write: (text) => (out += text) },
    stderr: { write: (text) => (err += text) },
    stdin: Readable.from([Buffer.from(input)]),
    env: { TOLLGATE_TOKENS_FILE: path, TOLLGATE_STATE_DIR: dir, ...env },
  })
  return { code, out, err }
}

/** Creates a token, and gives it as printed. */
async function created(...options: string[]): Promise<string> {
  const { code, out, err } = await run(['create', '--holder', 'agent', ...options])
  assert.equal(code, 0, err)
  return out.trimEnd()
}

const recordsIn = async (file = path) => parseTokenSet(await readFile(file, 'utf8'), file).records
const idOf = (token: string) => token.split('_')[1] ?? ''

describe('token create', () => {
  it('prints the token once, alone on its line, and keeps the digest only', async () => {
    const { code, out, err } = await run(['create', '--holder', 'agent'])
    assert.equal(code, 0)
    assert.match(out, /^tg_[a-z2-9]{8}_[A-Za-z0-9]{49}\n$/)
    const token = out.trimEnd()
    assert.ok(verifyChecksum(token))
    assert.ok(!err.includes(token))
    assert.match(err, /only time the token is shown/)
    const text = await readFile(path, 'utf8')
    assert.ok(!text.includes(token.slice(12)))
    const [record] = await recordsIn()
    assert.equal(record?.id, idOf(token))
    assert.equal(record?.sha256, digestOf(token))
    assert.ok(Math.abs(Date.now() - (record?.createdAtMs ?? 0)) < 60_000)
    assert.equal((await stat(path)).mode & 0o777, 0o600)
  })

  it('makes tokens that the gateway takes', async () => {
    const tokens = [await created(), await created('--scopes', 'logs')]
    const none = { requests: undefined, bytes: undefined, inFlight: undefined }
    const store = new TokenStore({ defaultLimits: none })
    store.swap(parseTokenSet(await readFile(path, 'utf8'), path))
    const peer = { key: '203.0.113.7', address: '203.0.113.7' }
    for (const token of tokens) {
      const verdict = store.verify(`Bearer ${token}`, peer, Date.now())
      assert.equal(typeof verdict === 'string' ? verdict : verdict.id, idOf(token))
    }
  })

  it('writes every option down', async () => {
    await created(
      '--expires-at=2199-01-31T00:00:00Z',
      '--not-before=2027-01-01',
      '--scopes=traces,metrics',
      '--allow-from=203.0.113.7, 10.0.0.0/8',
      '--rate=50/s',
      '--burst=70',
      '--bytes=10MiB/s',
      '--in-flight=20',
      '--label=team=web',
      '--label=note=a=b',
    )
    const [entry] = JSON.parse(await readFile(path, 'utf8')).tokens
    const { id: _, sha256: __, createdAt: ___, ...rest } = entry
    assert.deepEqual(rest, {
      holder: 'agent',
      notBefore: '2027-01-01',
      expiresAt: '2199-01-31T00:00:00Z',
      scopes: ['traces', 'metrics'],
      allowFrom: ['203.0.113.7', '10.0.0.0/8'],
      limits: { rate: '50/s', burst: 70, bytes: '10MiB/s', inFlight: 20 },
      labels: { team: 'web', note: 'a=b' },
    })
  })

  it('counts --expires-in from now, or from --not-before', async () => {
    await created('--expires-in', '90d')
    await created('--expires-in', '2w', '--not-before', '2198-01-01')
    const [now, later] = await recordsIn()
    assert.equal((now?.expiresAtMs ?? 0) - (now?.createdAtMs ?? 0), 90 * DAY_MS)
    assert.equal(later?.expiresAtMs, Date.UTC(2198, 0, 15))
  })

  it('prints JSON with --json, and nothing else', async () => {
    const { out, err, code } = await run(['create', '--holder', 'a', '--scopes=logs', '--json'])
    assert.equal(code, 0)
    assert.equal(err, '')
    const { token, createdAt, ...rest } = JSON.parse(out)
    assert.ok(verifyChecksum(token))
    assert.ok(Date.parse(createdAt) > 0)
    assert.deepEqual(rest, { id: idOf(token), holder: 'a', scopes: ['logs'], file: path })
  })

  it('starts from an empty file or set, and keeps what others wrote', async () => {
    for (const text of ['', '\n', '{"tokens":[]}', '{ "tokens": [ ] }\n']) {
      await writeFile(path, text)
      await created()
      assert.equal((await recordsIn()).length, 1)
    }
    const entry = { id: 'by-hand', holder: 'Zoë', sha256: digestOf('x'), labels: { a: 'b' } }
    await writeFile(path, JSON.stringify({ tokens: [entry] }))
    await created()
    assert.deepEqual(JSON.parse(await readFile(path, 'utf8')).tokens[0], entry)
  })

  it('leaves a broken file alone', async () => {
    for (const text of ['{"tokens":[', '{"tokens":[{"id":"a"}]}', '[]']) {
      await writeFile(path, text)
      const { code, out, err } = await run(['create', '--holder', 'a'])
      assert.equal(code, 65)
      assert.equal(out, '')
      assert.ok(err.includes(path), err)
      assert.equal(await readFile(path, 'utf8'), text)
      assert.deepEqual(await readdir(dir), ['tokens.json'])
    }
  })

  it('takes --file before the environment, and .tollgate/tokens.json without either', async () => {
    const other = join(dir, 'other.json')
    await created('--file', other)
    assert.equal((await recordsIn(other)).length, 1)
    const { code } = await runToEnd(
      process.execPath,
      [join(ROOT, 'src/main.ts'), 'token', 'create', '--holder', 'a'],
      { cwd: dir, env: { ...process.env, TOLLGATE_TOKENS_FILE: '' } },
    )
    assert.equal(code, 0)
    assert.equal((await recordsIn(join(dir, '.tollgate', 'tokens.json'))).length, 1)
    assert.equal((await stat(join(dir, '.tollgate'))).mode & 0o777, 0o700)
    const env = { TOLLGATE_TOKENS_FILE: '', TOLLGATE_STATE_DIR: join(dir, 'state') }
    assert.equal((await run(['create', '--holder=a'], '', env)).code, 0)
    assert.equal((await recordsIn(join(dir, 'state', 'tokens.json'))).length, 1)
  })

  it('is one that the gateway reads', async () => {
    const own = join(dir, 'own.json')
    const create = (places: string) =>
      run(['create', '--holder=a'], '', {
        TOLLGATE_TOKENS_FILE: '',
        TOLLGATE_TOKENS_SOURCE: places,
      })
    assert.equal((await create(`vault:secret/otel, file:${own}`)).code, 0)
    assert.equal((await recordsIn(own)).length, 1)
    const elsewhere = await create('vault:secret/otel,aws:otel')
    assert.equal(elsewhere.code, 64)
    assert.match(elsewhere.err, /tokens come from vault:secret\/otel, aws:otel .*tollgate rotate/)
    assert.match(
      (await create(`file:${own},file:b.json`)).err,
      /several files; name one with --file/,
    )
  })
})

describe('a wrong command line', () => {
  const cases: readonly (readonly [string, readonly string[], RegExp])[] = [
    ['no command', [], /tollgate token create --holder NAME/],
    ['an unknown command', ['make'], /unknown command "make"; expected create, import, list/],
    ['no holder', ['create'], /--holder is missing/],
    ['an unknown option', ['create', '--holder=a', '--scope=x'], /Unknown option '--scope'/],
    ['an option without its value', ['create', '--holder'], /--holder/],
    ['an argument too many', ['create', '--holder=a', 'b'], /1 argument\(s\) too many/],
    ['a bad time', ['create', '--holder=a', '--expires-in=soon'], /--expires-in: "soon" is not a/],
    ['no time', ['create', '--holder=a', '--expires-in=0d'], /--expires-in: "0d" is not a time/],
    ['too long a time', ['create', '--holder=a', '--expires-in=999999w'], /at most 100 years/],
    ['a date gone by', ['create', '--holder=a', '--expires-at=2020-01-01'], /is in the past/],
    [
      'two ends',
      ['create', '--holder=a', '--expires-at=2199-01-01', '--expires-in=1d'],
      /exclude each other/,
    ],
    ['a bad label', ['create', '--holder=a', '--label=web'], /--label: expected name=value/],
    ['no id', ['revoke'], /expected the ID of a token/],
    ['list with an argument', ['list', 'a'], /1 argument\(s\) too many/],
    ['import without a holder', ['import'], /--holder is missing/],
  ]
  for (const [name, argv, message] of cases)
    it(`is refused in words with 64: ${name}`, async () => {
      const { code, out, err } = await run(argv, 'never-read-never-read')
      assert.equal(code, 64)
      assert.match(err, message)
      assert.equal(out, '')
      assert.deepEqual(await readdir(dir), [])
    })

  it('is told of all mistakes at once, under the names of the options', async () => {
    const { code, err } = await run([
      ...['create', '--holder=', '--expires-at=tomorrow', '--not-before=1', '--scopes=trace'],
      ...[
        '--allow-from=home',
        '--rate=5',
        '--burst=x',
        '--bytes=1',
        '--in-flight=0',
        '--label=!=a',
      ],
    ])
    assert.equal(code, 64)
    for (const option of [
      '--holder: "" is not a holder',
      '--expires-at: "tomorrow" is not a date; expected ISO 8601, e.g. 2027-01-31T00:00:00Z',
      '--not-before: "1" is not a date',
      '--scopes: ["trace"] is not a list of signals',
      '--allow-from: "home" is not an address or a CIDR',
      '--rate: "5" is not a rate',
      '--burst: "x" is not a burst',
      '--bytes: "1" is not a rate in bytes',
      '--in-flight: 0 is not a number',
      '--label: this is not a set of labels',
    ])
      assert.ok(err.includes(option), `${option}\nis not in\n${err}`)
  })

  it('is helped by --help', async () => {
    for (const argv of [['--help'], ['help'], ['create', '--help'], ['-h']]) {
      const { code, out, err } = await run(argv)
      assert.equal(code, 0)
      assert.equal(err, '')
      for (const verb of ['create', 'import', 'list', 'revoke']) assert.ok(out.includes(verb))
    }
  })
})

describe('token import', () => {
  it('adds a token from standard input and never shows it', async () => {
    const token = 'correct-horse-battery-staple'
    const { code, out, err } = await run(['import', '--holder', 'Web Shop'], `${token}\n`)
    assert.equal(code, 0)
    assert.equal(out, '')
    assert.ok(!err.includes(token))
    const [record] = await recordsIn()
    assert.equal(record?.sha256, digestOf(token))
    assert.equal(record?.id, `web-shop-${digestOf(token).slice(0, 8)}`)
  })

  it('knows a token made by Tollgate by the id inside it', async () => {
    const { id, token } = createToken()
    const { out } = await run(['import', '--holder=a', '--json'], token)
    assert.equal(JSON.parse(out).id, id)
    assert.ok(!out.includes(token))
  })

  it('refuses a token twice, with the id it has', async () => {
    const token = await created()
    const { code, err } = await run(['import', '--holder', 'again'], token)
    assert.equal(code, 65)
    assert.ok(err.includes(`with the ID "${idOf(token)}"`), err)
  })

  it('refuses what cannot be a token with 65, without showing it (property)', async () => {
    const bad = fc.oneof(
      fc.string({ minLength: 1, maxLength: 15 }),
      fc.string({ minLength: 16, maxLength: 60 }).map((text) => `${text}ä€`),
      fc.string({ minLength: 16, maxLength: 60 }).map((text) => `x ${text}"y`),
      fc.string({ minLength: 513, maxLength: 3000 }).map((text) => text.replace(/\s/g, '.')),
    )
    await fc.assert(
      fc.asyncProperty(bad, async (input) => {
        const { code, out, err } = await run(['import', '--holder=a'], input)
        assert.equal(code, 65, err)
        assert.equal(out, '')
        // A letter or two may be in any sentence.
        const secret = input.trim()
        assert.ok(secret.length < 6 || !err.includes(secret), err)
      }),
    )
    assert.deepEqual(await readdir(dir), [])
  })
})

describe('token list', () => {
  it('shows what is in the file, without digests', async () => {
    const token = await created('--expires-at=2199-01-31T00:00:00Z', '--scopes=logs,traces')
    await created('--not-before=2199-01-01')
    const gone = await created()
    await run(['revoke', idOf(gone)])
    const { code, out } = await run(['list'])
    assert.equal(code, 0)
    const lines = out.trimEnd().split('\n')
    assert.match(
      lines[0] ?? '',
      /^ID {8}HOLDER {2}STATE {10}EXPIRES {15}LAST USED {2}FROM {2}WITH {2}LAST REFUSED$/,
    )
    assert.equal(
      lines[1],
      `${idOf(token)}  agent   current        2199-01-31T00:00:00Z  never      -     -     never`,
    )
    assert.match(lines[2] ?? '', /not yet valid {2}never {17}never/)
    assert.match(lines[3] ?? '', /revoked/)
    assert.ok(!out.includes(digestOf(token)))

    const { tokens } = JSON.parse((await run(['list', '--json'])).out)
    assert.deepEqual(
      tokens.map((entry: { state: string }) => entry.state),
      ['current', 'not_yet_valid', 'revoked'],
    )
    assert.ok(tokens.every((entry: object) => !('sha256' in entry)))
    assert.deepEqual(tokens[0].scopes, ['logs', 'traces'])
    assert.equal(tokens[0].fingerprint, digestOf(token).slice(0, 8))
  })

  it('ends with 66 without a file, and with 65 with a broken one', async () => {
    const missing = await run(['list'])
    assert.equal(missing.code, 66)
    assert.match(missing.err, /no such file; tollgate token create makes it/)
    await writeFile(path, '{"tokens":[]}')
    assert.equal((await run(['list'])).code, 65)
  })
})

describe('token revoke', () => {
  it('withdraws the token at once, and keeps the first date when asked again', async () => {
    const [first, second] = [await created(), await created()]
    const { code, err } = await run(['revoke', idOf(first)])
    assert.equal(code, 0)
    assert.ok(err.startsWith(`Token ${idOf(first)} (agent) is revoked since `), err)
    assert.ok(!err.includes('No valid token is left'))
    const text = await readFile(path, 'utf8')
    const [one, two] = await recordsIn()
    assert.ok((one?.revokedAtMs ?? Number.POSITIVE_INFINITY) <= Date.now())
    assert.equal(two?.revokedAtMs, undefined)

    assert.equal((await run(['revoke', idOf(first)])).code, 0)
    assert.equal(await readFile(path, 'utf8'), text)
    const last = await run(['revoke', idOf(second), '--json'])
    assert.equal(JSON.parse(last.out).id, idOf(second))
    assert.match(last.err, /No valid token is left in the file/)
  })

  it('refuses an id that is not there, and a token instead of its id', async () => {
    const token = await created()
    const unknown = await run(['revoke', 'nobody'])
    assert.equal(unknown.code, 65)
    assert.match(unknown.err, /has no token with the ID "nobody"/)
    const whole = await run(['revoke', token])
    assert.equal(whole.code, 64)
    assert.ok(!whole.err.includes(token.slice(12)))
    await rm(path)
    assert.equal((await run(['revoke', 'nobody'])).code, 66)
    assert.deepEqual(await readdir(dir), [])
  })
})

describe('the file under the command', () => {
  const main = join(ROOT, 'src/main.ts')
  const create = (file: string, holder: string) =>
    runToEnd(process.execPath, [main, 'token', 'create', '--holder', holder, '--file', file])

  it('has all tokens of five processes at once', async () => {
    const names = ['one', 'two', 'three', 'four', 'five']
    const ends = await Promise.all(names.map((name) => create(path, name)))
    for (const { code, stderr } of ends) assert.equal(code, 0, stderr)
    const records = await recordsIn()
    assert.deepEqual(records.map(({ holder }) => holder).sort(), [...names].sort())
    assert.deepEqual(
      records.map(({ sha256 }) => sha256).sort(),
      ends.map(({ stdout }) => digestOf(stdout.trim())).sort(),
    )
    assert.deepEqual(await readdir(dir), ['tokens.json'])
  })

  it('is untouched when the disk is full, and the token is not shown', async (t) => {
    await created('--label', `note=${'x'.repeat(200)}`)
    const disk = join(dir, 'disk')
    await mkdir(disk)
    // A file system of one page more than the file, in a mount namespace of its own.
    const script = `set -e
      mount -t tmpfs -o size=8k tmpfs "$DISK"
      echo mounted
      cp "$SET" "$DISK/tokens.json"
      dd if=/dev/zero of="$DISK/ballast" bs=4096 count=8 2>/dev/null || true
      set +e
      "$NODE" --disable-warning=ExperimentalWarning "$MAIN" token create --holder late --file "$DISK/tokens.json"
      echo "exit $?"
      cmp "$SET" "$DISK/tokens.json" && echo same
      ls "$DISK"`
    const { stdout, stderr } = await runToEnd(
      'unshare',
      [process.getuid?.() === 0 ? '-m' : '-rm', 'sh', '-c', script],
      { env: { ...process.env, DISK: disk, SET: path, NODE: process.execPath, MAIN: main } },
    ).catch((error) => ({ stdout: '', stderr: String(error) }))
    if (!stdout.startsWith('mounted')) return cannotMount(t, stderr)
    assert.equal(stdout, 'mounted\nexit 74\nsame\nballast\ntokens.json')
    assert.match(stderr, /^tollgate token: cannot write .*tokens\.json: the disk is full$/m)
  })

  it('is untouched in a directory that cannot be written', async (t) => {
    await created()
    const before = await readFile(path, 'utf8')
    const script = `mount --bind "$DISK" "$DISK" && mount -o remount,ro,bind "$DISK" || exit
      echo mounted
      "$NODE" --disable-warning=ExperimentalWarning "$MAIN" token create --holder late --file "$DISK/tokens.json"
      echo "exit $?"`
    const { stdout, stderr } = await runToEnd(
      'unshare',
      [process.getuid?.() === 0 ? '-m' : '-rm', 'sh', '-c', script],
      { env: { ...process.env, DISK: dir, NODE: process.execPath, MAIN: main } },
    ).catch((error) => ({ stdout: '', stderr: String(error) }))
    if (!stdout.startsWith('mounted')) return cannotMount(t, stderr)
    assert.equal(stdout, 'mounted\nexit 73')
    assert.match(stderr, /^tollgate token: cannot write .*: the file system is read-only$/m)
    assert.equal(await readFile(path, 'utf8'), before)
  })
})

/** A test that needs a mount of its own is skipped where that is not allowed. */
function cannotMount(t: TestContext, why: string): void {
  if (process.env.CI === 'true') assert.fail(`cannot mount: ${why}`)
  t.skip(`SKIP: cannot mount a file system here: ${why}`)
}
