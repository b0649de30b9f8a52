/** Overview: strangers and certificates. */
import { ATTENTION, BAD, GOOD } from './colours.ts'
import type { Section } from './dashboard.ts'
import { lines } from './graphs.ts'
import { GATEWAY } from './selectors.ts'
import { table } from './table.ts'

const rate = (by: string, metric: string) =>
  `sum by (${by}) (rate(${metric}{${GATEWAY}}[$__rate_interval]))`

/** Who tries without a token, and what is done about it. */
export function strangers(): Section {
  const bans = lines({
    title: 'Bans',
    meaning:
      'Bans in force, and bans that began within five minutes. Many at once: an attack from many addresses, or agents that lost their token together. `tollgate bans list` has the addresses.',
    alerts: ['TollgateBanStorm'],
    unit: 'short',
    queries: [
      { expr: `sum(tollgate_bans{${GATEWAY}})`, legend: 'in force' },
      { expr: `sum(increase(tollgate_bans_total{${GATEWAY}}[5m]))`, legend: 'begun in 5 min' },
    ],
    decimals: 0,
  })
  const strikes = lines({
    title: 'Strikes',
    meaning:
      'Refusals that count towards a ban, by reason. Some are the noise of the internet. Steady ones from your own networks: an agent without a token, or with a mistyped one.',
    alerts: ['TollgateUnderAttack'],
    unit: 'cps',
    queries: [{ expr: rate('reason', 'tollgate_strikes_total'), legend: '{{reason}}' }],
  })
  const connections = lines({
    title: 'Connections closed by the gateway',
    meaning:
      'By reason; `docs/security.md` says what each fends off. `handshake` from your agents: they do not trust the certificate. `peer_full`: one address opens too many.',
    unit: 'cps',
    queries: [
      {
        expr: `${rate('reason', 'tollgate_connections_refused_total')} > 0`,
        legend: '{{reason}}',
      },
    ],
    empty: 'none',
  })
  const limiter = lines({
    title: 'Addresses and tokens remembered',
    meaning:
      'Entries in the tables of limits and bans. They are bounded; what is forgotten early because a table is full shows as `forgotten`, a second. Hundreds of thousands of addresses at once do that.',
    unit: 'short',
    queries: [
      { expr: `sum by (table) (tollgate_limiter_keys{${GATEWAY}})`, legend: '{{table}}' },
      {
        expr: `sum(rate(tollgate_limiter_evictions_total{${GATEWAY}}[$__rate_interval]))`,
        legend: 'forgotten',
      },
    ],
  })
  return {
    title: 'Strangers',
    bands: [
      {
        height: 8,
        panels: [
          [6, bans],
          [6, strikes],
          [6, connections],
          [6, limiter],
        ],
      },
    ],
  }
}

/** Certificates and handshakes. */
export function certificates(): Section {
  const left = table({
    title: 'Certificates',
    meaning:
      'Each certificate in use and how long it has left. The alert comes at 14 days; ACME renews long before. `tollgate cert status` says how the renewal stands.',
    alerts: ['TollgateCertificateExpires', 'TollgateCertificateExpired'],
    labels: { subject: 'Name', role: 'Role' },
    columns: [
      {
        title: 'Ends in',
        expr: `(min by (subject, role) (tollgate_certificate_not_after_seconds{${GATEWAY}}) - time()) / 86400`,
        unit: 'suffix: days',
        steps: [BAD, [3, ATTENTION], [14, GOOD]],
        decimals: 1,
      },
      {
        title: 'Ends',
        expr: `min by (subject, role) (tollgate_certificate_not_after_seconds{${GATEWAY}}) * 1000`,
        unit: 'dateTimeFromNow',
      },
    ],
    sortBy: 'Ends in',
  })
  const reloads = lines(
    {
      title: 'Looks at certificate files',
      meaning:
        'In five minutes: `swapped` took a new pair up, `unchanged` found the same, `kept` found a bad one and went on with the last good one.',
      alerts: ['TollgateCertificateNotLoaded'],
      unit: 'short',
      queries: [
        {
          expr: `sum by (outcome) (increase(tollgate_certificate_reloads_total{${GATEWAY}}[5m]))`,
          legend: '{{outcome}}',
        },
      ],
    },
    { colours: { swapped: GOOD, kept: BAD } },
  )
  const handshakes = lines(
    {
      title: 'TLS handshakes',
      meaning:
        'Handshakes that succeeded, by version; `resumed` ones cost a fraction. Many full ones: some agent opens a connection for each export.',
      unit: 'cps',
      queries: [
        {
          expr: `${rate('version, resumed', 'tollgate_tls_handshakes_total')} > 0`,
          legend: '{{version}}, resumed: {{resumed}}',
        },
      ],
    },
    { isStacked: true },
  )
  return {
    title: 'Certificates',
    bands: [
      {
        height: 7,
        panels: [
          [10, left],
          [7, reloads],
          [7, handshakes],
        ],
      },
    ],
  }
}
