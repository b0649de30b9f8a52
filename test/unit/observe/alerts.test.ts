/** The alerts in docs/metrics.md fire when they should, and not before. */
import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { runToEnd } from '../../support/child.ts'
import { hasTools, ROOT, tool } from '../../support/tools.ts'

const METRICS = readFileSync(join(ROOT, 'docs/metrics.md'), 'utf8')
const DAY_SECONDS = 86_400

interface Case {
  readonly alert: string
  /** Series and their values, one a minute, in the notation of promtool. */
  readonly series: Readonly<Record<string, string>>
  /** Minutes from the start at which the alert is looked for. */
  readonly minute: number
  /** Labels of what fires; none where nothing does. */
  readonly fires: Readonly<Record<string, string>> | undefined
}

const OLD = { token: 'old', holder: 'web-shop' }
const of = (name: string, labels: Readonly<Record<string, string>>) =>
  `${name}{${Object.entries(labels)
    .map(([label, value]) => `${label}="${value}"`)
    .join(',')}}`

/** A token that ends so many days after the start and was used at the start. */
const ending = (days: number, state: string) => ({
  [of('tollgate_token_expires_timestamp_seconds', OLD)]: `${days * DAY_SECONDS}x60`,
  [of('tollgate_token_state', { ...OLD, state })]: '1x60',
  [of('tollgate_token_last_used_timestamp_seconds', OLD)]: '0x60',
})

const RETIRING = of('tollgate_token_retiring_requests_total', OLD)
const LAST_USED = of('tollgate_holder_last_used_timestamp_seconds', { holder: 'web-shop' })
const CURRENT = of('tollgate_token_state', { ...OLD, state: 'current' })
const REVOKED = of('tollgate_token_state', { ...OLD, state: 'revoked' })
const REFUSALS = of('tollgate_holder_refusals_total', { holder: 'web-shop' })

const SERVER = { role: 'server', subject: 'otlp.example.com' }
/** A certificate that ends so many days after the start. */
const endingCertificate = (days: number) => ({
  [of('tollgate_certificate_not_after_seconds', SERVER)]: `${days * DAY_SECONDS}x60`,
})

const CASES: readonly Case[] = [
  ...(
    [
      ['TollgateCertificateExpires', 15, undefined],
      ['TollgateCertificateExpires', 14, SERVER],
      ['TollgateCertificateNotRenewed', 4, undefined],
      ['TollgateCertificateNotRenewed', 3, SERVER],
      ['TollgateCertificateNotRenewed', -1, SERVER],
    ] as const
  ).map(([alert, days, fires]) => {
    return { alert, series: endingCertificate(days), minute: 30, fires }
  }),
  {
    alert: 'TollgateOldTokenStillInUse',
    series: { [RETIRING]: '0+1x3000' },
    minute: 26 * 60,
    fires: OLD,
  },
  {
    alert: 'TollgateOldTokenStillInUse',
    series: { [RETIRING]: '0+1x60 60x3000' },
    minute: 26 * 60,
    fires: undefined,
  },
  {
    alert: 'TollgateTokenExpiresSoon',
    series: ending(13, 'current'),
    minute: 30,
    fires: OLD,
  },
  {
    alert: 'TollgateTokenExpiresSoon',
    series: ending(15, 'current'),
    minute: 30,
    fires: undefined,
  },
  {
    alert: 'TollgateTokenExpiresSoon',
    series: ending(13, 'revoked'),
    minute: 30,
    fires: undefined,
  },
  {
    alert: 'TollgateAgentSilent',
    series: { [LAST_USED]: '60x200', [CURRENT]: '1x200' },
    minute: 70,
    fires: { holder: 'web-shop' },
  },
  {
    alert: 'TollgateAgentSilent',
    series: { [LAST_USED]: '60x200', [REVOKED]: '1x200' },
    minute: 70,
    fires: undefined,
  },
  {
    alert: 'TollgateAgentSilent',
    series: { [LAST_USED]: '0+60x200', [CURRENT]: '1x200' },
    minute: 70,
    fires: undefined,
  },
  {
    alert: 'TollgateAgentRefused',
    series: { [REFUSALS]: '0x10 1x60' },
    minute: 15,
    fires: { holder: 'web-shop' },
  },
  {
    alert: 'TollgateAgentRefused',
    series: { [REFUSALS]: '7x60' },
    minute: 15,
    fires: undefined,
  },
]

test('the alerts about tokens and certificates fire when they should', async (t) => {
  if (!hasTools(t, 'promtool')) return
  const rules = /```yaml\n(groups:[\s\S]*?)```/.exec(METRICS)?.[1]
  assert.ok(rules !== undefined)
  const folder = mkdtempSync(join(tmpdir(), 'tollgate-alerts-'))
  t.after(() => rmSync(folder, { recursive: true }))
  // What an alert says is the page's business; here it is whether.
  writeFileSync(join(folder, 'rules.yml'), rules.replace(/^ +annotations:\n(?: {10,}.*\n)+/gm, ''))
  const tests = CASES.map(({ alert, series, minute, fires }) => ({
    interval: '1m',
    input_series: Object.entries(series).map(([name, values]) => ({ series: name, values })),
    alert_rule_test: [
      {
        eval_time: `${minute}m`,
        alertname: alert,
        exp_alerts: fires === undefined ? [] : [{ exp_labels: fires }],
      },
    ],
  }))
  const file = join(folder, 'tests.yml')
  // JSON is YAML.
  writeFileSync(file, JSON.stringify({ rule_files: ['rules.yml'], tests }))
  const { code, stdout, stderr } = await runToEnd(tool('promtool'), ['test', 'rules', file])
  assert.equal(code, 0, stdout + stderr)
})
