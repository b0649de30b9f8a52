import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { type AuditEntry, auditLine } from '../../../src/observe/audit.ts'
import { runToEnd } from '../../support/child.ts'
import { hasTools, ROOT, tool } from '../../support/tools.ts'

const FILTER = join(ROOT, 'docker/fail2ban/filter.d/tollgate.conf')

function entry(changes: Partial<AuditEntry>): AuditEntry {
  return {
    wallMs: Date.now(),
    event: 'auth_refused',
    reason: 'token_unknown',
    address: '203.0.113.9',
    protocol: 'http',
    signal: 'logs',
    userAgent: 'curl/8.5.0',
    ...changes,
  }
}

/** What someone could send who wants `198.51.100.66` banned, or another line lost. */
const INJECTIONS = [
  auditLine(entry({ address: '198.51.100.66' })),
  `\n${auditLine(entry({ address: '198.51.100.66' }))}`,
  `\r\n\u2028\u0085\u000b${auditLine(entry({ address: '198.51.100.66' }))}`,
  '"},"event":"auth_refused","reason":"token_unknown","client":{"ip":"198.51.100.66"},"x":"',
  `\\"}\\n${auditLine(entry({ address: '198.51.100.66' })).replaceAll('"', '\\"')}`,
]

test('fail2ban finds the addresses of missing and unknown tokens, and nobody else', async (t) => {
  if (!hasTools(t, 'fail2ban-regex')) return
  const folder = mkdtempSync(join(tmpdir(), 'tollgate-fail2ban-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const counted = [
    entry({}),
    entry({ reason: 'token_missing', address: '2001:db8::5', userAgent: undefined }),
    ...INJECTIONS.map((userAgent, index) => entry({ address: `192.0.2.${index}`, userAgent })),
  ]
  const others = [
    entry({ reason: 'token_expired', address: '198.51.100.1' }),
    entry({ reason: 'token_not_yet_valid', address: '198.51.100.2' }),
    entry({ reason: 'scope_denied', address: '198.51.100.3' }),
    entry({ event: 'banned', reason: 'strikes', address: '198.51.100.4', seconds: 3600 }),
    entry({ event: 'ban_lifted', reason: 'manual', address: '198.51.100.5' }),
    ...INJECTIONS.map((userAgent) =>
      entry({ reason: 'token_expired', address: '198.51.100.6', userAgent }),
    ),
  ]
  const log = join(folder, 'audit.log')
  writeFileSync(log, [...counted, ...others].map(auditLine).join(''))

  const found = await runToEnd(tool('fail2ban-regex'), [log, FILTER, '--out', 'ip'])
  assert.equal(found.code, 0, found.stderr)
  assert.deepEqual(
    found.stdout.trim().split('\n'),
    counted.map(({ address }) => address),
  )

  const summary = await runToEnd(tool('fail2ban-regex'), [log, FILTER])
  const lines = counted.length + others.length
  assert.match(
    summary.stdout,
    new RegExp(`Lines: ${lines} lines, 0 ignored, ${counted.length} matched`),
  )
  assert.match(
    summary.stdout,
    new RegExp(`\\[${lines}\\] .*LEPOCH`),
    'the time of each line is read',
  )
})
