/** Overview: requests as they come and end, and how long that takes. */
import { ATTENTION, BAD, GOOD, GROUP_COLOURS, OUTCOME_COLOURS, WAIT_COLOURS } from './colours.ts'
import type { Section } from './dashboard.ts'
import { bars, lines } from './graphs.ts'
import type { Query } from './panels.ts'
import { GATEWAY } from './selectors.ts'

const OUTCOMES = `sum by (outcome) (rate(tollgate_outcomes_total{${GATEWAY}`

/** What comes in and how it ends. */
export function traffic(): Section {
  const outcomes = lines(
    {
      title: 'Outcomes',
      meaning:
        'Requests by how they ended; each ends in exactly one outcome. Green was taken by the collector. `docs/metrics.md` explains every word.',
      alerts: ['TollgateDefect'],
      unit: 'reqps',
      queries: [{ expr: `${OUTCOMES}}[$__rate_interval])) > 0`, legend: '{{outcome}}' }],
    },
    { isStacked: true, colours: OUTCOME_COLOURS },
  )
  const refused = lines(
    {
      title: 'Refused and failed',
      meaning:
        'The same without what was taken. Blue: the token is not good, so find the agent under **Tokens**. Yellow: over a limit, which is in `docs/limits-and-bans.md`. Red: the collector is away or slow. Purple: no proper OTLP, or a banned address.',
      alerts: ['TollgateAgentRefused', 'TollgateTokenExpired'],
      unit: 'reqps',
      queries: [
        {
          expr: `${OUTCOMES},outcome!="accepted"}[$__rate_interval])) > 0`,
          legend: '{{outcome}}',
        },
      ],
      empty: 'nothing was refused',
    },
    { isStacked: true, colours: OUTCOME_COLOURS },
  )
  const arrivals = (label: string) =>
    `sum by (${label}) (rate(tollgate_arrivals_total{${GATEWAY}}[$__rate_interval]))`
  const signals = lines(
    {
      title: 'Arrivals by signal',
      meaning:
        'Requests that arrived. One request carries a batch, so this is not the number of spans. `none` named no signal: a scanner, mostly.',
      unit: 'reqps',
      queries: [{ expr: arrivals('signal'), legend: '{{signal}}' }],
    },
    { isStacked: true },
  )
  const protocols = lines(
    {
      title: 'Arrivals by protocol',
      meaning: 'Requests that arrived over OTLP/gRPC and OTLP/HTTP.',
      unit: 'reqps',
      queries: [{ expr: arrivals('protocol'), legend: '{{protocol}}' }],
    },
    { isStacked: true },
  )
  const share = lines(
    {
      title: 'Refused share of known agents',
      meaning:
        'The part of the requests of known agents that was not taken, over five minutes. The dashed line is where the alert begins.',
      alerts: ['TollgateRefusedShareHigh'],
      unit: 'percentunit',
      queries: [{ expr: 'tollgate:refused_share:ratio5m', legend: 'refused share' }],
      steps: [GOOD, [0.05, BAD]],
      min: 0,
    },
    { showsThreshold: true, figure: 'max' },
  )
  const bytes = lines({
    title: 'Bytes of messages',
    meaning:
      'Bytes of messages read, still compressed as they came, and of answers sent. Messages that were refused unread are not in it.',
    unit: 'Bps',
    queries: [
      {
        expr: `sum by (protocol) (rate(tollgate_received_bytes_total{${GATEWAY}}[$__rate_interval]))`,
        legend: 'in, {{protocol}}',
      },
      {
        expr: `sum by (protocol) (rate(tollgate_sent_bytes_total{${GATEWAY}}[$__rate_interval]))`,
        legend: 'out, {{protocol}}',
      },
    ],
  })
  return {
    title: 'Traffic',
    bands: [
      {
        height: 9,
        panels: [
          [12, outcomes],
          [12, refused],
        ],
      },
      {
        height: 8,
        panels: [
          [6, signals],
          [6, protocols],
          [6, share],
          [6, bytes],
        ],
      },
    ],
  }
}

