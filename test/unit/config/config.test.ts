import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, suite, test } from 'node:test'
import { inspect } from 'node:util'
import { parseConfig } from '../../../src/config/config.ts'
import { ConfigError } from '../../../src/config/config-error.ts'
import { OPTIONS } from '../../../src/config/options.ts'

const cwd = mkdtempSync(join(tmpdir(), 'tollgate-config-'))
after(() => rmSync(cwd, { recursive: true }))
const parse = (env: Record<string, string> = {}, ...argv: string[]) =>
  parseConfig(env, argv, { cwd })
const mistakesOf = (env: Record<string, string>, ...argv: string[]) => {
  try {
    parse(env, ...argv)
  } catch (error) {
    if (error instanceof ConfigError) return error.message
    throw error
  }
  return assert.fail('no mistake was found')
}
const COLLECTOR = { TOLLGATE_COLLECTOR_GRPC: 'http://collector' }

suite('defaults', () => {
  test('are what the design says', () => {
    const config = parse()
    assert.deepEqual(config.grpcListen, { host: '::', port: 4317 })
    assert.deepEqual(config.httpListen, { host: '::', port: 4318 })
    assert.deepEqual(config.adminListen, { host: '127.0.0.1', port: 9464 })
    assert.deepEqual(config.peerRequests, { perSecond: 100, burst: 200 })
    assert.equal(config.peerBytes, undefined)
    assert.equal(config.tokenRequests, undefined)
    assert.equal(config.banMs, 3_600_000)
    assert.deepEqual(config.banExempt, ['loopback', 'private'])
    assert.equal(config.maxBodyBytes, 64 * 2 ** 20)
    assert.equal(config.stateDir, join(cwd, '.tollgate'))
    assert.deepEqual(config.warnings, [])
  })

  test('are frozen, lists and parts too', () => {
    const config = parse({ ...COLLECTOR, TOLLGATE_BYTES: '1MB/s' })
    for (const part of [config, ...Object.values(config)]) assert.ok(Object.isFrozen(part))
  })

  test('every row has a sentence that ends and a name of its own', () => {
    const rows = Object.values(OPTIONS)
    assert.equal(new Set(rows.map(({ env }) => env)).size, rows.length)
    for (const { env, about } of rows) assert.match(about, /^[A-Z].*\.$/, env)
  })
})

suite('sources', () => {
  test('a flag goes before its variable, with a space or an equals sign', () => {
    const env = { TOLLGATE_MAX_BODY: '1MiB', TOLLGATE_MAX_HELD: '1' }
    const config = parse(env, '--max-body', '2MiB', '--max-held=2')
    assert.equal(config.maxBodyBytes, 2 * 2 ** 20)
    assert.equal(config.maxHeld, 2)
  })

  test('an empty variable counts as not set', () => {
    assert.equal(parse({ TOLLGATE_MAX_HELD: '' }).maxHeld, 1000)
  })

  test('a value is read from a file, without the line end', () => {
    writeFileSync(join(cwd, 'held'), '7\n')
    assert.equal(parse({ TOLLGATE_MAX_HELD_FILE: 'held' }).maxHeld, 7)
    assert.equal(parse({}, '--max-held-file', join(cwd, 'held')).maxHeld, 7)
  })

  test('a flag replaces a variable that names a file, which is then not read', () => {
    assert.equal(parse({ TOLLGATE_MAX_HELD_FILE: 'no-such-file' }, '--max-held=2').maxHeld, 2)
  })

  test('TOLLGATE_TOKENS_FILE is the token set and not the text of TOLLGATE_TOKENS', () => {
    const config = parse({ ...COLLECTOR, TOLLGATE_TOKENS_FILE: 'tokens.json' })
    assert.equal(config.tokensFile, join(cwd, 'tokens.json'))
    assert.equal(config.tokens, undefined)
  })

  test('what Kubernetes sets for a service called tollgate is nobody’s mistake', () => {
    parse({
      TOLLGATE_SERVICE_HOST: '10.96.0.1',
      TOLLGATE_SERVICE_PORT: '4317',
      TOLLGATE_SERVICE_PORT_GRPC: '4317',
      TOLLGATE_PORT: 'tcp://10.96.0.1:4317',
      TOLLGATE_PORT_4317_TCP: 'tcp://10.96.0.1:4317',
      TOLLGATE_PORT_4317_TCP_ADDR: '10.96.0.1',
      TOLLGATE_COLLECTOR_SERVICE_HOST: '10.96.0.2',
    })
  })

  test('mistakes on the command line are named as they were typed', () => {
    const message = mistakesOf(
      {},
      '--hodl',
      '8s',
      '--max-held',
      '--rate=1/s',
      '--rate=2/s',
      'stray',
      '--log-level=loud',
    )
    assert.deepEqual(message.split('\n'), [
      '--hodl: unknown option; did you mean --hold?',
      '--max-held: expected a value after it',
      '--rate: given twice',
      'argument 6: expected an option such as --max-body',
      '--log-level="loud": expected one of trace, debug, info, warn, error, fatal, silent',
    ])
  })
})

