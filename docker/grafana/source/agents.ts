/** Agents: what each holder and each device sends, and whether it gets through. */
import type { Dashboard } from '@grafana/schema'
import { byHolder } from './agents-holders.ts'
import { bySeries } from './agents-series.ts'
import { ATTENTION, BAD, GOOD } from './colours.ts'
import { choice, dashboard, type Section, variable } from './dashboard.ts'
import { stat } from './panels.ts'
import { CHOSEN, FROM_AGENTS, HOLDER } from './selectors.ts'

function glance(): Section {
  const silent = stat({
    title: 'Silent holders',
    meaning:
      'Holders whose last request is more than an hour old. **Holders** below has the time of each. Is the machine up, does the agent run?',
    alerts: ['TollgateAgentSilent'],
    unit: 'none',
    queries: [
      {
        expr: `count(time() - max by (holder) (tollgate_holder_last_used_timestamp_seconds{${HOLDER}}) > 3600) or vector(0)`,
      },
    ],
    steps: [GOOD, [1, ATTENTION]],
  })
  const refused = stat({
    title: 'Refused holders',
    meaning:
      'Holders of whose requests some were refused within a quarter of an hour, though they carried a token of theirs. **Refusals by reason** says why.',
    alerts: ['TollgateAgentRefused'],
    unit: 'none',
    queries: [
      {
        expr: `count(sum by (holder) (increase(tollgate_holder_refusals_total{${HOLDER}}[15m])) > 0) or vector(0)`,
      },
    ],
    steps: [GOOD, [1, BAD]],
  })
  const active = stat({
    title: 'Holders that send',
    meaning: 'Holders with at least one admitted request within five minutes.',
    unit: 'none',
    queries: [
      {
        expr: `count(sum by (holder) (increase(tollgate_token_requests_total{${HOLDER}}[5m])) > 0) or vector(0)`,
      },
    ],
  })
  const devices = stat({
    title: 'Devices',
    meaning:
      'Machines that metrics come from, by their `host.name`. An agent that does not send it counts for none: see `docs/alerts.md#which-machine`.',
    unit: 'none',
    queries: [{ expr: `count(count by (device) ({${CHOSEN},device!=""})) or vector(0)` }],
  })
  const jobs = stat({
    title: 'Services',
    meaning: 'Services that metrics come from, by their `service.name`.',
    unit: 'none',
    queries: [{ expr: `count(count by (job) ({${CHOSEN}})) or vector(0)` }],
  })
  const budget = stat(
    {
      title: 'Of the limit of series',
      meaning:
        'Series on the page of the collector, beside `sample_limit` in prometheus.yml (200 000). Beyond it Prometheus throws the whole page away, and every agent disappears from here.',
      alerts: ['CollectorUnwatched'],
      unit: 'percentunit',
      queries: [{ expr: 'max(scrape_samples_scraped{job="agents"}) / 200000' }],
      steps: [GOOD, [0.5, ATTENTION], [0.8, BAD]],
      decimals: 1,
    },
    { trend: true },
  )
  const all = [silent, refused, active, devices, jobs, budget]
  return { bands: [{ height: 4, panels: all.map((panel) => [4, panel]) }] }
}

/** The dashboard. */
export function agents(): Dashboard {
  return dashboard({
    uid: 'tollgate-agents',
    title: 'Tollgate agents',
    description:
      'Agents: by holder as the gateway sees them, by device and service as their own metrics say.',
    from: 'now-6h',
    variables: [
      choice(
        'holder',
        'Holder',
        'Whose tokens.',
        'label_values(tollgate_token_state{job="tollgate"}, holder)',
        { all: '.+' },
      ),
      choice(
        'device',
        'Device',
        'Machines, by the host.name that agents send. All has those without one, too.',
        `label_values({${FROM_AGENTS}}, device)`,
        { all: '.*' },
      ),
      choice(
        'job',
        'Service',
        'Services, by the service.name that agents send.',
        `label_values({${FROM_AGENTS},device=~"$device"}, job)`,
      ),
      variable(
        'metric',
        'Metric',
        'Any metric of these agents, drawn at the end of the page.',
        `label_values({${CHOSEN},__name__!~"target_info|.+_(bucket|sum|count)"}, __name__)`,
      ),
    ],
    sections: [glance(), byHolder(), bySeries()],
  })
}
