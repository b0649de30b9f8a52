/** Overview: who sends, and how their tokens stand. */
import { ATTENTION, BAD, GOOD, PLAIN } from './colours.ts'
import type { Section } from './dashboard.ts'
import { bars, lines } from './graphs.ts'
import { words } from './panels.ts'
import { GATEWAY } from './selectors.ts'
import { table } from './table.ts'

/** From a holder to its page, over the same time. */
const TO_AGENT = {
  title: 'This holder',
  // biome-ignore lint/suspicious/noTemplateCurlyInString: Grafana fills it in.
  url: '/d/tollgate-agents?var-holder=${__field.labels.holder}&${__url_time_range}',
}

/** Holders and tokens. */
export function holders(): Section {
  const busiest = bars({
    title: 'Top holders by requests',
    leadsTo: TO_AGENT,
    meaning:
      'The ten holders with most admitted requests in the time shown. One that dwarfs the others may need a limit, or larger batches.',
    unit: 'short',
    queries: [
      {
        expr: `topk(10, sum by (holder) (increase(tollgate_token_requests_total{${GATEWAY}}[$__range])))`,
        legend: '{{holder}}',
      },
    ],
    min: 0,
    decimals: 0,
  })
  const heaviest = bars({
    title: 'Top holders by bytes',
    leadsTo: TO_AGENT,
    meaning: 'The ten holders with most bytes in the time shown, compressed as they came.',
    unit: 'bytes',
    queries: [
      {
        expr: `topk(10, sum by (holder) (increase(tollgate_token_bytes_total{${GATEWAY}}[$__range])))`,
        legend: '{{holder}}',
      },
    ],
    min: 0,
  })
  const refused = bars({
    title: 'Top holders by refusals',
    leadsTo: TO_AGENT,
    meaning:
      'The ten holders whose requests were refused most often in the time shown, though they carried a token of theirs. The dashboard **Agents** has the reasons.',
    alerts: ['TollgateAgentRefused'],
    unit: 'short',
    queries: [
      {
        expr: `topk(10, sum by (holder) (increase(tollgate_holder_refusals_total{${GATEWAY}}[$__range])) > 0)`,
        legend: '{{holder}}',
      },
    ],
    steps: [ATTENTION],
    min: 0,
    decimals: 0,
    empty: 'nobody was refused',
  })
  const labels = 'token, holder'
  const of = (metric: string) => `max by (${labels}) (${metric}{${GATEWAY}})`
  const tokens = table({
    title: 'Tokens',
    meaning:
      'Every token of the set. `retiring`: its holder was given a newer one, so requests here mean that some process has not taken it yet. An empty **Ends in** has no end. `docs/tokens.md` explains the states.',
    alerts: ['TollgateTokenExpiresSoon', 'TollgateOldTokenStillInUse'],
    labels: { token: 'Token', holder: 'Holder', state: 'State' },
    columns: [
      {
        title: 'There',
        expr: `max by (${labels}, state) (tollgate_token_state{${GATEWAY}})`,
        unit: 'none',
        isHidden: true,
      },
      {
        title: 'Last used',
        expr: `${of('tollgate_token_last_used_timestamp_seconds')} * 1000`,
        unit: 'dateTimeFromNow',
      },
      {
        title: 'Ends in',
        expr: `(${of('tollgate_token_expires_timestamp_seconds')} - time()) / 86400`,
        unit: 'suffix: days',
        // What has ended is no hurry any more: who still uses it shows under Refused.
        steps: ['transparent', [0, BAD], [3, ATTENTION], [14, GOOD]],
        decimals: 1,
      },
      {
        title: 'Requests',
        expr: `sum by (${labels}) (increase(tollgate_token_requests_total{${GATEWAY}}[$__range]))`,
        unit: 'short',
        decimals: 0,
      },
      {
        title: 'Refused',
        expr: `sum by (${labels}) (increase(tollgate_token_refusals_total{${GATEWAY}}[$__range]))`,
        unit: 'short',
        steps: ['transparent', [1, ATTENTION]],
        decimals: 0,
      },
    ],
    sortBy: 'Ends in',
  })
  const byState = bars({
    title: 'Tokens by state',
    meaning:
      'How many tokens are in which state. Many `retiring` ones for days: a rotation does not come to its end, see `docs/rotation.md`.',
    unit: 'short',
    queries: [{ expr: `sum by (state) (tollgate_token_state{${GATEWAY}})`, legend: '{{state}}' }],
    steps: [PLAIN],
    min: 0,
    decimals: 0,
  })
  const old = lines({
    title: 'Requests with a token that is to go',
    meaning:
      'Requests with a token after its holder was given a newer one (`old`), and after its end by `TOLLGATE_TOKEN_GRACE` (`grace`). Should fall to nothing within a day of a rotation; restart the process that still has the old token.',
    alerts: ['TollgateOldTokenStillInUse'],
    unit: 'reqps',
    queries: [
      {
        expr: `sum by (holder) (rate(tollgate_token_retiring_requests_total{${GATEWAY}}[$__rate_interval])) > 0`,
        legend: 'old, {{holder}}',
      },
      {
        expr: `sum by (holder) (rate(tollgate_token_grace_requests_total{${GATEWAY}}[$__rate_interval])) > 0`,
        legend: 'grace, {{holder}}',
      },
    ],
    empty: 'none',
  })
  const source = 'source'
  const places = table({
    title: 'Where tokens come from',
    meaning:
      'Each place of tokens, whether its last read was good, and when. Files are read when they change, Vault and AWS every `TOLLGATE_TOKENS_POLL`. A bad read leaves the last good set in use; `/readyz` says why.',
    alerts: ['TollgateTokensNotLoaded', 'TollgateTokenSourceStale'],
    labels: { source: 'Place' },
    columns: [
      {
        title: 'Last read',
        expr: `min by (${source}) (tollgate_token_source_last_reload_success{${GATEWAY}})`,
        unit: 'none',
        words: words('good', 'bad'),
      },
      {
        title: 'Last good read',
        expr: `max by (${source}) (tollgate_token_source_last_reload_success_timestamp_seconds{${GATEWAY}}) * 1000`,
        unit: 'dateTimeFromNow',
      },
      {
        title: 'Tokens',
        expr: `max by (${source}) (tollgate_token_source_tokens{${GATEWAY}})`,
        unit: 'short',
        decimals: 0,
      },
    ],
    sortBy: 'Place',
  })
  return {
    title: 'Holders and tokens',
    bands: [
      {
        height: 8,
        panels: [
          [8, busiest],
          [8, heaviest],
          [8, refused],
        ],
      },
      { height: 9, panels: [[24, tokens]] },
      {
        height: 8,
        panels: [
          [6, byState],
          [8, old],
          [10, places],
        ],
      },
    ],
  }
}