suite('secrets', () => {
  const env = { ...COLLECTOR, TOLLGATE_TOKENS: 'agent=hunter2hunter2hunter2' }

  test('do not show in the configuration', () => {
    const config = parse(env)
    assert.equal(config.tokens?.reveal(), env.TOLLGATE_TOKENS)
    for (const shown of [
      inspect(config, { depth: 9 }),
      JSON.stringify(config),
      `${config.tokens}`,
    ]) {
      assert.doesNotMatch(shown, /hunter2/)
    }
  })

  test('do not show in mistakes, wherever they ended up', () => {
    const message = mistakesOf(
      { TOLLGATE_TOKEN: env.TOLLGATE_TOKENS, TOLLGATE_COLLECTOR_GRPC: 'http://me:hunter2@c:1' },
      '--tokns',
      env.TOLLGATE_TOKENS,
      env.TOLLGATE_TOKENS,
    )
    assert.equal(message.split('\n').length, 4)
    assert.doesNotMatch(message, /hunter2/)
  })

  test('on the command line are warned of', () => {
    const { warnings } = parse(COLLECTOR, '--tokens', env.TOLLGATE_TOKENS)
    assert.equal(warnings.length, 1)
    assert.match(warnings[0] ?? '', /^--tokens: other users/)
  })
})

