/**
 * The audit log that hostile clients leave behind in a real gateway, and what fail2ban makes of it. The
 * sample in docker/crowdsec/.tests is such a log: this test fails where the gateway would write another
 * one. Run it with TOLLGATE_WRITE_SAMPLE=1 to write the sample anew.
 */
import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { issueCa } from '../../src/tls/issue.ts'
import { ATTACKERS, AUDIT_SAMPLE, HARMLESS, parserAssertions } from '../support/audit-sample.ts'
import { runToEnd } from '../support/child.ts'
import { issueClient } from '../support/client-certs.ts'
import { startGateway, TOKEN } from '../support/gateway.ts'
import {
  BROKEN_USER_AGENTS,
  type Knock,
  knock,
  knocksWith,
  PATHS,
  USER_AGENTS,
  VICTIM,
} from '../support/hostile-clients.ts'
import { runTollgate } from '../support/run-command.ts'
import { hasTools, ROOT, tool } from '../support/tools.ts'

const FILTER = join(ROOT, 'docker/fail2ban/filter.d/tollgate.conf')
const GUESS = 'a-guessed-token-0123456789abcdef'
const EXPIRED = 'an-expired-token-0123456789abcdef'
const EARLY = 'an-early-token-0123456789abcdefgh'
const LOGS_ONLY = 'a-token-for-logs-0123456789abcdef'
const PROXIED = { CLIENT_ADDRESS: 'proxy-protocol', TRUSTED_PROXIES: '127.0.0.0/8' }
const SHORT = ['--quiet', '1s', '--revoke-after', '1s']

function times<T>(count: number, value: T): T[] {
  return Array.from({ length: count }, () => value)
}

/** Who comes, in order. Five guesses within a minute get an address banned by the gateway itself. */
const VISITS: readonly Knock[] = [
  ...times(5, { from: ATTACKERS.ipv4, wire: 'HTTP/1.1', token: GUESS } as const),
  ...times(5, { from: ATTACKERS.ipv6, wire: 'HTTP/2', token: GUESS } as const),
  // What comes after the ban is not written.
  { from: ATTACKERS.ipv4, wire: 'HTTP/2', token: GUESS },
  ...times(5, { from: `::ffff:${ATTACKERS.mapped}`, wire: 'HTTP/1.1' } as const),
  ...USER_AGENTS.slice(0, 5).map(
    (userAgent) =>
      ({ from: ATTACKERS.injecting, wire: 'HTTP/2', token: GUESS, userAgent }) as const,
  ),
  ...times(4, { from: HARMLESS.fewTries, wire: 'HTTP/2' } as const),
  ...knocksWith(HARMLESS.expired, USER_AGENTS, EXPIRED),
  ...knocksWith(HARMLESS.broken, BROKEN_USER_AGENTS, EXPIRED),
  ...PATHS.map(
    (path) => ({ from: HARMLESS.paths, wire: 'HTTP/1.1', token: EXPIRED, path }) as const,
  ),
  ...times(5, { from: HARMLESS.early, wire: 'HTTP/2', token: EARLY } as const),
  ...times(5, { from: HARMLESS.scope, wire: 'HTTP/1.1', token: LOGS_ONLY } as const),
]

test('hostile clients leave the log that is in the sample, line by line', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'tollgate-audit-'))
  t.after(() => rm(folder, { recursive: true }))
  const path = join(folder, 'audit.log')
  await visit(t, path)
  await comeWithCertificate(t, folder, path)
  const lines = (await readFile(path, 'utf8')).trimEnd().split('\n').map(asSample)
  if (process.env.TOLLGATE_WRITE_SAMPLE === '1') {
    await writeFile(AUDIT_SAMPLE, lines.map((line) => `${line}\n`).join(''))
    await writeFile(join(AUDIT_SAMPLE, '../parser.assert'), parserAssertions(lines))
  }
  const sample = (await readFile(AUDIT_SAMPLE, 'utf8')).trimEnd().split('\n')
  assert.deepEqual(lines.map(withoutTime), sample.map(withoutTime))

  const kinds = new Set(sample.map((line) => JSON.parse(line)).map((e) => `${e.event} ${e.reason}`))
  const rotation = 'created published accepted delivered retiring refused revoked finished aborted'
  const refused =
    'token_missing token_unknown token_expired token_not_yet_valid scope_denied certificate_unknown'
  assert.deepEqual(
    [...kinds].sort(),
    [
      ...refused.split(' ').map((reason) => `auth_refused ${reason}`),
      ...rotation.split(' ').map((reason) => `rotation ${reason}`),
      ...['banned strikes', 'banned manual', 'ban_lifted manual'],
    ].sort(),
  )
})

