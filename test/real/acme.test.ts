/** Certificates by ACME, from Pebble, by a gateway that is a process of its own. */
import assert from 'node:assert/strict'
import { readFileSync, statSync } from 'node:fs'
import { readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { issueCa, issueServer } from '../../src/tls/issue.ts'
import {
  acmeEnv,
  CHALLENGES,
  cert,
  clientOf,
  readyWords,
  servedBy,
  shakeHands,
  startAcmeGateway,
} from '../support/acme-gateway.ts'
import { assertAccepted } from '../support/answers.ts'
import { eventually } from '../support/eventually.ts'
import { sumOf } from '../support/exposition.ts'
import {
  BLOCKED_NAME,
  NAME,
  type Pebble,
  type PebbleOptions,
  startPebble,
} from '../support/pebble.ts'
import { runTollgate } from '../support/run-command.ts'
import type { Gateway } from '../support/spawn-gateway.ts'
import { hasTools } from '../support/tools.ts'

const OTHER = 'b.example.test'

async function pebbleFor(t: TestContext, options?: PebbleOptions): Promise<Pebble | undefined> {
  return hasTools(t, 'pebble', 'pebble-challtestsrv') ? await startPebble(t, options) : undefined
}

for (const challenge of CHALLENGES) {
  test(`${challenge}: the first certificate, for two names, is served to who trusts its root`, async (t) => {
    const pebble = await pebbleFor(t)
    if (pebble === undefined) return
    const names = { TOLLGATE_ACME_DOMAINS: `${NAME},${OTHER}` }
    await using gateway = await startAcmeGateway(pebble, challenge, names)
    await gateway.logged('certificate_issued', 1)
    assert.ok(gateway.log().some(({ event }) => event === 'certificate_stand_in'))
    const ca = await pebble.root()
    for (const address of [gateway.grpc, gateway.http]) {
      for (const servername of [NAME, OTHER]) {
        const socket = await shakeHands(address, { ca, servername, ALPNProtocols: ['h2'] })
        assert.equal(socket.alpnProtocol, 'h2')
        socket.destroy()
      }
    }
    for (const name of ['account.json', 'certificate.pem', 'state.json'])
      assert.equal(statSync(join(gateway.folder, 'acme', name)).mode & 0o777, 0o600, name)
    const page = await gateway.metrics()
    assert.equal(sumOf(page, 'tollgate_certificate_last_renewal_success'), 1)
    assert.equal(sumOf(page, 'tollgate_certificate_stand_in'), 0)
    const leftDays =
      sumOf(page, 'tollgate_certificate_next_renewal_seconds') / 86_400 - Date.now() / 86_400_000
    assert.ok(leftDays > 55 && leftDays < 65, `${leftDays} days`)
    assert.ok(!gateway.output().includes('PRIVATE'))
    // Nobody is answered who comes with a challenge's protocol while none waits.
    await assert.rejects(shakeHands(gateway.http, { ca, ALPNProtocols: ['acme-tls/1'] }))
  })
}

test('half of all nonces rejected, and a name that is proved already', async (t) => {
  const pebble = await pebbleFor(t, { nonceReject: 50, authorizationReuse: 100 })
  if (pebble === undefined) return
  await using gateway = await startAcmeGateway(pebble, 'http-01')
  await gateway.logged('certificate_issued', 1)
  for (let round = 0; round < 3; round += 1) {
    const { code, stderr } = await cert(gateway, 'renew', '--force')
    assert.equal(code, 0, stderr)
  }
  assert.equal(pebble.lines('set VALID by completed challenge').length, 1)
  // Each of these is sent once for a certificate, unless a nonce was rejected.
  const once = ['/order-plz', '/finalize-order/', '/certZ/']
  const sent = once.flatMap((path) => pebble.lines(`POST ${path} `))
  assert.ok(sent.length > once.length * 4, sent.join('\n'))
})

test('status in words and as JSON; what is not due is not renewed without force', async (t) => {
  const pebble = await pebbleFor(t)
  if (pebble === undefined) return
  await using gateway = await startAcmeGateway(pebble, 'tls-alpn-01')
  await gateway.logged('certificate_issued', 1)
  const text = await cert(gateway, 'status')
  assert.equal(text.code, 0, text.stderr)
  assert.match(text.stdout, new RegExp(`^Names +${NAME}$`, 'm'))
  assert.match(text.stdout, /^Issuer +CN=Pebble Intermediate CA/m)
  assert.match(text.stdout, /^Not after +2\S+ \(in 89d 23h\)$/m)
  assert.match(text.stdout, /^Next +2\S+ \(in (?:5\d|6\d)d \d+h\)$/m)
  const json = JSON.parse((await cert(gateway, 'status', '--json')).stdout)
  assert.deepEqual(json.certificates[0].names, [`DNS:${NAME}`])
  assert.equal(json.acme.isStandIn, false)
  assert.equal(json.acme.lastFailure, null)
  const checked = await runTollgate(['check'], {
    ...acmeEnv(pebble, 'tls-alpn-01'),
    TOLLGATE_STATE_DIR: gateway.folder,
  })
  assert.equal(checked.stderr, '')
  assert.match(checked.stdout, new RegExp(`^(?:ok|note) +certificate: for DNS:${NAME}`, 'm'))
  const before = await servedBy(gateway.grpc)
  const unforced = await cert(gateway, 'renew')
  assert.match(unforced.stdout, /not due yet/)
  assert.equal(await servedBy(gateway.grpc), before)
  const forced = await cert(gateway, 'renew', '--force')
  assert.equal(forced.stderr, '')
  assert.match(forced.stdout, /There is a new certificate/)
  // The command answers when new connections get it.
  assert.notEqual(await servedBy(gateway.grpc), before)
})

test('a restart keeps certificate and account, and asks for nothing', async (t) => {
  const pebble = await pebbleFor(t)
  if (pebble === undefined) return
  await using gateway = await startAcmeGateway(pebble, 'http-01')
  await gateway.logged('certificate_issued', 1)
  const before = await servedBy(gateway.grpc)
  const [accounts, orders] = ['accounts in memory', 'Added order'].map((words) => {
    return () => pebble.lines(words).length
  })
  assert.deepEqual([accounts?.(), orders?.()], [1, 1])
  await gateway.stop()
  await gateway.start()
  assert.equal(await servedBy(gateway.grpc), before)
  assert.match((await cert(gateway, 'renew')).stdout, /not due/)
  assert.equal(orders?.(), 1)
  assert.equal((await cert(gateway, 'renew', '--force')).code, 0)
  assert.deepEqual([accounts?.(), orders?.()], [1, 2])
  assert.equal(pebble.lines('is a replacement of').length, 1)
})

test('a directory that has forgotten the account gets the same key again', async (t) => {
  const pebble = await pebbleFor(t)
  if (pebble === undefined) return
  await using gateway = await startAcmeGateway(pebble, 'http-01')
  await gateway.logged('certificate_issued', 1)
  const keyOf = () =>
    JSON.parse(readFileSync(join(gateway.folder, 'acme/account.json'), 'utf8')).accounts[0].jwk
  const before = keyOf()
  await pebble.stop()
  await pebble.start()
  const { code, stderr } = await cert(gateway, 'renew', '--force')
  assert.equal(code, 0, stderr)
  assert.deepEqual(keyOf(), before)
})

test('a certificate that expired while nobody ran is not served again, and a new one is ordered', async (t) => {
  const pebble = await pebbleFor(t)
  if (pebble === undefined) return
  await using gateway = await startAcmeGateway(pebble, 'tls-alpn-01')
  await gateway.logged('certificate_issued', 1)
  await gateway.stop()
  const path = join(gateway.folder, 'acme/certificate.pem')
  const longAgo = Date.now() - 500 * 86_400_000
  const { cert: pem, key } = await issueServer(await issueCa('old', longAgo), [NAME], longAgo)
  await writeFile(path, `ACME-Directory: ${pebble.directory}\n${key}${pem}`)
  await gateway.start()
  await gateway.logged('certificate_issued', 1)
  const ca = await pebble.root()
  const socket = await shakeHands(gateway.grpc, { ca })
  socket.destroy()
})

test('a short life: it renews itself, and live connections go on', async (t) => {
  const pebble = await pebbleFor(t, { lifeSeconds: 12 })
  if (pebble === undefined) return
  await using gateway = await startAcmeGateway(pebble, 'http-01')
  await gateway.logged('certificate_issued', 1)
  const ca = await pebble.root()
  const live = clientOf(gateway, 'gRPC', ca)
  assertAccepted(await live.send())
  const { socket } = live
  const before = socket?.getPeerX509Certificate()?.fingerprint256
  await eventually(async () => (await servedBy(gateway.grpc)) !== before, 'another certificate')
  const fresh = await shakeHands(gateway.grpc, { ca })
  fresh.destroy()
  assertAccepted(await live.send())
  assert.equal(live.socket, socket)
  live.close()
})

/** Each leads to words that a person can act on, in the log, the status and /readyz alike. */
const FAILURES: readonly {
  readonly name: string
  readonly pebble?: PebbleOptions
  readonly challenge?: (typeof CHALLENGES)[number]
  readonly env?: Readonly<Record<string, string>>
  readonly before?: (pebble: Pebble) => Promise<void>
  readonly says: RegExp
}[] = [
  {
    name: 'the port of HTTP-01 does not come here',
    env: { TOLLGATE_ACME_HTTP_LISTEN: '127.0.0.1:0' },
    says: /otlp\.example\.test: https:\/\/127\.0\.0\.1:\d+ does not accept the http-01 challenge: connection \(.*refused.*\); expected http:\/\/otlp\.example\.test\/.*TOLLGATE_ACME_HTTP_LISTEN/,
  },
  {
    name: 'the port of TLS-ALPN-01 does not come here',
    challenge: 'tls-alpn-01',
    env: { TOLLGATE_HTTP_LISTEN: '127.0.0.1:0' },
    says: /does not accept the tls-alpn-01 challenge: unauthorized \(Failed to connect to .*\); expected port 443 of otlp\.example\.test/,
  },
  {
    name: 'a name that does not resolve',
    before: (pebble) => pebble.breakDns(NAME),
    says: /otlp\.example\.test: .* does not accept the http-01 challenge: \w+ \(.*could not resolve.*\)/,
  },
  {
    name: 'a name that is not ours',
    env: { TOLLGATE_ACME_DOMAINS: BLOCKED_NAME },
    says: /was asked for a certificate for blocked\.example\.test and answered 40\d: rejectedIdentifier/,
  },
  {
    name: 'external account binding',
    pebble: { needsExternalAccount: true },
    says: /external account binding\), which is not supported; expected another directory/,
  },
  {
    name: 'a directory that is away',
    before: (pebble) => pebble.stop(),
    says: /https:\/\/127\.0\.0\.1:\d+ cannot be reached: .*ECONNREFUSED/,
  },
  {
    name: 'a directory whose CA nobody named',
    env: { TOLLGATE_ACME_CA: '' },
    says: /cannot be reached: .*certificate.*; a private directory needs its CA in TOLLGATE_ACME_CA/,
  },
  {
    name: 'a port for challenges that is taken',
    env: { TOLLGATE_GRPC_LISTEN: 'off' },
    says: /port for challenges, 127\.0\.0\.1:\d+, cannot be opened: another program has it/,
  },
]