/** How long requests take, and what keeps them. */
export function latency(): Section {
  const answered = lines(
    {
      title: 'Time to the answer',
      meaning:
        'From the headers of a request to the answer of the collector, waiting included. p99: of 100 requests 99 were faster. If only p99 is high, a few large messages or waits do it; if p50 is high too, look at the collector.',
      unit: 's',
      queries: quantiles('tollgate_request_duration_seconds_bucket', 'group="answered"'),
    },
    { figure: 'max' },
  )
  const groups = lines(
    {
      title: 'p95 by how it ended',
      meaning:
        'The 95th percentile of the whole time: `answered` by the collector, good or bad; `refused` by the gateway; `failed` on the way. Refusals that take seconds had waited first.',
      unit: 's',
      queries: [
        {
          expr: `histogram_quantile(0.95, sum by (group, le) (rate(tollgate_request_duration_seconds_bucket{${GATEWAY}}[$__rate_interval])))`,
          legend: '{{group}}',
        },
      ],
    },
    { colours: GROUP_COLOURS, figure: 'max' },
  )
  const sizes = lines(
    {
      title: 'Size of messages',
      meaning:
        'Messages as they came, still compressed. Beyond `TOLLGATE_MAX_BODY` they end as `too_large`; smaller batches in the agent help.',
      unit: 'bytes',
      queries: quantiles('tollgate_request_bytes_bucket'),
    },
    { figure: 'max' },
  )
  const bounds = bars({
    title: 'Near its bounds',
    meaning:
      'How much is taken of what the gateway may hold. Beyond 80 % an alert fires, at 100 % requests are refused or connections closed. `docs/configuration.md` has the bounds.',
    alerts: ['TollgateHoldFull', 'TollgateInFlightBytesHigh', 'TollgateConnectionsHigh'],
    unit: 'percentunit',
    queries: [
      {
        expr: `max(tollgate_held{${GATEWAY}} / tollgate_max_held{${GATEWAY}})`,
        legend: 'waiting requests',
      },
      {
        expr: `max(tollgate_in_flight_bytes{${GATEWAY}} / tollgate_max_in_flight_bytes{${GATEWAY}})`,
        legend: 'bytes in memory',
      },
      {
        expr: `max(sum by (instance) (tollgate_connections{${GATEWAY}}) / max by (instance) (tollgate_max_connections{${GATEWAY}}))`,
        legend: 'connections',
      },
    ],
    steps: [GOOD, [0.5, ATTENTION], [0.8, BAD]],
    min: 0,
    max: 1,
    decimals: 1,
  })
  const now = lines(
    {
      title: 'Under way and waiting',
      meaning:
        'Requests that arrived and have not ended, and of these the ones that wait: for their rate, or for the collector. A few waiting are good, they lose nothing. Many for long: raise the limit of that agent, or see why the collector is away.',
      alerts: ['TollgateHoldFull'],
      unit: 'short',
      queries: [
        {
          expr: `sum by (protocol) (tollgate_in_flight{${GATEWAY}})`,
          legend: 'under way, {{protocol}}',
        },
        { expr: `sum(tollgate_held{${GATEWAY}})`, legend: 'waiting' },
      ],
    },
    { figure: 'max' },
  )
  const waits = lines(
    {
      title: 'Waits',
      meaning:
        'Waits that ended: `saved` went on to the collector, `refused` had no time left, `gone` means that the agent left. Refused waits are lost data with most SDKs.',
      unit: 'cps',
      queries: [
        {
          expr: `sum by (how) (rate(tollgate_held_ended_total{${GATEWAY}}[$__rate_interval]))`,
          legend: '{{how}}',
        },
      ],
    },
    { isStacked: true, colours: WAIT_COLOURS },
  )
  const held = lines(
    {
      title: 'How long they waited',
      meaning: 'Time of waits that ended. `TOLLGATE_HOLD` is the longest (8 s unless set).',
      unit: 's',
      queries: quantiles('tollgate_hold_seconds_bucket'),
    },
    { figure: 'max' },
  )
  return {
    title: 'Latency and waiting',
    bands: [
      {
        height: 8,
        panels: [
          [8, answered],
          [8, groups],
          [8, sizes],
        ],
      },
      {
        height: 8,
        panels: [
          [6, bounds],
          [6, now],
          [6, waits],
          [6, held],
        ],
      },
    ],
  }
}

function quantiles(bucket: string, matchers?: string): Query[] {
  const selector = [GATEWAY, matchers].filter((part) => part !== undefined).join()
  return [0.5, 0.95, 0.99].map((quantile) => ({
    expr: `histogram_quantile(${quantile}, sum by (le) (rate(${bucket}{${selector}}[$__rate_interval])))`,
    legend: `p${Math.round(quantile * 100)}`,
  }))
}
