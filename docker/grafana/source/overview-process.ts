/** Overview: the process of the gateway, and JWTs. */
import { ATTENTION, BAD, GOOD } from './colours.ts'
import type { Section } from './dashboard.ts'
import { bars, lines } from './graphs.ts'
import { stat, state, words } from './panels.ts'
import { GATEWAY } from './selectors.ts'
import { table } from './table.ts'

/** The process: what it needs, and whether it keeps up. */
export function theProcess(): Section {
  const cpu = lines({
    title: 'CPU',
    meaning:
      'Cores in use. The gateway works on one core; near 1 it is at its end, and the event loop lags.',
    unit: 'percentunit',
    queries: [
      {
        expr: `sum by (instance) (rate(process_cpu_seconds_total{${GATEWAY}}[$__rate_interval]))`,
        legend: '{{instance}}',
      },
    ],
    steps: [GOOD, [0.8, BAD]],
  })
  const lag = lines(
    {
      title: 'Event-loop lag',
      meaning:
        'How long the gateway was too busy to look up. Tens of milliseconds: too much work for one core, or a machine that has none to give.',
      unit: 's',
      queries: [
        {
          expr: `max by (instance) (nodejs_eventloop_lag_p99_seconds{${GATEWAY}})`,
          legend: 'p99, {{instance}}',
        },
        {
          expr: `max by (instance) (nodejs_eventloop_lag_p50_seconds{${GATEWAY}})`,
          legend: 'p50, {{instance}}',
        },
      ],
    },
    { figure: 'max' },
  )
  const memory = lines({
    title: 'Memory',
    meaning:
      'Memory of the process as the system counts it, the heap in use, and bytes of messages on their way, which `TOLLGATE_MAX_IN_FLIGHT_BYTES` bounds.',
    alerts: ['TollgateInFlightBytesHigh'],
    unit: 'bytes',
    queries: [
      { expr: `sum(process_resident_memory_bytes{${GATEWAY}})`, legend: 'resident' },
      { expr: `sum(nodejs_heap_size_used_bytes{${GATEWAY}})`, legend: 'heap in use' },
      { expr: `sum(tollgate_in_flight_bytes{${GATEWAY}})`, legend: 'messages' },
    ],
  })
  const connections = lines({
    title: 'Connections',
    meaning:
      'Connections open now, by port. Steady is good: agents keep theirs for days. A saw: agents that connect for each export, or something between that cuts them.',
    alerts: ['TollgateConnectionsHigh'],
    unit: 'short',
    queries: [
      { expr: `sum by (port) (tollgate_connections{${GATEWAY}})`, legend: 'open, {{port}}' },
    ],
    decimals: 0,
  })
  const versions = table({
    title: 'Versions',
    meaning: 'What runs, and since when. A start that nobody asked for: see the end of the log.',
    labels: { instance: 'Gateway', version: 'Version', node: 'Node.js' },
    columns: [
      {
        title: 'There',
        expr: `max by (instance, version, node) (tollgate_build_info{${GATEWAY}})`,
        unit: 'none',
        isHidden: true,
      },
      {
        title: 'Started',
        expr: `max by (instance) (process_start_time_seconds{${GATEWAY}}) * 1000`,
        unit: 'dateTimeFromNow',
      },
    ],
    sortBy: 'Gateway',
  })
  const lost = stat({
    title: 'Log lines lost',
    meaning:
      'Lines of the log and the audit log that could not be written in the time shown. fail2ban is blind without the audit log: look at the disk.',
    alerts: ['TollgateLosesLines'],
    unit: 'short',
    queries: [{ expr: `sum(increase(tollgate_lost_lines_total{${GATEWAY}}[$__range]))` }],
    steps: [GOOD, [1, BAD]],
    decimals: 0,
  })
  const addresses = state(
    {
      title: 'Client addresses',
      meaning:
        'Whether the gateway seems to see where its clients come from. If not, limits and bans hold for everybody at once: `docs/limits-and-bans.md#does-the-gateway-see-who-comes`.',
      queries: [{ expr: `1 - max(tollgate_client_addresses_hidden{${GATEWAY}})` }],
    },
    'seen',
    'hidden',
  )
  return {
    title: 'The process',
    bands: [
      {
        height: 8,
        panels: [
          [6, cpu],
          [6, lag],
          [6, memory],
          [6, connections],
        ],
      },
      {
        height: 5,
        panels: [
          [12, versions],
          [6, lost],
          [6, addresses],
        ],
      },
    ],
  }
}

/** JWTs: empty unless `TOLLGATE_JWT_ISSUERS` is set. */
export function jwts(): Section {
  const checks = lines({
    title: 'JWTs checked',
    meaning:
      'JWTs that were not known yet, by what became of them. Only `verified` and `signature` cost a signature; `docs/metrics.md` has the others.',
    unit: 'cps',
    queries: [
      {
        expr: `sum by (verdict) (rate(tollgate_jwt_checks_total{${GATEWAY}}[$__rate_interval])) > 0`,
        legend: '{{verdict}}',
      },
    ],
  })
  const issuers = table({
    title: 'Issuers',
    meaning:
      'Whose JWTs are taken, whether the last read of their keys was good, and when. A bad read leaves the last good keys in use, until the issuer signs with a new one.',
    alerts: ['TollgateJwtKeysStale'],
    labels: { issuer: 'Issuer' },
    columns: [
      {
        title: 'Last read',
        expr: `min by (issuer) (tollgate_jwt_keys_last_read_success{${GATEWAY}})`,
        unit: 'none',
        words: words('good', 'bad'),
      },
      {
        title: 'Last good read',
        expr: `max by (issuer) (tollgate_jwt_keys_last_read_success_timestamp_seconds{${GATEWAY}}) * 1000`,
        unit: 'dateTimeFromNow',
      },
      {
        title: 'Keys',
        expr: `max by (issuer) (tollgate_jwt_keys{${GATEWAY}})`,
        unit: 'short',
        decimals: 0,
      },
    ],
    sortBy: 'Issuer',
  })
  const remembered = bars({
    title: 'JWTs remembered',
    meaning: 'Entries of each table, at most 10 000; beyond it the oldest are checked again.',
    unit: 'short',
    queries: [
      { expr: `max by (table) (tollgate_jwt_remembered{${GATEWAY}})`, legend: '{{table}}' },
    ],
    steps: [GOOD, [8000, ATTENTION]],
    min: 0,
    max: 10_000,
    decimals: 0,
  })
  return {
    title: 'JWTs (only where TOLLGATE_JWT_ISSUERS is set)',
    isFolded: true,
    bands: [
      {
        height: 8,
        panels: [
          [8, checks],
          [10, issuers],
          [6, remembered],
        ],
      },
    ],
  }
}