for (const { name, says, ...given } of FAILURES) {
  test(`told in words: ${name}`, async (t) => {
    const pebble = await pebbleFor(t, given.pebble)
    if (pebble === undefined) return
    await given.before?.(pebble)
    // Where the gateway's own port is in the way, it is the other program.
    const taken: Readonly<Record<string, string>> = name.includes('taken')
      ? {
          TOLLGATE_HTTP_LISTEN: `127.0.0.1:${pebble.httpPort}`,
          TOLLGATE_GRPC_LISTEN: '127.0.0.1:0',
        }
      : {}
    const env = { ...given.env, ...taken }
    await using gateway = await startAcmeGateway(pebble, given.challenge ?? 'http-01', env)
    await gateway.logged('certificate_refused', 1)
    await assertTold(gateway, says)
  })
}

async function assertTold(gateway: Gateway, says: RegExp): Promise<void> {
  const line = gateway.log().find(({ event }) => event === 'certificate_refused')
  assert.match(String(line?.msg), says)
  assert.match(String(line?.msg), /The next attempt is on 2\S+Z; once the reason is gone/)
  const { isReady, words } = await readyWords(gateway)
  assert.ok(isReady)
  assert.match(words, /a development certificate stands in until/)
  assert.match(words, says)
  const { stdout } = await cert(gateway, 'status')
  assert.match(stdout, /^The certificate above stands in/m)
  assert.match(stdout, says)
  const page = await gateway.metrics()
  assert.equal(sumOf(page, 'tollgate_certificate_last_renewal_success'), 0)
  assert.equal(sumOf(page, 'tollgate_certificate_stand_in'), 1)
}

