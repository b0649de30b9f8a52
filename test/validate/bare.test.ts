/**
 * `npm run validate` against bare processes: all of it passes on a good set-up, a server that is
 * somebody's gets a handful of requests, and on set-ups that are broken on purpose the rows fail that
 * have to. Figures of latency are printed and not judged here: the machine does other work besides.
 */
import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { describe, type TestContext, test } from 'node:test'
import { type BareFaults, startBare } from '../../docker/validate/bare.ts'
import type { Row } from '../../docker/validate/row.ts'
import { chosen, runChecks } from '../../docker/validate/suite.ts'
import type { Target } from '../../docker/validate/target.ts'
import { startBrokenFront } from '../support/broken-front.ts'
import { runToEnd } from '../support/child.ts'
import { sumOf } from '../support/exposition.ts'
import { readMetrics } from '../support/metrics.ts'
import { hasTools, ROOT } from '../support/tools.ts'

const NEEDED = ['otelcol', 'prometheus', 'openssl'] as const
const ALL_OF_IT = { ownsServer: true, mayLoad: true, mayBan: true }

async function validate(args: readonly string[], timeoutMs: number) {
  const main = join(ROOT, 'docker/validate/main.ts')
  const { code, stdout, stderr } = await runToEnd(
    process.execPath,
    ['--disable-warning=ExperimentalWarning', main, '--json', ...args],
    { cwd: ROOT, timeoutMs },
  )
  assert.ok(stdout.startsWith('{'), stderr)
  const { rows } = JSON.parse(stdout) as { readonly rows: readonly Row[] }
  return { code, rows, plan: stderr }
}

async function bare(t: TestContext, faults: BareFaults = {}): Promise<Target> {
  const running = await startBare(faults)
  t.after(() => running[Symbol.asyncDispose]())
  return running.target
}

/** Rows of these checks that did not pass, as `check: what was expected`. */
async function failed(target: Target, ...only: string[]): Promise<readonly string[]> {
  const rows = await runChecks(chosen({ only, skip: [] }), target, ALL_OF_IT)
  return rows
    .filter(({ status }) => status === 'fail')
    .map(({ check, expected, figure }) => `${check}: ${expected}: ${figure}`)
}

function assertEach(found: readonly string[], ...wanted: readonly RegExp[]): void {
  assert.equal(found.length, wanted.length, found.join('\n'))
  for (const pattern of wanted)
    assert.ok(
      found.some((line) => pattern.test(line)),
      `${pattern}:\n${found.join('\n')}`,
    )
}

