/** Agents: what their own metrics say, by device and service. */
import { ATTENTION } from './colours.ts'
import type { Section } from './dashboard.ts'
import { bars, lines } from './graphs.ts'
import { AGENTS, CHOSEN, most } from './selectors.ts'
import { table } from './table.ts'

/** By device and service: who sends metrics, how many, and one of them drawn. */
export function bySeries(): Section {
  const labels = 'device, job'
  const senders = table({
    title: 'Devices and services',
    meaning:
      'Who sends metrics: the machine (`host.name`), the service (`service.name`), how many series, and when its description (`target_info`) was last there. A series stays for the `metric_expiration` of the collector after the agent has stopped, so judge silence by **Holders**. Without `host.name` the device is empty: see `docs/alerts.md#which-machine`.',
    labels: { device: 'Device', job: 'Service' },
    columns: [
      {
        title: 'Series',
        expr: `count by (${labels}) ({${CHOSEN}})`,
        unit: 'short',
        decimals: 0,
      },
      {
        title: 'Processes',
        expr: `count by (${labels}) (count by (${labels}, instance) ({${CHOSEN}}))`,
        unit: 'short',
        decimals: 0,
      },
      {
        title: 'Last seen',
        expr: `max by (${labels}) (max_over_time(timestamp(target_info{${AGENTS}})[$__range:1m])) * 1000`,
        unit: 'dateTimeFromNow',
      },
      {
        title: 'Gone for',
        expr: `time() - max by (${labels}) (max_over_time(timestamp(target_info{${AGENTS}})[$__range:1m]))`,
        unit: 's',
        steps: ['transparent', [600, ATTENTION]],
      },
    ],
    sortBy: 'Series',
    isLargestFirst: true,
  })
  const series = lines(
    {
      title: 'Series by service',
      meaning:
        'How many series each service keeps alive. One that only grows has a label without bound, such as an id or an address: drop that attribute in the agent or the collector.',
      alerts: ['CollectorUnwatched'],
      unit: 'short',
      queries: [{ expr: most(`count by (job) ({${CHOSEN}})`), legend: '{{job}}' }],
      decimals: 0,
    },
    { isStacked: true },
  )
  const largest = bars({
    title: 'Metrics with most series',
    meaning: 'The fifteen metrics that cost most. Histograms count a series for each bucket.',
    unit: 'short',
    queries: [
      {
        expr: `topk(15, count by (__name__) ({${CHOSEN}}))`,
        legend: '{{__name__}}',
      },
    ],
    min: 0,
    decimals: 0,
  })
  const chosen = `__name__="$metric",${AGENTS}`
  const value = lines({
    title: '$metric, as it is',
    meaning:
      'The metric chosen at the top, summed by device and service, the twenty largest: right for gauges that add up, such as memory in use.',
    unit: 'short',
    queries: [{ expr: most(`sum by (${labels}) ({${chosen}})`), legend: '{{job}} {{device}}' }],
  })
  const rate = lines({
    title: '$metric, a second',
    meaning:
      'How fast the metric chosen at the top grows: right for counters, whose names mostly end in `_total`. Of a gauge it means nothing.',
    unit: 'cps',
    queries: [
      {
        expr: most(`sum by (${labels}) (rate({${chosen}}[$__rate_interval]))`),
        legend: '{{job}} {{device}}',
      },
    ],
  })
  return {
    title: 'By device and service, as their metrics say',
    bands: [
      {
        height: 9,
        panels: [
          [12, senders],
          [6, series],
          [6, largest],
        ],
      },
      {
        height: 9,
        panels: [
          [12, value],
          [12, rate],
        ],
      },
    ],
  }
}
