import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { AuditEntry } from '../../../src/observe/audit.ts'
import { inWords, Notices } from '../../../src/observe/notices.ts'
import { keptLog } from './fixtures.ts'

function house() {
  const { log, lines } = keptLog()
  const entries: AuditEntry[] = []
  let bans = 0
  const notices = new Notices({
    log,
    audit: { write: (entry) => entries.push(entry) },
    metrics: {
      banned: () => {
        bans += 1
      },
    },
    clock: { wallMs: () => 1_800_000_000_000 },
    banRule: { strikes: 5, windowMs: 60_000 },
  })
  return { notices, lines, entries, bans: () => bans }
}

test('a ban says who, how long, why and how to lift it; it is counted and audited', () => {
  const { notices, lines, entries, bans } = house()
  const ban = { lengthMs: 3_600_000, repeats: 0, isManual: false }
  notices.banned({ ...ban, peerKey: '203.0.113.9', address: '203.0.113.9' })
  notices.banned({
    ...ban,
    peerKey: '2001:db8::/64',
    address: '2001:db8::5',
    lengthMs: 7_200_000,
    repeats: 1,
  })
  notices.banned({ ...ban, peerKey: '198.51.100.7', address: '198.51.100.7', isManual: true })
  assert.deepEqual(
    lines.map(({ message }) => message),
    [
      'Banned 203.0.113.9 for 1 h: 5 requests without a valid token within 1 min. Lift it with: tollgate bans lift 203.0.113.9',
      'Banned 2001:db8::/64 (last seen: 2001:db8::5) for 2 h: 5 requests without a valid token within 1 min; banned before: 1. Lift it with: tollgate bans lift 2001:db8::/64',
      'Banned 198.51.100.7 for 1 h: set by hand. Lift it with: tollgate bans lift 198.51.100.7',
    ],
  )
  assert.equal(bans(), 3)
  assert.deepEqual(entries[1], {
    wallMs: 1_800_000_000_000,
    event: 'banned',
    reason: 'strikes',
    address: '2001:db8::5',
    seconds: 7200,
  })
})

test('what happens to the gateway is told with an event of its own', () => {
  const { notices, lines } = house()
  notices.started('0.1.0')
  notices.listening({ grpc: '[::]:4317', http: undefined, admin: '127.0.0.1:9464' })
  notices.banFile({ kind: 'unsaved', path: '/state/bans.json', why: 'the disk is full' })
  notices.banFile({ kind: 'saved_again', path: '/state/bans.json' })
  notices.tokensLoaded(1, '/etc/tollgate/tokens.json')
  notices.tokensKept(1, '/etc/tollgate/tokens.json', 'the file is empty')
  notices.certificateLoaded(['otlp.example'], 1_900_000_000_000)
  notices.certificateKept('/etc/cert.pem', 'the key does not belong to it', 1_900_000_000_000)
  notices.certificateWarning('/etc/cert.pem: has no subjectAltName')
  notices.certificateExpired('/etc/cert.pem', 1_900_000_000_000)
  notices.collectorDown('The collector at http://collector:4317 is away')
  notices.collectorUp('The collector at http://collector:4317 is back')
  notices.banLifted('203.0.113.9')
  notices.auditFailed('/var/log/audit.log', new Error('ENOSPC'))
  notices.auditRecovered('/var/log/audit.log', 3)
  notices.draining('SIGTERM', 10_000, 2)
  notices.stopped(0)
  assert.deepEqual(
    lines.map(({ event }) => event),
    [
      'start',
      'listening',
      'notice',
      'notice',
      'tokens_loaded',
      'tokens_kept_last_good',
      'certificate_loaded',
      'certificate_kept_last_good',
      'certificate_warning',
      'certificate_expired',
      'collector_down',
      'collector_up',
      'ban_lifted',
      'audit_failed',
      'audit_recovered',
      'draining',
      'stop',
    ],
  )
  const messages = lines.map(({ message }) => message)
  assert.equal(
    messages[1],
    'Listening for OTLP on [::]:4317; metrics and health on http://127.0.0.1:9464',
  )
  assert.equal(messages[4], 'Loaded 1 token from /etc/tollgate/tokens.json')
  assert.equal(
    messages[14],
    'The audit log /var/log/audit.log is written again; 3 lines were lost since the start',
  )
})

test('places of tokens are told of by name, once in a line', () => {
  const { notices, lines } = house()
  const place = 'vault:secret/otel'
  notices.tokensUnavailable(place, `${place}: it is sealed; unseal it`)
  notices.tokensKept(2, place, `${place}: it is sealed; unseal it`)
  notices.cachedTokensTaken(1, place, 7_300_000)
  notices.cachedTokensTaken(2, place, 10)
  notices.cachedTokensIgnored(place, '/state/sets/a.json: is not JSON')
  notices.cachedTokensUnsaved(place, 'cannot write /state/sets/a.json: the disk is full')
  notices.tokensLeftOut(place, `${place}: is empty`)
  assert.deepEqual(
    lines.map(({ event, message }) => [event, message]),
    [
      [
        'tokens_unavailable',
        'Could not load the tokens from vault:secret/otel: it is sealed; unseal it. Until it can be read, a token that is unknown is asked to come back, not refused',
      ],
      [
        'tokens_kept_last_good',
        'Could not load the tokens from vault:secret/otel: it is sealed; unseal it. The 2 loaded before stay in use',
      ],
      [
        'tokens_loaded',
        'Took 1 token as vault:secret/otel had them 2 h ago: it cannot be read now',
      ],
      [
        'tokens_loaded',
        'Took 2 tokens as vault:secret/otel had them 0 s ago: it cannot be read now',
      ],
      [
        'notice',
        'Ignored what was kept of vault:secret/otel on disk: /state/sets/a.json: is not JSON',
      ],
      [
        'notice',
        'Cannot keep the tokens of vault:secret/otel on disk: cannot write /state/sets/a.json: the disk is full. A restart while it is away would have none',
      ],
      ['notice', 'Left out a version of vault:secret/otel that is to come: is empty'],
    ],
  )
})

for (const [ms, words] of [
  [0, '0 ms'],
  [250, '250 ms'],
  [1_000, '1 s'],
  [5_400, '5 s'],
  [90_000, '90 s'],
  [5_400_000, '90 min'],
  [3_600_000, '1 h'],
  [172_800_000, '2 d'],
] as const)
  test(`${ms} ms in words: ${words}`, () => {
    assert.equal(inWords(ms), words)
  })

test('a failed handshake is told in words once a minute for each kind, a scanner not at all', () => {
  const { notices, lines } = house()
  notices.handshakeFailed('ERR_SSL_TLSV1_ALERT_UNKNOWN_CA', '203.0.113.9')
  notices.handshakeFailed('ERR_SSL_TLSV1_ALERT_UNKNOWN_CA', '203.0.113.9')
  notices.handshakeFailed('ERR_SSL_HTTP_REQUEST', '203.0.113.9')
  notices.handshakeFailed('ECONNRESET', '203.0.113.9')
  assert.deepEqual(
    lines.map(({ event, message }) => [event, message.split(';')[0]]),
    [
      ['handshake_failed', 'No TLS with 203.0.113.9: the client does not trust our certificate'],
      ['handshake_failed', 'No TLS with 203.0.113.9: the client speaks plain HTTP'],
    ],
  )
})