// Each has a set-up of its own, and waits most of the time.
describe('npm run validate', { concurrency: 2 }, () => {
  test('everything passes on a good set-up', { timeout: 400_000 }, async (t) => {
    if (!hasTools(t, ...NEEDED, 'nmap', 'siege', 'ghz', 'testssl')) return
    const { rows, plan } = await validate(['--bare', '--strict'], 390_000)
    const isTimed = ({ check }: Row) => check === 'load'
    const others = rows.filter((row) => !isTimed(row) && row.status !== 'pass')
    const isOldTestssl = ({ check, status }: Row) => check === 'testssl' && status === 'skip'
    assert.deepEqual(
      others.filter((row) => !isOldTestssl(row)),
      [],
    )
    const timed = rows.filter(isTimed)
    for (const { expected, figure } of timed) {
      t.diagnostic(`${expected}: ${figure}`)
      assert.match(figure, /^(?:p95 [\d.]+ ms at \d+ requests\/s|-?[\d.]+ ms \(.*\))$/)
    }
    assert.equal(timed.length, 3)
    assert.ok(rows.length > 40, `${rows.length} rows`)
    for (const line of [
      'rate: sends from one address',
      'brute force: tries a wrong token up to 80 times',
    ])
      assert.ok(plan.includes(line), plan)
  })

  test('somebody’s server gets a handful of requests and no ban, and the commands can be run by hand', {
    timeout: 120_000,
  }, async (t) => {
    if (!hasTools(t, ...NEEDED, 'curl')) return
    const target = await bare(t)
    const file = join(dirname(target.ca ?? ''), 'token')
    await writeFile(file, `${target.token}\n`)
    const { grpcPort, httpPort, ca = '', admin = '' } = target
    const before = sumOf(await readMetrics(new URL(admin).host), 'tollgate_arrivals_total')
    const { code, rows } = await validate(
      [
        ...['--host', 'localhost', '--connect', '127.0.0.2', '--connect', '::1', '--ca', ca],
        ...['--grpc-port', String(grpcPort), '--http-port', String(httpPort)],
        ...['--token-file', file, '--admin', admin],
      ],
      100_000,
    )
    const notPassed = rows.filter(({ status }) => status !== 'pass')
    // The certificate of the set-up is made for two days: fewer than a server should have left.
    assert.deepEqual(
      notPassed.filter(({ status }) => status === 'fail').map(({ expected }) => expected),
      ['the certificate is good for 14 days or more'],
    )
    assert.equal(code, 1)
    assert.deepEqual(
      new Set(notPassed.filter(({ status }) => status === 'skip').map(({ check }) => check)),
      new Set([
        'ports',
        'testssl',
        'rate',
        'load',
        'brute force',
        'arrival',
        'resources',
        'backup',
      ]),
    )
    const page = await readMetrics(new URL(admin).host)
    const made = sumOf(page, 'tollgate_arrivals_total') - before
    assert.ok(made > 10 && made < 30, `${made} requests`)
    assert.equal(sumOf(page, 'tollgate_bans'), 0)

    const commands = new Set(
      rows.map(({ byHand }) => byHand).filter((each) => /^(?:curl|openssl)/.test(each)),
    )
    assert.ok(commands.size > 10, `${commands.size} commands`)
    for (const command of commands) {
      const env = { ...process.env, TOKEN: target.token }
      const { code, stdout, stderr } = await runToEnd('bash', ['-c', command], { env, cwd: ROOT })
      // Old versions of TLS are refused, which openssl ends with 1 for.
      assert.equal(code, / -tls1/.test(command) ? 1 : 0, `${command}\n${stdout}\n${stderr}`)
    }
  })

  test('open ports of the inside are found', { timeout: 120_000 }, async (t) => {
    if (!hasTools(t, ...NEEDED, 'nmap')) return
    const target = await bare(t, { collectorHost: '0.0.0.0', adminHost: '0.0.0.0' })
    const found = await failed(target, 'ports')
    const portsIn = (line = '') =>
      [...line.replace(/^.*also open: /, '').matchAll(/(\d+) \(/g)].map(([, port]) => Number(port))
    const [admin = 0, grpc = 0, http = 0] = target.triedPorts as readonly number[]
    assertEach(found, /open over IPv4: also open/, /open over IPv6: also open/)
    assert.deepEqual(new Set(portsIn(found[0])), new Set([admin, grpc, http]))
    // To Go, which the collector is written in, 0.0.0.0 means the addresses of IPv6 as well.
    assert.deepEqual(new Set(portsIn(found[1])), new Set([grpc, http]))
  })

  test('limits that are off are found', { timeout: 120_000 }, async (t) => {
    if (!hasTools(t, ...NEEDED, 'siege')) return
    const gateway = {
      TOLLGATE_RATE: 'off',
      TOLLGATE_BAN_STRIKES: 'off',
      TOLLGATE_MAX_HELD: '10000',
    }
    const target = await bare(t, { gateway })
    assertEach(
      await failed(target, 'rate', 'brute force'),
      /^rate: an address is held to 100\/s within 5 %: \d{3,}/,
      /^rate: what is refused over gRPC can be retried: all 180 were taken/,
      /^rate: what is refused over HTTP\/2 can be retried: all 180 were taken/,
      /^brute force: banned after 5 tries: 80 tries were answered, 0 refused/,
      /^brute force: the ban can be lifted: no address is banned/,
    )
  })

  test('another rate, and another number of strikes than was promised, are found', async (t) => {
    if (!hasTools(t, ...NEEDED, 'siege')) return
    const gateway = { TOLLGATE_RATE: '90/s', TOLLGATE_BAN_STRIKES: '20' }
    const target = await bare(t, { gateway })
    const found = await failed(target, 'rate', 'brute force')
    assertEach(
      found,
      /^rate: an address is held to 100\/s within 5 %: [89]\d/,
      /^brute force: banned/,
    )
  })

  test('a door without a lock in the gateway’s place is found', { timeout: 120_000 }, async (t) => {
    if (!hasTools(t, ...NEEDED, 'nginx', 'siege')) return
    const target = await bare(t)
    const { open, selfSigned, expired } = await startBrokenFront(t, target)

    await t.test('it speaks TLS 1.0 or 1.1', async () => {
      assertEach(await failed(open, 'tls'), /^tls: TLS 1\.1 is refused: a handshake came about/)
    })

    await t.test('it asks for no token, redirects, and shows metrics', async () => {
      assertEach(
        await failed(open, 'answers'),
        /^answers: without a token: .*: HTTP\/1\.1: 200/,
        /^answers: without a token: .*: gRPC: gRPC 0/,
        /^answers: no answer is a redirect: .*308/,
        /^answers: \/metrics is not served .*: \d+\/metrics: 200/,
        /^answers: no answer tells an address of the inside/,
      )
    })

    await t.test('it lets anybody in, for as long as he likes', async () => {
      const found = await failed(open, 'brute force')
      assertEach(found, /: 16 × 200/, /banned after 5 tries/, /no address is banned/)
    })

    await t.test('a certificate that nobody has signed', async () => {
      const found = await failed(selfSigned, 'tls', 'reach')
      for (const wanted of [/^tls: .*ALPN h2: .*self-signed/, /^reach: .*self-signed/])
        assert.ok(
          found.some((line) => wanted.test(line)),
          found.join('\n'),
        )
    })

    await t.test('a certificate whose end has come', async () => {
      const found = await failed(expired, 'tls')
      for (const wanted of [/^tls: .*ALPN h2: .*expired/, /^tls: the certificate is good for/])
        assert.ok(
          found.some((line) => wanted.test(line)),
          found.join('\n'),
        )
    })

    await t.test('a certificate for another name', async () => {
      const found = await failed({ ...target, host: 'telemetry.example.com' }, 'tls', 'reach')
      assert.ok(
        found.some((line) => /^tls: .*ALPN h2: .*hostname mismatch/.test(line)),
        found.join('\n'),
      )
      assert.ok(
        found.some((line) => /^reach: .*altnames/.test(line)),
        found.join('\n'),
      )
    })

    await t.test('a server that is not there', async () => {
      const nowhere = { ...target, addresses: ['127.0.0.9'], grpcPort: 1, httpPort: 1 }
      const rows = await runChecks(
        chosen({ only: ['reach', 'tls', 'answers', 'arrival'], skip: [] }),
        { ...nowhere, inside: undefined },
        ALL_OF_IT,
      )
      assert.deepEqual(
        rows.filter(({ status }) => status === 'pass'),
        [],
      )
    })
  })
})
