/** Overview of the gateway: is it fine, what comes in, how does it end, and who sends it? */
import type { Dashboard, Panel } from '@grafana/schema'
import { ATTENTION, BAD, GOOD } from './colours.ts'
import { choice, dashboard, type Section } from './dashboard.ts'
import { certificates, strangers } from './overview-edges.ts'
import { holders } from './overview-holders.ts'
import { jwts, theProcess } from './overview-process.ts'
import { latency, traffic } from './overview-traffic.ts'
import { stat, state } from './panels.ts'
import { GATEWAY } from './selectors.ts'
import { table } from './table.ts'

/** The first row: green, or what to look at. */
function glance(): Section {
  const watched = state(
    {
      title: 'Gateway',
      meaning: 'Whether Prometheus can read every gateway. If not, agents may be locked out.',
      alerts: ['TollgateDown'],
      queries: [{ expr: `min(up{${GATEWAY}})` }],
      empty: 'not scraped',
    },
    'up',
    'down',
  )
  const ports = state(
    {
      title: 'Public ports',
      meaning:
        'Whether the blackbox exporter gets a TLS handshake on 4318 and a healthy answer on 4317.',
      alerts: ['TollgateUnreachable'],
      queries: [{ expr: 'min(probe_success{job=~"blackbox-tls|blackbox-grpc"})' }],
      empty: 'not probed',
    },
    'answer',
    'silent',
  )
  const collector = state(
    {
      title: 'Collector',
      meaning:
        'Whether the gateway can reach the collector. If not, requests wait up to `TOLLGATE_HOLD`, then agents are told to come back.',
      alerts: ['TollgateCollectorDown'],
      queries: [{ expr: `min(tollgate_collector_up{${GATEWAY}})` }],
      empty: 'not scraped',
    },
    'reached',
    'away',
  )
  const firing = stat({
    title: 'Alerts',
    meaning:
      'Alerts that fire now, those to know only (`info`) left out. **Firing** below names them, and `docs/alerts.md` says what to do about each.',
    unit: 'none',
    queries: [{ expr: 'count(ALERTS{alertstate="firing",severity!="info"}) or vector(0)' }],
    steps: [GOOD, [1, BAD]],
  })
  const refused = stat(
    {
      title: 'Refused share',
      meaning:
        'Of the requests of known agents in five minutes, the part that was not taken; strangers are left out. Above 5 % data is being lost: see **Refused and failed** for the reasons.',
      alerts: ['TollgateRefusedShareHigh'],
      unit: 'percentunit',
      queries: [{ expr: 'tollgate:refused_share:ratio5m' }],
      steps: [GOOD, [0.01, ATTENTION], [0.05, BAD]],
      decimals: 1,
      empty: 'no traffic',
    },
    { trend: true },
  )
  const answered = stat(
    {
      title: 'Answered within',
      meaning:
        'Of 100 requests that reached the collector in five minutes, 95 were answered within this time, waiting included. Seconds mean that requests wait: see **Waits**, and the load of the collector.',
      unit: 's',
      queries: [
        {
          expr: `histogram_quantile(0.95, sum by (le) (rate(tollgate_request_duration_seconds_bucket{${GATEWAY},group="answered"}[5m])))`,
        },
      ],
      steps: [GOOD, [1, ATTENTION], [8, BAD]],
      empty: 'no traffic',
    },
    { trend: true },
  )
  const token = stat({
    title: 'First token to end',
    meaning:
      'How long the token that ends first has left, of those that hold now. Rotate it before: agents lose their data when their token ends.',
    alerts: ['TollgateTokenExpiresSoon', 'TollgateTokenExpired'],
    unit: 'suffix: days',
    queries: [
      {
        expr: `min((tollgate_token_expires_timestamp_seconds{${GATEWAY}} - time()) and on (instance, token, holder) tollgate_token_state{${GATEWAY},state=~"current|retiring"} == 1) / 86400`,
      },
    ],
    steps: [BAD, [3, ATTENTION], [14, GOOD]],
    decimals: 1,
    empty: 'none ends',
  })
  const certificate = stat({
    title: 'Certificate',
    meaning:
      'How long the certificate that ends first has left. Agents break off the handshake when it has ended.',
    alerts: ['TollgateCertificateExpires', 'TollgateCertificateNotRenewed'],
    unit: 'suffix: days',
    queries: [
      { expr: `(min(tollgate_certificate_not_after_seconds{${GATEWAY}}) - time()) / 86400` },
    ],
    steps: [BAD, [3, ATTENTION], [14, GOOD]],
    decimals: 1,
    empty: 'no TLS',
  })
  const all = [watched, ports, collector, firing, refused, answered, token, certificate]
  return {
    bands: [
      { height: 4, panels: all.map((panel) => [3, panel]) },
      { height: 5, panels: [[24, firingNow()]] },
    ],
  }
}

/** What fires, and since when. */
function firingNow(): Panel {
  const labels = 'alertname, severity, job, instance, holder, token'
  return table({
    title: 'Firing',
    meaning:
      'Every alert that fires now, what it is about, and since when. `docs/alerts.md` has a section for each, with what to do. They are the red marks in the graphs.',
    labels: {
      alertname: 'Alert',
      severity: 'Severity',
      holder: 'Holder',
      token: 'Token',
      job: 'Job',
      instance: 'Target',
    },
    columns: [
      {
        title: 'There',
        expr: `max by (${labels}) (ALERTS{alertstate="firing"})`,
        unit: 'none',
        isHidden: true,
      },
      {
        title: 'Since',
        expr: `max by (${labels}) (ALERTS_FOR_STATE and ignoring (alertstate) ALERTS{alertstate="firing"}) * 1000`,
        unit: 'dateTimeFromNow',
      },
    ],
    sortBy: 'Severity',
    empty: 'nothing fires',
  })
}

/** The dashboard. */
export function overview(): Dashboard {
  return dashboard({
    uid: 'tollgate-overview',
    title: 'Tollgate overview',
    description:
      'The gateway: is it fine, what comes in, how does it end, who sends it. Metrics are explained in docs/metrics.md.',
    from: 'now-3h',
    variables: [
      choice(
        'instance',
        'Gateway',
        'Which gateways, if there are several.',
        'label_values(tollgate_build_info{job="tollgate"}, instance)',
        { all: '.+' },
      ),
    ],
    sections: [
      glance(),
      traffic(),
      latency(),
      holders(),
      strangers(),
      certificates(),
      theProcess(),
      jwts(),
    ],
  })
}