test('fail2ban finds in the sample who guessed, when, and nobody else', async (t) => {
  if (!hasTools(t, 'fail2ban-regex')) return
  const entries = (await readFile(AUDIT_SAMPLE, 'utf8'))
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line))
  const guesses = entries.filter(({ reason }) => /^token_(?:missing|unknown)$/.test(reason))
  const found = await runToEnd(tool('fail2ban-regex'), [AUDIT_SAMPLE, FILTER, '--out', 'row'])
  assert.equal(found.code, 0, found.stderr)
  // ['203.0.113.9', 1795380842.117, {…}], without the digits that a zero at the end takes away.
  const rows = found.stdout
    .trimEnd()
    .split('\n')
    .map((line) => /^\['([^']+)',\s*([\d.]+),/.exec(line)?.slice(1) ?? [line])
  assert.deepEqual(
    rows.map(([ip, seconds]) => [ip, Math.round(Number(seconds) * 1000)]),
    guesses.map(({ client, time }) => [client.ip, time]),
  )
  assert.deepEqual(
    [...new Set(rows.map(([ip]) => ip))].sort(),
    [...Object.values(ATTACKERS), HARMLESS.fewTries].sort(),
  )
  assert.ok(!rows.some(([ip]) => ip === VICTIM))
  const summary = await runToEnd(tool('fail2ban-regex'), [AUDIT_SAMPLE, FILTER])
  assert.match(summary.stdout, new RegExp(`\\[${entries.length}\\] .*LEPOCH`), 'each line is dated')
})

/** All visits, and what the operator does: bans by hand, rotations. */
async function visit(t: TestContext, path: string): Promise<void> {
  const gateway = await startGateway(t, {
    env: { ...PROXIED, TLS: 'off', AUDIT_LOG: path },
    tokens: [
      { token: TOKEN, id: 'shop', holder: 'web-shop' },
      { token: EXPIRED, id: 'late', holder: 'late', expiresAt: '2026-01-01T00:00:00Z' },
      { token: EARLY, id: 'early', holder: 'early', notBefore: '2126-01-01T00:00:00Z' },
      { token: LOGS_ONLY, id: 'logs', holder: 'logs', scopes: ['logs'] },
    ],
  })
  for (const each of VISITS) await knock(gateway.addresses, each)

  const env = {
    TOLLGATE_STATE_DIR: gateway.folder,
    TOLLGATE_TOKENS_FILE: gateway.tokensFile,
    TOLLGATE_AUDIT_LOG: path,
  }
  const run = async (...args: string[]) => {
    const { code, stderr } = await runTollgate(args, env)
    assert.equal(code, 0, stderr)
  }
  await run('bans', 'add', HARMLESS.byHand, '--for', '1d')
  await run('bans', 'lift', HARMLESS.byHand)
  await run('bans', 'lift', ATTACKERS.ipv6)
  const tokenFile = join(gateway.folder, 'agent-token')
  const rotate = ['rotate', '--holder', 'web-shop', '--deliver', `file:${tokenFile}`]
  await run(...rotate, ...SHORT)
  await run('rotate', 'abort', '--force')
  await run(...rotate, ...SHORT)
  const token = (await readFile(tokenFile, 'utf8')).trim()
  await knock(gateway.addresses, { from: HARMLESS.agent, wire: 'HTTP/1.1', token })
  await run(...rotate, ...SHORT, '--wait')
  await gateway.stop()
}

/** A client with a certificate that no entry of the token set names. */
async function comeWithCertificate(t: TestContext, folder: string, path: string): Promise<void> {
  const ca = await issueCa('Agents CA', Date.now())
  const { cert, key } = await issueClient(ca)
  const caPath = join(folder, 'client-ca.pem')
  await writeFile(caPath, ca.cert)
  const tls = { TLS_CLIENT_AUTH: 'required', TLS_CLIENT_CA: caPath, TLS_CLIENT_TOKEN: 'instead' }
  const gateway = await startGateway(t, { env: { ...PROXIED, ...tls, AUDIT_LOG: path } })
  const prelude = Buffer.from(`PROXY TCP4 ${HARMLESS.certificate} 192.0.2.1 40000 4318\r\n`)
  const client = gateway.connect('HTTP/1.1', { prelude, tls: { cert, key } })
  await client.send({ token: null })
  await gateway.stop()
}

/** Without what differs from run to run, other than the time. */
function asSample(line: string): string {
  return line
    .replace(/"token":"[0-9a-z]{8}"/, '"token":"k3m9xw2p"')
    .replace(/"place":"file:[^"]*agent-token"/, '"place":"file:/etc/agent/token"')
    .replace(/"place":"file:[^"]*test-tokens.json"/, '"place":"file:/var/lib/tollgate/tokens.json"')
}

function withoutTime(line: string): string {
  return line.replace(/^\{"v":1,"time":\d{13},/, '{"v":1,"time":0,')
}