suite('values', () => {
  const durations = { '500ms': 500, '30s': 30_000, '1.5m': 90_000, '1min': 60_000, '1h': 3_600_000 }
  for (const [text, ms] of Object.entries(durations)) {
    test(`${text} is ${ms} ms`, () => {
      assert.equal(parse({ TOLLGATE_BODY_TIMEOUT: text }).bodyTimeoutMs, ms)
    })
  }

  const sizes = { '4096B': 4096, '2kB': 2000, '2KiB': 2048, '10MB': 1e7, '1.5MiB': 1_572_864 }
  for (const [text, bytes] of Object.entries(sizes)) {
    test(`${text} is ${bytes} bytes`, () => {
      assert.equal(parse({ TOLLGATE_MAX_BODY: text }).maxBodyBytes, bytes)
    })
  }

  test('rates are a second’s, whatever they are written in', () => {
    const config = parse({ TOLLGATE_RATE: '6000/min', TOLLGATE_TOKEN_RATE: '36/h' })
    assert.deepEqual(config.peerRequests, { perSecond: 100, burst: 200 })
    assert.deepEqual(config.tokenRequests, { perSecond: 0.01, burst: 1 })
  })

  test('a burst of bytes is one second’s worth and at least one message', () => {
    const config = parse({ TOLLGATE_BYTES: '1MB/s', TOLLGATE_TOKEN_BYTES: '1GB/s' })
    assert.deepEqual(config.peerBytes, { perSecond: 1e6, burst: 64 * 2 ** 20 })
    assert.deepEqual(config.tokenBytes, { perSecond: 1e9, burst: 1e9 })
  })

  test('off', () => {
    const off = Object.values(OPTIONS)
      .filter(({ kind }) => kind.form.endsWith('| off') && kind.form !== 'on | off')
      .map(({ env }) => [env, 'off'])
    const config = parse({ ...Object.fromEntries(off), TOLLGATE_GRPC_LISTEN: ':4317' })
    assert.equal(config.httpListen, undefined)
    assert.equal(config.adminListen, undefined)
    assert.equal(config.peerRequests, undefined)
    assert.equal(config.peerInFlight, undefined)
    assert.equal(config.banStrikes, undefined)
    assert.equal(config.holdMs, 0)
  })

  test('addresses to listen on', () => {
    const config = parse({
      TOLLGATE_GRPC_LISTEN: '[2001:db8::1]:0',
      TOLLGATE_HTTP_LISTEN: ':8080',
      TOLLGATE_ADMIN_LISTEN: 'localhost:1',
    })
    assert.deepEqual(config.grpcListen, { host: '2001:db8::1', port: 0 })
    assert.deepEqual(config.httpListen, { host: '::', port: 8080 })
    assert.deepEqual(config.adminListen, { host: 'localhost', port: 1 })
  })

  test('collectors', () => {
    const config = parse({
      TOLLGATE_COLLECTOR_GRPC: 'http://one, https://[::1]:443/',
      TOLLGATE_COLLECTOR_HTTP: 'HTTPS://two:80/a/b/',
    })
    assert.deepEqual(config.collectorGrpc, [
      { protocol: 'http:', host: 'one', port: 4317, origin: 'http://one:4317', path: '' },
      { protocol: 'https:', host: '::1', port: 443, origin: 'https://[::1]:443', path: '' },
    ])
    assert.deepEqual(config.collectorHttp, [
      { protocol: 'https:', host: 'two', port: 80, origin: 'https://two:80', path: '/a/b' },
    ])
  })

  test('lists', () => {
    const config = parse({
      TOLLGATE_FORWARD_HEADERS: 'X-Tenant,, baggage ',
      TOLLGATE_TRUSTED_PROXIES: '10.0.0.0/8, ::1',
      TOLLGATE_BAN_EXEMPT: 'none',
    })
    assert.deepEqual(config.forwardHeaders, ['x-tenant', 'baggage'])
    assert.deepEqual(config.trustedProxies, ['10.0.0.0/8', '::1'])
    assert.deepEqual(config.banExempt, [])
  })
})

suite('options together', () => {
  test('neither collector nor tokens is the sandbox', () => {
    assert.equal(parse().isSandbox, true)
    assert.equal(parse(COLLECTOR).isSandbox, false)
  })

  test('without TLS behind a proxy, and on loopback', () => {
    parse({ TOLLGATE_TLS: 'off', TOLLGATE_TRUSTED_PROXIES: '10.0.0.0/8' })
    parse({
      TOLLGATE_TLS: 'off',
      TOLLGATE_GRPC_LISTEN: '127.0.0.1:4317',
      TOLLGATE_HTTP_LISTEN: 'localhost:4318',
    })
  })

  test('what is probably not meant is warned of', () => {
    const texts = [
      parse({ TOLLGATE_HOLD: '10s' }),
      parse({ TOLLGATE_TLS_CLIENT_CA: 'ca.pem' }),
      parse({
        TOLLGATE_TLS: 'off',
        TOLLGATE_TRUSTED_PROXIES: '10.0.0.1',
        TOLLGATE_TLS_CERT: 'a',
        TOLLGATE_TLS_KEY: 'b',
      }),
    ].flatMap(({ warnings }) => warnings)
    assert.equal(texts.length, 3)
    assert.match(texts[0] ?? '', /^TOLLGATE_HOLD is not shorter than TOLLGATE_DRAIN_TIME/)
    assert.match(texts[1] ?? '', /^TOLLGATE_TLS_CLIENT_CA is not used/)
    assert.match(texts[2] ?? '', /^TOLLGATE_TLS is off/)
  })
})
