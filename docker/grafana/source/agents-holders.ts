/** Agents: what the gateway knows of each holder. */
import { ATTENTION, OUTCOME_COLOURS } from './colours.ts'
import type { Section } from './dashboard.ts'
import { lines } from './graphs.ts'
import { HOLDER, most } from './selectors.ts'
import { table } from './table.ts'

/** By holder: requests, bytes, refusals, last use. */
export function byHolder(): Section {
  const rate = (by: string, metric: string) =>
    `sum by (${by}) (rate(${metric}{${HOLDER}}[$__rate_interval]))`
  const increase = (metric: string) => `sum by (holder) (increase(${metric}{${HOLDER}}[$__range]))`
  const holders = table({
    title: 'Holders',
    meaning:
      'Each holder of tokens: its last admitted request, and what came in the time shown. Requests refused beside requests admitted: one of its processes has an old token. `tollgate token list` says which.',
    alerts: ['TollgateAgentSilent', 'TollgateAgentRefused'],
    labels: { holder: 'Holder' },
    columns: [
      {
        title: 'Tokens',
        expr: `count by (holder) (tollgate_token_state{${HOLDER}})`,
        unit: 'short',
        decimals: 0,
      },
      {
        title: 'Last request',
        expr: `max by (holder) (tollgate_holder_last_used_timestamp_seconds{${HOLDER}}) * 1000`,
        unit: 'dateTimeFromNow',
      },
      {
        title: 'Silent for',
        expr: `time() - max by (holder) (tollgate_holder_last_used_timestamp_seconds{${HOLDER}})`,
        unit: 's',
        steps: ['transparent', [3600, ATTENTION]],
      },
      {
        title: 'Requests',
        expr: increase('tollgate_token_requests_total'),
        unit: 'short',
        decimals: 0,
      },
      { title: 'Bytes', expr: increase('tollgate_token_bytes_total'), unit: 'bytes' },
      {
        title: 'Refused',
        expr: increase('tollgate_holder_refusals_total'),
        unit: 'short',
        steps: ['transparent', [1, ATTENTION]],
        decimals: 0,
      },
    ],
    sortBy: 'Requests',
    isLargestFirst: true,
  })
  const requests = lines(
    {
      title: 'Requests by holder',
      meaning:
        'Admitted requests, of the twenty largest holders. A line that stops: the agent is down, or refused. Spikes at regular times: many agents that export at the same second.',
      alerts: ['TollgateAgentSilent'],
      unit: 'reqps',
      queries: [
        { expr: most(rate('holder', 'tollgate_token_requests_total')), legend: '{{holder}}' },
      ],
    },
    { isStacked: true },
  )
  const bytes = lines(
    {
      title: 'Bytes by holder',
      meaning:
        'Bytes of their messages, compressed as they came. Without compression in the agent they are several times as many.',
      unit: 'Bps',
      queries: [{ expr: most(rate('holder', 'tollgate_token_bytes_total')), legend: '{{holder}}' }],
    },
    { isStacked: true },
  )
  const refusals = lines(
    {
      title: 'Refusals by reason',
      meaning:
        'Requests that carried a token of these holders and were refused. `rate_limited`: `docs/limits-and-bans.md`. `token_expired`: deliver the new token. `scope_denied`: another signal or address than the token allows.',
      alerts: ['TollgateAgentRefused', 'TollgateTokenExpired'],
      unit: 'reqps',
      queries: [
        {
          expr: `${rate('reason', 'tollgate_token_refusals_total')} > 0`,
          legend: '{{reason}}',
        },
      ],
      empty: 'nothing was refused',
    },
    { isStacked: true, colours: OUTCOME_COLOURS },
  )
  const refused = lines({
    title: 'Refusals by holder',
    meaning: 'The same by holder: whose data is being lost.',
    alerts: ['TollgateAgentRefused'],
    unit: 'reqps',
    queries: [
      {
        expr: most(`${rate('holder', 'tollgate_holder_refusals_total')} > 0`),
        legend: '{{holder}}',
      },
    ],
    empty: 'nothing was refused',
  })
  return {
    title: 'By holder, as the gateway sees it',
    bands: [
      { height: 9, panels: [[24, holders]] },
      {
        height: 8,
        panels: [
          [6, requests],
          [6, bytes],
          [6, refusals],
          [6, refused],
        ],
      },
    ],
  }
}
