import assert from 'node:assert/strict'
import { test } from 'node:test'
import { JwtNotices } from '../../../src/observe/jwt-notices.ts'
import { Metrics } from '../../../src/observe/metrics.ts'
import { VERDICTS } from '../../../src/oidc/verdict.ts'
import { keptLog, restingReadings } from './fixtures.ts'

const issuer = 'https://login.example'

test('what becomes of the keys is told when it is news', () => {
  const { log, lines } = keptLog()
  const notices = new JwtNotices(log)
  const read = (keys: number, problem?: string) => notices.keysRead({ issuer, keys, problem })
  read(0, 'it is away')
  read(0, 'it is away')
  read(2)
  read(2)
  read(2, 'it is away')
  read(2, 'it is broken')
  read(1)
  assert.deepEqual(
    lines.map(({ level, event }) => `${level} ${event}`),
    [
      'error keys_unavailable',
      'info keys_loaded',
      'error keys_kept_last_good',
      'error keys_kept_last_good',
      'info keys_loaded',
    ],
  )
  assert.match(lines[2]?.message ?? '', /it is away\. The 2 keys read before stay in use$/)
})

test('why JWTs are refused is said once a minute for each reason, where somebody can mend it', () => {
  const { log, lines } = keptLog()
  const notices = new JwtNotices(log)
  for (let times = 0; times < 3; times += 1)
    for (const verdict of Object.keys(VERDICTS)) notices.refused(verdict, times * 1000)
  const reasons = lines.map(({ fields }) => fields.verdict)
  assert.equal(new Set(reasons).size, reasons.length)
  assert.ok(reasons.includes('audience'))
  // Attackers and the clock make these; nobody has to be told.
  for (const verdict of ['verified', 'signature', 'expired'])
    assert.ok(!reasons.includes(verdict), verdict)
  notices.refused('audience', 60_001)
  assert.match(lines.at(-1)?.message ?? '', /2 more like it before/)
})

test('without an issuer the metrics of JWTs have no series', async () => {
  const readings = restingReadings({ jwts: () => undefined })
  const metrics = new Metrics({ version: 'test', readings, hasProcessMetrics: false })
  assert.doesNotMatch(await metrics.page(), /^tollgate_jwt/m)
})
