import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { type AddressInfo, createServer as createTcpServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, suite, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { dispatch } from '../../../src/commands/dispatch.ts'
import { type Issued, issueCa, issueServer } from '../../../src/tls/issue.ts'

const root = mkdtempSync(join(tmpdir(), 'tollgate-commands-'))
after(() => rmSync(root, { recursive: true }))

/** Runs a command line inside this process. */
async function run(argv: readonly string[], env: Readonly<Record<string, string>> = {}) {
  let [out, err] = ['', '']
  const io = {
    stdout: { write: (text: string) => (out += text) },
    stderr: { write: (text: string) => (err += text) },
    stdin: (async function* () {})(),
    env: { TOLLGATE_STATE_DIR: join(root, 'state'), ...env },
  }
  return { code: await dispatch(argv, io), out, err }
}

/** Serves on a free port while `use` runs. */
async function withServer(
  status: number,
  body: unknown,
  use: (port: number) => Promise<void>,
): Promise<void> {
  const server = createServer((request, response) => {
    request.resume()
    response.writeHead(status, { connection: 'close' }).end(JSON.stringify(body))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  try {
    await use((server.address() as AddressInfo).port)
  } finally {
    server.close()
  }
}

suite('the command line', () => {
  for (const argv of [['help'], ['--help'], ['serve', '-h'], ['--max-body', '1MiB', '--help']]) {
    test(`${argv.join(' ')} shows commands and options`, async () => {
      const { code, out } = await run(argv)
      assert.equal(code, 0)
      assert.match(out, /tollgate healthcheck/)
      assert.match(out, /--max-body size {2}\(64MiB\)/)
    })
  }

  test('commands explain themselves', async () => {
    for (const argv of [
      ['help', 'bans'],
      ['bans', '--help'],
    ]) {
      assert.match((await run(argv)).out, /tollgate bans lift ADDRESS/)
    }
  })

  for (const argv of [['version'], ['--version'], ['-v']]) {
    test(`${argv} shows the version`, async () => {
      assert.match((await run(argv)).out, /^tollgate \d+\.\d+\.\d+ \(Node\.js/)
    })
  }

  test('an unknown command is answered with the nearest', async () => {
    const { code, err } = await run(['tokn', 'list'])
    assert.equal(code, 64)
    assert.equal(err, 'tollgate: unknown command "tokn"; did you mean token?\n')
    assert.match((await run(['constructor'])).err, /see tollgate help/)
  })

  test('all mistakes of the configuration, each on its line', async () => {
    const { code, err } = await run(['--hodl', '8s'], { TOLLGATE_RATE: 'many' })
    assert.equal(code, 64)
    assert.match(err, /^tollgate: --hodl: .*hold\?\ntollgate: TOLLGATE_RATE="many": .*\n$/)
  })

  test('a port that is taken', async () => {
    const taken = createTcpServer()
    await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve))
    const { port } = taken.address() as AddressInfo
    try {
      const { code, err } = await run(['--log-level', 'silent'], {
        TOLLGATE_GRPC_LISTEN: `127.0.0.1:${port}`,
        TOLLGATE_HTTP_LISTEN: 'off',
        TOLLGATE_ADMIN_LISTEN: 'off',
      })
      assert.equal(code, 69)
      assert.match(
        err,
        new RegExp(`^tollgate: 127\\.0\\.0\\.1:${port} is taken by another program`),
      )
      assert.doesNotMatch(err, /\n\s+at /)
    } finally {
      taken.close()
    }
  })

  test('a state directory that cannot be made', async () => {
    writeFileSync(join(root, 'file'), '')
    const { code, err } = await run(['--parent', 'off', '--state-dir', join(root, 'file', 'state')])
    assert.equal(code, 73)
    assert.match(err, /^tollgate: .*file\/state: cannot be made: ENOTDIR/)
  })

  test('as a process, piped into a reader that leaves', () => {
    const main = fileURLToPath(new URL('../../../src/main.ts', import.meta.url))
    const { stdout, stderr, status } = spawnSync(
      'sh',
      ['-c', '"$0" "$1" help | head -n 1; "$0" "$1" nonsense', process.execPath, main],
      { encoding: 'utf8' },
    )
    assert.equal(stdout, 'Tollgate: the front door of an OpenTelemetry Collector\n')
    assert.match(
      stderr,
      /^(\(node:.*ExperimentalWarning.*\n.*\n)*tollgate: unknown command "nonsense"/,
    )
    assert.equal(status, 64)
  })
})

suite('healthcheck', () => {
  const check = (port: number) =>
    run(['healthcheck'], { TOLLGATE_ADMIN_LISTEN: `127.0.0.1:${port}` })

  test('ready', () =>
    withServer(200, { status: 'ready' }, async (port) => {
      assert.deepEqual(await check(port), { code: 0, out: 'ready\n', err: '' })
    }))

  test('not ready, with the reasons', async () => {
    const conditions = [
      { name: 'a', ok: true, words: 'fine' },
      { name: 'b', ok: false, words: 'the collector is away' },
    ]
    await withServer(503, { conditions }, async (port) => {
      const { code, err } = await check(port)
      assert.deepEqual([code, err], [1, 'not ready: the collector is away\n'])
    })
  })

  test('nobody there', async () => {
    let free = 0
    await withServer(200, {}, async (port) => {
      free = port
    })
    const { code, err } = await check(free)
    assert.equal(code, 1)
    assert.match(err, /does not answer: no gateway listens there/)
  })

  test('the admin port is off', async () => {
    const { code, err } = await run(['healthcheck'], { TOLLGATE_ADMIN_LISTEN: 'off' })
    assert.equal(code, 1)
    assert.match(err, /TOLLGATE_ADMIN_LISTEN is off/)
  })
})

suite('check', () => {
  const TOKENS = { TOLLGATE_TOKENS: 'agent=hunter2hunter2hunter2' }
  const writePair = ({ cert, key }: Issued) => {
    writeFileSync(join(root, 'tls.crt'), cert)
    writeFileSync(join(root, 'tls.key'), key)
    return { TOLLGATE_TLS_CERT: join(root, 'tls.crt'), TOLLGATE_TLS_KEY: join(root, 'tls.key') }
  }

  test('all is well', async () => {
    const ca = await issueCa('test CA', Date.now())
    const pair = writePair(await issueServer(ca, ['gate.example'], Date.now()))
    await withServer(200, {}, async (port) => {
      const { code, out } = await run(['check'], {
        ...TOKENS,
        ...pair,
        TOLLGATE_COLLECTOR_HTTP: `http://127.0.0.1:${port}/otlp`,
      })
      assert.equal(code, 0, out)
      assert.match(out, /^ok {4}certificate: for DNS:gate\.example, valid until .* \(39\d days\)$/m)
      assert.match(out, /^ok {4}tokens: 1 current \(TOLLGATE_TOKENS\)$/m)
      assert.match(
        out,
        /^ok {4}collector http:\/\/127\.0\.0\.1:\d+\/otlp \(HTTP\): takes exports$/m,
      )
      assert.doesNotMatch(out, /hunter2/)
    })
  })

  test('every trouble is told, not only the first', async () => {
    const ca = await issueCa('test CA', Date.now() - 400 * 86_400_000)
    const pair = writePair(await issueServer(ca, ['gate.example'], Date.now() - 400 * 86_400_000))
    await withServer(404, {}, async (port) => {
      const { code, out } = await run(['check', '--send'], {
        ...pair,
        TOLLGATE_TOKENS_FILE: join(root, 'no-tokens.json'),
        TOLLGATE_COLLECTOR_HTTP: `http://127.0.0.1:${port}`,
        TOLLGATE_COLLECTOR_GRPC: 'http://collector.invalid',
      })
      assert.equal(code, 1)
      assert.match(out, /^BAD {3}certificate: for DNS:gate\.example, .* \(expired\)$/m)
      assert.match(out, /^BAD {3}tokens: there is no file .*no-tokens\.json$/m)
      assert.match(out, /^BAD {3}collector .* \(HTTP\): answers 404: there is no OTLP\/HTTP/m)
      assert.match(out, /^BAD {3}collector http:\/\/collector\.invalid:4317 \(gRPC\): /m)
      assert.match(out, /^BAD {3}front door: no token in plain to send with/m)
    })
  })

  test('--send without its value is a mistake', async () => {
    const { code, err } = await run(['check', '--send-ca'])
    assert.equal(code, 64)
    assert.match(err, /--send-ca/)
  })
})