test('what failed is tried again by hand once its reason is gone, and a restart does not hurry it', async (t) => {
  const pebble = await pebbleFor(t)
  if (pebble === undefined) return
  await pebble.stop()
  await using gateway = await startAcmeGateway(pebble, 'http-01')
  await gateway.logged('certificate_refused', 1)
  const nextAttempt = async () => {
    const { stdout } = await cert(gateway, 'status', '--json')
    return (JSON.parse(stdout) as { acme: { nextAttempt: string } }).acme.nextAttempt
  }
  const before = await nextAttempt()
  await gateway.stop()
  await pebble.start()
  await gateway.start()
  assert.equal(await nextAttempt(), before)
  assert.equal(pebble.lines('/order-plz').length, 0)
  const { code, stderr } = await cert(gateway, 'renew', '--force')
  assert.equal(code, 0, stderr)
  assert.doesNotMatch((await cert(gateway, 'status')).stdout, /Failed|stands in/)
})

test('an account that is damaged is named, and removing it helps', async (t) => {
  const pebble = await pebbleFor(t)
  if (pebble === undefined) return
  await using gateway = await startAcmeGateway(pebble, 'http-01')
  await gateway.logged('certificate_issued', 1)
  const path = join(gateway.folder, 'acme/account.json')
  await writeFile(path, '{"accounts":[{"directory":"x","jwk":{"d":"geheim"}}]}')
  const { code, stderr } = await cert(gateway, 'renew', '--force')
  assert.equal(code, 70)
  assert.match(stderr, /account\.json is damaged; .*remove it for a new account/)
  assert.ok(!gateway.output().includes('geheim'))
  await rm(path)
  assert.equal((await cert(gateway, 'renew', '--force')).code, 0)
  assert.match(await readFile(path, 'utf8'), /"accounts"/)
})

test('without ACME, renew says who renews', async (t) => {
  const pebble = await pebbleFor(t)
  if (pebble === undefined) return
  const files = {
    TOLLGATE_ACME: '',
    TOLLGATE_ACME_CA: '',
    TOLLGATE_ACME_DOMAINS: '',
    TOLLGATE_ACME_TERMS: '',
  }
  await using gateway = await startAcmeGateway(pebble, 'http-01', files)
  const { code, stderr } = await cert(gateway, 'renew')
  assert.equal(code, 70)
  assert.match(stderr, /TOLLGATE_ACME is off/)
  assert.match((await cert(gateway, 'status')).stdout, /ACME +off/)
})
